// Package faulty is a proxy between one service and PostgreSQL that breaks
// things on purpose: at a chosen statement it calls its owner, who may kill the
// service, and cuts every connection, before the server sees the statement or
// after the server has done it and before anybody hears of that.
//
// It is for tests. It ends TLS on both sides with certificates of its own, so
// that the service must be told to trust it.
package faulty

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// ServerName is the name in the proxy's certificate.
const ServerName = "localhost"

// Fault is what happens once, at the At-th statement (from 1) after Arm.
type Fault struct {
	At int
	// After lets the server do the statement first. Whoever sent it never
	// learns that.
	After bool
	// Do is called when it happens, before the connections are cut.
	Do func()
}

// Proxy relays connections until Close.
type Proxy struct {
	// Addr is where the service connects to; CA, in PEM, is what it must trust.
	Addr string
	CA   []byte

	listener net.Listener
	upstream string
	server   *tls.Config // towards the service
	client   *tls.Config // towards PostgreSQL
	relays   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	seen  int
	fault *Fault
	done  chan struct{}
	shut  bool
}

// New listens on loopback for a server whose certificate roots verify.
func New(upstream string, roots *x509.CertPool) (*Proxy, error) {
	certificate, ca, err := issue()
	if err != nil {
		return nil, fmt.Errorf("making the proxy's certificate: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), CA: ca, listener: l, upstream: upstream,
		server: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13},
		client: &tls.Config{RootCAs: roots, ServerName: ServerName, MinVersion: tls.VersionTLS13},
		conns:  map[net.Conn]bool{},
	}
	p.relays.Go(p.accept)
	return p, nil
}

// issue makes a certificate that is its own authority.
func issue() (tls.Certificate, []byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "faulty"}, DNSNames: []string{ServerName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "faulty"}}, public, private)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, ca, nil
}

// Close ends all connections and the listener.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.shut = true
	p.mu.Unlock()
	p.Cut()
	p.relays.Wait()
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Arm counts statements from now on. What it returns is closed when the fault
// has happened. An earlier fault that has not happened is taken back.
func (p *Proxy) Arm(f Fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.fault, p.done = 0, &f, make(chan struct{})
	return p.done
}

// Disarm takes a fault back that has not happened, and returns how many
// statements were counted.
func (p *Proxy) Disarm() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
	return p.seen
}

// count counts a statement and returns the fault that is to happen now.
func (p *Proxy) count() (*Fault, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen++
	if p.fault == nil || p.seen < p.fault.At {
		return nil, nil
	}
	f := p.fault
	p.fault = nil
	return f, p.done
}

func (p *Proxy) happen(f *Fault, done chan struct{}) {
	if f.Do != nil {
		f.Do()
	}
	p.Cut()
	close(done)
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.relays.Go(func() { p.relay(c) })
	}
}

// own remembers a connection, so that it can be cut; it reports false once the
// proxy is shut.
func (p *Proxy) own(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.conns[c] = true
	}
	return !p.shut
}

func (p *Proxy) disown(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// sslRequest is how a client asks for TLS (protocol 3.0, SSLRequest).
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

const handshakeTimeout = 10 * time.Second

func (p *Proxy) relay(raw net.Conn) {
	defer p.disown(raw)
	if !p.own(raw) {
		return
	}
	service, err := p.secureService(raw)
	if err != nil {
		return
	}
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	up, err := dialer.DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		return
	}
	defer p.disown(up)
	if !p.own(up) {
		return
	}
	server, err := p.secureServer(ctx, up)
	if err != nil {
		return
	}
	r := &relay{proxy: p, service: service, server: server, ready: make(chan struct{}, 1)}
	p.relays.Go(func() {
		defer p.disown(raw)
		r.answers()
	})
	r.statements()
	_ = up.Close() // ends answers
}

func (p *Proxy) secureService(raw net.Conn) (net.Conn, error) {
	var first [8]byte
	if _, err := io.ReadFull(raw, first[:]); err != nil {
		return nil, err
	}
	if string(first[:]) != string(sslRequest) {
		return nil, errors.New("the service does not ask for TLS")
	}
	if _, err := raw.Write([]byte{'S'}); err != nil {
		return nil, err
	}
	return tls.Server(raw, p.server), nil
}

func (p *Proxy) secureServer(ctx context.Context, up net.Conn) (net.Conn, error) {
	if _, err := up.Write(sslRequest); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(up, answer[:]); err != nil {
		return nil, err
	}
	conn := tls.Client(up, p.client)
	return conn, conn.HandshakeContext(ctx)
}

// relay is one connection in both directions.
type relay struct {
	proxy           *Proxy
	service, server net.Conn
	ready           chan struct{} // the server is through with a statement that is to be hidden

	mu   sync.Mutex
	hide bool // answers are not passed on any more
}

// Message types of the protocol 3.0: what makes the server work and answer with
// ready-for-query, and that answer.
const (
	query         = 'Q'
	syncMessage   = 'S'
	readyForQuery = 'Z'
	// maxMessage is far above anything that the services send.
	maxMessage = 64 << 20
)

// statements passes on what the service says, whole messages at a time.
func (r *relay) statements() {
	if !r.pass(r.service, r.server, false) { // the startup message has no type
		return
	}
	for {
		head, body, err := read(r.service, true)
		if err != nil {
			return
		}
		if kind := head[0]; kind == query || kind == syncMessage {
			if f, done := r.proxy.count(); f != nil {
				r.fail(f, done, head, body)
				return
			}
		}
		if write(r.server, head, body) != nil {
			return
		}
	}
}

// fail lets the fault happen at a statement.
func (r *relay) fail(f *Fault, done chan struct{}, head, body []byte) {
	if f.After {
		r.mu.Lock()
		r.hide = true
		r.mu.Unlock()
		if write(r.server, head, body) == nil {
			<-r.ready
		}
	}
	r.proxy.happen(f, done)
}

// answers passes on what the server says.
func (r *relay) answers() {
	defer close(r.ready)
	for {
		head, body, err := read(r.server, true)
		if err != nil {
			return
		}
		r.mu.Lock()
		hide := r.hide
		r.mu.Unlock()
		switch {
		case !hide:
			if write(r.service, head, body) != nil {
				return
			}
		case head[0] == readyForQuery:
			return
		}
	}
}

func (r *relay) pass(from, to net.Conn, typed bool) bool {
	head, body, err := read(from, typed)
	return err == nil && write(to, head, body) == nil
}

// read reads one message: a type where there is one, a length that counts
// itself, the body.
func read(c net.Conn, typed bool) (head, body []byte, err error) {
	head = make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, nil, err
	}
	size := binary.BigEndian.Uint32(head[len(head)-4:])
	if size < 4 || size > maxMessage {
		return nil, nil, fmt.Errorf("message of %d bytes", size)
	}
	body = make([]byte, size-4)
	_, err = io.ReadFull(c, body)
	return head, body, err
}

func write(c net.Conn, head, body []byte) error {
	_, err := c.Write(append(head, body...))
	return err
}
