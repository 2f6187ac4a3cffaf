package proposer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/proposer/token"
	"github.com/countersign/countersign/trust/httpsig"
)

const (
	issuer   = "https://issuer.test"
	audience = "countersign"
	mallory  = "mallory"
)

// policyHolder is a policy that the test changes.
type policyHolder struct {
	mu     sync.Mutex
	active *document.Active
	next   *document.Active
}

func (p *policyHolder) Active() *document.Active {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

func (p *policyHolder) Set(a *document.Active) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = a
}

// Refresh activates the document that was published meanwhile, if any.
func (p *policyHolder) Refresh(context.Context) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		return false, nil
	}
	p.active, p.next = p.next, nil
	return true, nil
}

// issuerKeys are the keys of the identity provider.
type issuerKeys struct {
	ed  ed25519.PrivateKey
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
}

func newIssuer(t testing.TB) issuerKeys {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return issuerKeys{ed: deploymenttest.Key(t), ec: ec, rsa: standin.RSA()}
}

// tokens verifies the issuer's tokens by its key file.
func (k issuerKeys) tokens(t testing.TB) *token.Verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	must(t, os.WriteFile(path, k.jwks(t), 0o600))
	v, err := token.New(token.Config{Issuers: []token.Issuer{{Name: issuer, Audiences: []string{audience}, KeyFile: path}}})
	must(t, err)
	return v
}

func (k issuerKeys) jwks(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: k.ed.Public(), KeyID: "ed", Algorithm: "EdDSA", Use: "sig"},
		{Key: k.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: k.rsa.Public(), KeyID: "rsa"},
	}})
	must(t, err)
	return b
}

// token signs claims, changed by edit, as the issuer does.
func (w *world) token(subject string, edit func(map[string]any)) string {
	w.t.Helper()
	return w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", w.claims(subject, edit), nil)
}

func (w *world) claims(subject string, edit func(map[string]any)) map[string]any {
	now := w.clock.Now().Unix()
	c := map[string]any{"iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 300}
	if edit != nil {
		edit(c)
	}
	return c
}

func (w *world) tokenBy(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any, header map[jose.HeaderKey]any) string {
	w.t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid)
	for name, value := range header {
		options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	must(w.t, err)
	payload, err := json.Marshal(claims)
	must(w.t, err)
	object, err := signer.Sign(payload)
	must(w.t, err)
	compact, err := object.CompactSerialize()
	must(w.t, err)
	return compact
}

// world is a running proposer with everything around it.
type world struct {
	t       testing.TB
	clock   *standin.Clock
	d       *deploymenttest.Deployment
	policy  *policyHolder
	issuer  issuerKeys
	ca      standin.Authority
	alice   tls.Certificate
	backend backend
	server  *proposer.Server
	url     string
	logs    *standin.Log
	stop    context.CancelFunc
	stopped chan error

	listener *net.TCPListener
}

// backend is what lies behind the API: a real queue or one that the test
// holds the strings of.
type backend struct {
	deployment *deploymenttest.Deployment
	queue      proposer.Queue
	wallets    proposer.Wallets
	db         proposer.Pinger
}

// plenty is a rate that no test reaches by accident.
var plenty = proposer.Rate{PerSecond: 1, Burst: 1e9}

// start runs a proposer over real TLS. Edit may change its configuration.
func start(t testing.TB, b backend, edit func(*proposer.Config)) *world {
	t.Helper()
	w := &world{
		t: t, clock: standin.NewClock(time.Now().Truncate(time.Second)), d: b.deployment, backend: b,
		issuer: newIssuer(t), logs: &standin.Log{}, policy: &policyHolder{}, stopped: make(chan error, 1),
	}
	w.ca = standin.NewAuthority(t, "test CA", w.clock.Now())
	w.alice = w.ca.Issue(t, "alice", w.clock.Now().Add(-time.Minute), w.clock.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)
	w.policy.Set(w.d.Active(w.editPolicy))
	cfg := proposer.Config{
		Deployment: w.d.ID, Roles: w.d.Genesis.Roles, Queue: b.queue, Wallets: b.wallets, Policy: w.policy, DB: b.db,
		// The test's clock stands still, and no token comes back while it does.
		Limits: proposer.Limits{Submissions: plenty, Reads: plenty},
		Tokens: w.issuer.tokens(t), ClientCAs: w.ca.Pool(),
		Now: w.clock.Now, Log: slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	w.server, err = proposer.New(cfg)
	must(t, err)
	w.serve()
	return w
}

func (w *world) serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.listener = listener.(*net.TCPListener)
	w.url = "https://" + listener.Addr().String()
	certificate := w.ca.Issue(w.t, "proposer", w.clock.Now().Add(-time.Minute), w.clock.Now().Add(24*time.Hour), x509.ExtKeyUsageServerAuth)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.stopped <- w.server.Serve(ctx, listener, certificate) }()
	w.t.Cleanup(cancel)
}

