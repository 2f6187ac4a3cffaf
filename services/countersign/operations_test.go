package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
)

// TestOperations walks through docs/operations.md by hand, as the persons named
// there do: a strict deployment on a PostgreSQL that nobody prepared.
func TestOperations(t *testing.T) {
	bin := build(t)
	server, err := cluster.Start(t.Context(), filepath.Join(deploymentDir(t), "postgres"), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop) // after the scripts, which run in parallel
	createDatabase(t, server)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "operations"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+bin)
			e.Setenv("ADDRESS", server.Addr)
			configs, err := filepath.Abs(filepath.Join("..", "..", "deploy", "config"))
			if err != nil {
				return err
			}
			e.Setenv("CONFIGS", configs)
			for _, name := range []string{"PROPOSER_PORT", "APPROVAL_PORT"} {
				e.Setenv(name, freePort(t))
			}
			ca, err := os.ReadFile(server.CAFile)
			if err != nil {
				return err
			}
			files := map[string][]byte{"database-ca.pem": ca, "owner.password": server.Password.Bytes()}
			e.Setenv("CERTIFICATE", issue(t, files))
			for name, b := range files {
				if err := os.WriteFile(e.Getenv("WORK")+"/"+name, b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func createDatabase(t *testing.T, server *cluster.Cluster) {
	t.Helper()
	db, err := database.Open(server.Config("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE countersign"); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// issue makes what a company's certificate authority would: certificates for
// the two servers and for alice, whose fingerprint it returns.
func issue(t *testing.T, files map[string][]byte) string {
	t.Helper()
	_, authority, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, authority.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	pemOf := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	files["server-ca.pem"], files["users-ca.pem"] = pemOf("CERTIFICATE", der), pemOf("CERTIFICATE", der)
	leaf := func(name string, usage x509.ExtKeyUsage) (certificate, key []byte) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}, root, public, authority)
		if err != nil {
			t.Fatal(err)
		}
		if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	for _, name := range []string{"proposer", "approval"} {
		certificate, key := leaf(name, x509.ExtKeyUsageServerAuth)
		files[name+".pem"], files[name+".key"] = pemOf("CERTIFICATE", certificate), pemOf("PRIVATE KEY", key)
	}
	certificate, key := leaf("alice", x509.ExtKeyUsageClientAuth)
	files["alice.pem"] = append(pemOf("CERTIFICATE", certificate), pemOf("PRIVATE KEY", key)...)
	sum := sha256.Sum256(certificate)
	return hex.EncodeToString(sum[:])
}
