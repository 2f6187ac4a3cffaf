package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/secrets"
)

// HTTP says how receivers are reached.
type HTTP struct {
	// CAs sign the receivers' certificates; nil: those of the system.
	CAs *x509.CertPool
	// Proxy, if set, makes every connection, and has to filter addresses that names
	// stand for itself. No environment variable names one.
	Proxy *url.URL
	// Allowed are networks that may be connected to although they are not of the
	// public internet.
	Allowed []netip.Prefix
}

const (
	// postTime bounds one message from the look-up of the name to the answer.
	postTime = 15 * time.Second
	// maxHeader and maxAnswer bound what is read of an answer. The body is read
	// only so that the connection can be used again.
	maxHeader = 16 << 10
	maxAnswer = 4 << 10
	idleConns = 4
	idleTime  = 30 * time.Second
)

// signed is a message on its way.
type signed struct {
	id, signature string
	at            time.Time
	body          []byte
}

// sign signs with every key, the newest first: while keys change a receiver may
// know either.
func sign(keys []*secrets.Secret, id string, at time.Time, body []byte) (signed, error) {
	var signatures []string
	for _, key := range keys {
		hook, err := standardwebhooks.NewWebhookRaw(key.Bytes())
		if err != nil {
			return signed{}, fmt.Errorf("signing a webhook: %w", err)
		}
		signature, err := hook.Sign(id, at, body)
		if err != nil {
			return signed{}, fmt.Errorf("signing a webhook: %w", err)
		}
		signatures = append(signatures, signature)
	}
	return signed{id: id, signature: strings.Join(signatures, " "), at: at, body: body}, nil
}

// Errors of post; none tells an address.
var (
	errGone    = errors.New("the receiver wants it no more")
	errRefused = errors.New("address is not allowed")
)

// statusError is an answer that is no success.
type statusError struct {
	code       int
	retryAfter string // the header, as it came
}

func (e statusError) Error() string { return "it answered " + strconv.Itoa(e.code) }

type poster struct {
	allowed   []netip.Prefix
	transport *http.Transport
	client    *http.Client
}

func newPoster(cfg HTTP) *poster {
	p := &poster{allowed: cfg.Allowed}
	dialer := &net.Dialer{Timeout: postTime, KeepAlive: -1}
	// HTTP/1.1 alone: one connection for each message, so that none waits behind
	// another.
	p.transport = &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.CAs},
		TLSHandshakeTimeout: postTime, MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTime,
	}
	if cfg.Proxy != nil { // the only thing that is dialled then
		p.transport.Proxy = http.ProxyURL(cfg.Proxy)
	} else {
		dialer.Control = p.control
	}
	p.client = &http.Client{
		Transport: p.transport, Timeout: postTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

func (p *poster) close() { p.transport.CloseIdleConnections() }

// post sends a message; nil says that the receiver took it.
func (p *poster) post(ctx context.Context, to string, m signed) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(m.body))
	if err != nil {
		return err
	}
	// An address that stands in the URL is judged also where a proxy dials.
	if addr, err := netip.ParseAddr(req.URL.Hostname()); err == nil && !p.allows(addr) {
		return errRefused
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Countersign-Webhooks/1")
	// The specification's names are in lower case, which no receiver minds.
	req.Header.Set(standardwebhooks.HeaderWebhookID, m.id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(m.at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, m.signature)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // what it says does not matter
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusGone:
		return errGone
	}
	return statusError{resp.StatusCode, resp.Header.Get("Retry-After")}
}

// control judges the address that is dialled, after the name was looked up: a name
// can stand for any address, and for another one the next time.
func (p *poster) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !p.allows(to.Addr()) {
		return errRefused
	}
	return nil
}

// handshake says whether no TLS connection was made that could be believed.
func handshake(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") { // an alert of crypto/tls
		return true
	}
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}

// cause is why a message was not taken, in words that tell no address.
func cause(err error) string {
	var status statusError
	var timeout net.Error
	var name *net.DNSError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errRefused):
		return "its address is not one of the public internet, and not allowed"
	case handshake(err):
		return "TLS failed"
	case errors.As(err, &name) && !name.IsTimeout:
		return "its name was not found"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it did not answer in time"
	}
	return "the connection failed"
}