// editPolicy lets alice in by her certificate too, and adds mallory, who is a
// user like her.
func (w *world) editPolicy(doc *document.Document) {
	doc.Users[0].Certificates = []string{standin.Fingerprint(w.alice)}
	doc.Users = append(doc.Users, document.User{
		ID: mallory, Issuer: issuer, Subject: mallory, Keys: []message.JWK{deploymenttest.JWK(w.t, deploymenttest.Key(w.t))},
	})
	doc.Grants[0].Users = append(doc.Grants[0].Users, mallory)
}

// client returns an HTTP client without redirects that shows the given
// certificates. HTTP/2 where h2 is set.
func (w *world) client(h2 bool, certificates ...tls.Certificate) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: w.ca.Pool(), Certificates: certificates, Time: w.clock.Now},
		ForceAttemptHTTP2: h2,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a call and holds the answer against the OpenAPI document.
func (w *world) do(client *http.Client, r *http.Request) answer {
	w.t.Helper()
	response, err := client.Do(r)
	must(w.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(w.t, err)
	a := answer{response.StatusCode, response.Header, body}
	described().conform(w.t, r, a)
	return a
}

// get calls as a user by token; token "" is nobody.
func (w *world) get(path, token string, header ...string) answer {
	w.t.Helper()
	return w.do(w.client(false), w.request(http.MethodGet, path, nil, token, header...))
}

func (w *world) request(method, path string, body []byte, token string, header ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, bytes.NewReader(body))
	must(w.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// statement returns a good statement of alice's.
func (w *world) statement() []byte {
	w.t.Helper()
	return w.d.Statement(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: "raw", Source: "software", Label: "test",
	}, w.clock.Now().Add(time.Hour))
}

// signed returns the POST of a statement, signed by a key.
func (w *world) signed(statement []byte, key crypto.Signer, token string, header ...string) *http.Request {
	w.t.Helper()
	r := w.request(http.MethodPost, "/v1/requests", statement, token, header...)
	jwk, err := message.NewJWK(key.Public())
	must(w.t, err)
	s, err := httpsig.Sign(httpsig.Message{
		Method: r.Method, Authority: r.URL.Host, Path: r.URL.Path, ContentType: "application/json", Body: statement,
	}, httpsig.StatementProfile, key, jwk.Thumbprint(), w.clock.Now())
	must(w.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Digest", s.ContentDigest)
	r.Header.Set("Signature-Input", s.SignatureInput)
	r.Header.Set("Signature", s.Signature)
	return r
}

// propose sends a statement as alice.
func (w *world) propose(statement []byte, header ...string) answer {
	w.t.Helper()
	return w.do(w.client(false), w.signed(statement, w.d.UserKey, w.token(deploymenttest.User, nil), header...))
}

// wantProblem checks that an answer is the problem with a code.
func wantProblem(t testing.TB, a answer, code proposer.Code) {
	t.Helper()
	var p api.Problem
	if err := message.DecodeStrict(a.body, &p); err != nil {
		t.Fatalf("answer %d is no problem document: %v: %q", a.status, err, a.body)
	}
	if p.Code != string(code) || p.Status != a.status || a.status != proposer.Codes()[code] || p.Type != api.ProblemType+p.Code {
		t.Fatalf("got problem %+v with status %d, want %s", p, a.status, code)
	}
	if got := a.header.Get("Content-Type"); got != api.ProblemMediaType {
		t.Fatalf("content type %q", got)
	}
}

// wantRequest checks the status and returns the request of an answer.
func wantRequest(t testing.TB, a answer, status int) api.Request {
	t.Helper()
	if a.status != status {
		t.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}
	var r api.Request
	if err := message.DecodeStrict(a.body, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// statementID reads the id out of a statement.
func statementID(t testing.TB, statement []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(statement), `"id":"`)
	if !ok {
		t.Fatal("statement has no id")
	}
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
