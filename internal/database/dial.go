package database

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"
)

// ErrTLS says that the server has no TLS or does not show the expected name.
var ErrTLS = errors.New("no verified TLS connection to the database")

// answerTime is how long the server may take to answer: more than the session's
// statement_timeout, so that a server that lives ends its statement by itself.
// It is the connection's own bound, because most statements run under contexts
// that cannot be cancelled: for one that can, driver and pool keep a goroutine
// beside every statement, which costs a fifth of the services' time.
const answerTime = statementTimeout + 5*time.Second

// sslRequest asks the server for TLS (PostgreSQL protocol 3.0, SSLRequest):
// length 8, code 80877103.
var sslRequest = []byte{0, 0, 0, 8, 4, 210, 22, 47}

// dialer makes verified TLS connections for the driver, which by itself would
// also speak clear text and answer a request for the password.
type dialer struct {
	addrs  []string
	tls    *tls.Config
	net    net.Dialer
	answer time.Duration // answerTime
}

func newDialer(c Config) *dialer {
	d := &dialer{answer: answerTime, tls: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: c.RootCAs, ServerName: c.ServerName,
	}}
	hosts, _ := c.hosts() // checked by Validate
	for _, h := range hosts {
		d.addrs = append(d.addrs, net.JoinHostPort(h.name, strconv.Itoa(int(h.port))))
	}
	return d
}

// Dial implements pq.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialTimeout(network, address, connectTimeout)
}

// DialTimeout implements pq.Dialer.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext. It dials none but the configured
// addresses, whatever the driver read from the environment.
func (d *dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	if !slices.Contains(d.addrs, address) {
		return nil, fmt.Errorf("%w: %s is not a configured address", ErrTLS, address)
	}
	raw, err := d.net.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := d.secure(ctx, raw, address)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return &connection{handshake: handshake{Conn: conn}, answer: d.answer}, nil
}

func (d *dialer) secure(ctx context.Context, raw net.Conn, address string) (*tls.Conn, error) {
	if _, err := raw.Write(sslRequest); err != nil {
		return nil, fmt.Errorf("%w: asking for TLS: %w", ErrTLS, err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(raw, answer[:]); err != nil {
		return nil, fmt.Errorf("%w: asking for TLS: %w", ErrTLS, err)
	}
	if answer[0] != 'S' {
		return nil, fmt.Errorf("%w: the server at %s refuses TLS", ErrTLS, address)
	}
	config := d.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return conn, nil
}

// connection is a connection on which the server must answer in time, from
// when it is ready for queries on; before that the driver's own time for
// connecting counts.
type connection struct {
	handshake
	answer time.Duration
}

// Write implements net.Conn. What is written asks for an answer, so that it
// sets the deadline for both. A connection on which nothing is asked may be
// silent for longer, but one that only listens must ask from time to time.
func (c *connection) Write(p []byte) (int, error) {
	if c.done {
		if err := c.SetDeadline(time.Now().Add(c.answer)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
