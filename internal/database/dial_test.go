package database_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
)

// impostor is a server on the way that shows a certificate and then follows a
// script, keeping all that the client says.
type impostor struct {
	config database.Config
	heard  chan []byte // everything after the startup message, at the end
}

// reply frames one message of the server.
func reply(kind byte, body ...byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))
	return append(out, body...)
}

// authentication is an authentication request.
func authentication(code uint32, rest string) []byte {
	return reply('R', append(binary.BigEndian.AppendUint32(nil, code), rest...)...)
}

var readyForQuery = reply('Z', 'I')

// password is what the impostor wants.
const password = "the-derived-password-of-43-characters-------"

// impersonate listens with a certificate for name and, after TLS, sends the
// script. Without a name it refuses TLS.
func impersonate(t *testing.T, name string, version uint16, script ...[]byte) *impostor {
	t.Helper()
	certificate, pool := selfSigned(t, name)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{heard: make(chan []byte, 1), config: database.Config{
		Addr: listener.Addr().String(), Name: "db", User: "countersign_fraud",
		Password: secrets.NewSecret([]byte(password)), RootCAs: pool, ServerName: "localhost",
	}}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		i.heard <- i.serve(conn, certificate, version, name == "", script)
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return i
}

func (*impostor) serve(conn net.Conn, certificate tls.Certificate, version uint16, plain bool, script [][]byte) []byte {
	request := make([]byte, 8)
	if _, err := io.ReadFull(conn, request); err != nil {
		return nil
	}
	if plain {
		_, _ = conn.Write([]byte("N"))
		rest, _ := io.ReadAll(conn)
		return rest
	}
	_, _ = conn.Write([]byte("S"))
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: version})
	var size [4]byte
	if _, err := io.ReadFull(secure, size[:]); err != nil {
		return nil
	}
	if _, err := io.CopyN(io.Discard, secure, int64(binary.BigEndian.Uint32(size[:]))-4); err != nil {
		return nil
	}
	for _, message := range script {
		_, _ = secure.Write(message)
	}
	heard, _ := io.ReadAll(secure)
	return heard
}

func selfSigned(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestAttackServerAsksForThePassword(t *testing.T) {
	mechanisms := "SCRAM-SHA-256\x00\x00"
	for _, c := range []struct {
		name   string
		script [][]byte
	}{
		{"clear-text", [][]byte{authentication(3, "")}},
		{"md5", [][]byte{authentication(5, "salt")}},
		{"trust", [][]byte{authentication(0, ""), readyForQuery}},
		{"kerberos", [][]byte{authentication(7, "")}},
		{"other-mechanism", [][]byte{authentication(10, "PLAIN\x00\x00")}},
		{"no-authentication-at-all", [][]byte{readyForQuery}},
		{"scram-then-clear-text", [][]byte{authentication(10, mechanisms), authentication(3, "")}},
		{"scram-cut-short", [][]byte{authentication(10, mechanisms), authentication(0, ""), readyForQuery}},
		{"scram-without-challenge", [][]byte{authentication(10, mechanisms), authentication(12, "v=AAAA")}},
		{"scram-one-iteration", [][]byte{authentication(10, mechanisms), authentication(11, "r=x,s=AAAA,i=1")}},
		{"scram-endless-iterations", [][]byte{authentication(10, mechanisms), authentication(11, "r=x,s=AAAA,i=2000000000")}},
		{"enormous-message", [][]byte{{'R', 0x7f, 0xff, 0xff, 0xff}}},
	} {
		t.Run("fail/"+c.name, func(t *testing.T) {
			i := impersonate(t, "localhost", tls.VersionTLS13, c.script...)
			refused(t, i, database.ErrAuthentication)
		})
	}
}

// refused connects to the impostor and checks that it learns nothing.
func refused(t *testing.T, i *impostor, want error) {
	t.Helper()
	db, err := database.Open(i.config)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	} else if strings.Contains(err.Error(), password) {
		t.Errorf("the error tells the password")
	}
	if heard := <-i.heard; bytes.Contains(heard, []byte(password)) {
		t.Errorf("the impostor heard the password")
	}
}

func TestAttackWrongServer(t *testing.T) {
	for _, c := range []struct {
		name, certificate string
		version           uint16
		other             bool // an authority that is not ours
	}{
		{name: "no-tls", certificate: "", version: tls.VersionTLS13},
		{name: "wrong-name", certificate: "database.evil", version: tls.VersionTLS13},
		{name: "tls-1.2", certificate: "localhost", version: tls.VersionTLS12},
		{name: "other-authority", certificate: "localhost", version: tls.VersionTLS13, other: true},
	} {
		t.Run("fail/"+c.name, func(t *testing.T) {
			i := impersonate(t, c.certificate, c.version, authentication(3, ""))
			if c.other {
				_, i.config.RootCAs = selfSigned(t, "localhost")
			}
			refused(t, i, database.ErrTLS)
		})
	}
}

// The real server under another name than the configured one.
func TestAttackRealServerUnderAnotherName(t *testing.T) {
	d := databasetest.New(t)
	config := d.Config("fraud")
	config.ServerName = "wrong.example"
	db, err := database.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); !errors.Is(err, database.ErrTLS) {
		t.Errorf("the real server under a wrong name: %v", err)
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	d := databasetest.New(t)
	c := d.Config("fraud")
	c.Password = secrets.DatabasePassword(secrets.Generate())
	db, err := database.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("logged in with another password")
	}
}

func TestConfigReportsAllFaults(t *testing.T) {
	err := database.Config{Addr: "nowhere", MaxConns: 1}.Validate()
	for _, want := range []string{"nowhere", "name", "user", "password", "root certificates", "maximum"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if _, err := database.Open(database.Config{}); err == nil {
		t.Error("an empty configuration opens")
	}
	if _, err := database.NewListener(database.Config{}, nil); err == nil {
		t.Error("an empty configuration listens")
	}
}
