// Package client is the Go client of Countersign's API: it signs statements
// with the user's key, sends them to the proposer, and shows what became of
// them; and it is the approvers' client of the approval service.
//
// It trusts the server's certificate to have reached the right service, and
// believes no answer further than that: where it is given the signing
// service's identity keys it verifies every result under them. It never sends
// anything over plain HTTP, never follows a redirect, and never shows a key or
// a token.
package client

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// Config says where the API is and who calls it.
type Config struct {
	// BaseURL is https://host[:port], without a path.
	BaseURL string
	// Roots verify the server's certificate; nil: the system's.
	Roots *x509.CertPool
	// Token is the access token, Certificate the client certificate that let
	// the user in: one of them, or both where the token is bound to it.
	Token       string
	Certificate *tls.Certificate
	// Key signs statements (Ed25519 or P-256); nil for a client that only
	// reads.
	Key crypto.Signer
	// KeyID is the key's id in the policy; empty: its RFC 7638 thumbprint.
	KeyID      string
	Deployment message.Hash
	// ResultKeys are the signing service's identity keys, from the policy
	// document. If there are any, a result that none of them signed is an
	// error.
	ResultKeys []message.JWK
	Now        func() time.Time // nil: time.Now
}

// Client calls the proposer. It is safe for concurrent use.
type Client struct {
	caller
	key        crypto.Signer
	keyID      string
	deployment message.Hash
	resultKeys []message.JWK
	silence    time.Duration // a constant, but for tests
}

// New checks the configuration and returns a client. It does not connect.
func New(cfg Config) (*Client, error) {
	c, err := newCaller(cfg.BaseURL, cfg.Roots, cfg.Certificate, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c.token = cfg.Token
	if cfg.Deployment.IsZero() {
		return nil, errors.New("client: the deployment id is missing")
	}
	keyID, err := keyIDOf(cfg.Key, cfg.KeyID)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{caller: c, key: cfg.Key, keyID: keyID, deployment: cfg.Deployment, resultKeys: cfg.ResultKeys, silence: silence}, nil
}

func keyIDOf(key crypto.Signer, id string) (string, error) {
	if key == nil || id != "" {
		return id, nil
	}
	jwk, err := message.NewJWK(key.Public())
	if err != nil {
		return "", fmt.Errorf("signing key: %w", err)
	}
	return jwk.Thumbprint(), nil
}

const (
	// maxAnswer is the most bytes of an answer that are read: a full page of
	// requests with their results fits.
	maxAnswer = 64 << 20
	// callTime is how long a call may take beyond the wait that it asks for.
	callTime = 30 * time.Second
	// connections is how many idle connections are kept.
	connections = 256
)

// caller makes calls to one service over TLS 1.3.
type caller struct {
	base  *url.URL
	http  *http.Client
	token string
	now   func() time.Time
}

func newCaller(base string, roots *x509.CertPool, certificate *tls.Certificate, now func() time.Time) (caller, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return caller{}, fmt.Errorf("base url %q is not https://host[:port]", base)
	}
	u.Path = ""
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	if now == nil {
		now = time.Now
	}
	return caller{base: u, now: now, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, TLSHandshakeTimeout: callTime,
			MaxIdleConns: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// call is one call: what it sends and how long its answer may be awaited.
type call struct {
	method, path string
	query        url.Values
	body         []byte
	header       map[string]string
	wait         time.Duration
}

// do makes a call and decodes its answer into v, if v is not nil. An answer
// that is an error comes back as *Problem.
func (c *caller) do(ctx context.Context, what call, v any) error {
	ctx, cancel := context.WithTimeout(ctx, what.wait+callTime)
	defer cancel()
	request, err := c.request(ctx, what)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("calling %s: %w", c.base.Host, transportFault(err))
	}
	defer response.Body.Close()
	body, err := readAll(io.LimitReader(response.Body, maxAnswer+1), response.ContentLength)
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base.Host, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("answer of %s has more than %d bytes", c.base.Host, maxAnswer)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return problemOf(response, body)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base.Host, err)
	}
	return nil
}

// firstRead is the most that is set aside for an answer because it says that it
// is so long.
const firstRead = 64 << 10

// readAll is io.ReadAll with room for the length that was announced; -1 if none
// was.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(length, 0), firstRead)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

func (c *caller) request(ctx context.Context, what call) (*http.Request, error) {
	target := *c.base
	target.Path, target.RawQuery = what.path, what.query.Encode()
	var body io.Reader
	if what.body != nil {
		body = bytes.NewReader(what.body)
	}
	request, err := http.NewRequestWithContext(ctx, what.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("preparing the call: %w", err)
	}
	for name, value := range what.header {
		request.Header.Set(name, value)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if what.wait > 0 {
		request.Header.Set("Prefer", fmt.Sprintf("wait=%d", int(what.wait.Seconds())))
	}
	return request, nil
}

// transportFault leaves out the URL that net/http repeats in its errors.
func transportFault(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Close closes idle connections.
func (c *caller) Close() { c.http.CloseIdleConnections() }

// Problem is an error answer (RFC 9457). Code is stable; docs/errors.md says
// what each one means.
//
// RetryAfter is when the service asks to be called again; 0 if it does not say.
type Problem struct {
	api.Problem
	RetryAfter time.Duration
}

// Error says what the service said.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return fmt.Sprintf("%s (%s, HTTP %d)", text, p.Code, p.Status)
}

// Code returns the stable code of a problem in err's chain, "" if there is
// none.
func Code(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3) in seconds; its other
// form, a date, our services do not use.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// problemOf reads an error answer; one that is no problem document becomes a
// problem with the code "http".
func problemOf(response *http.Response, body []byte) error {
	p := &Problem{RetryAfter: retryAfter(response.Header)}
	mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if mediaType == api.ProblemMediaType && json.Unmarshal(body, &p.Problem) == nil && p.Code != "" {
		p.Status = response.StatusCode
		return p
	}
	p.Problem = api.Problem{
		Type: api.ProblemType + "http", Title: "unexpected answer", Status: response.StatusCode, Code: "http",
		Detail: http.StatusText(response.StatusCode),
	}
	return p
}
