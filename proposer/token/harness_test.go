package token_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/loopback"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer/token"
)

const (
	audience = "countersign"
	subject  = "alice"
	// patience is how long a test waits for what must happen.
	patience = 20 * time.Second
)

// quick is a timing in which things happen while a test looks on. What a test
// does not name does not happen by itself, and no issuer that answers is given up
// because the machine is busy.
var quick = token.Timing{
	Refresh: time.Hour, Pause: 20 * time.Millisecond, Retry: 20 * time.Millisecond, Poll: 10 * time.Millisecond,
	Fetch: patience, Wait: patience,
}

// signer is one key of an issuer.
type signer struct {
	kid string
	alg jose.SignatureAlgorithm
	key any // private
}

func (s signer) public() jose.JSONWebKey {
	k := jose.JSONWebKey{Key: s.key, KeyID: s.kid, Algorithm: string(s.alg), Use: "sig"}
	return k.Public()
}

func ed(t testing.TB, kid string) signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return signer{kid, jose.EdDSA, key}
}

func ec(t testing.TB, kid string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return signer{kid, jose.ES256, key}
}

// sign makes a token with any claims and header.
func (s signer) sign(t testing.TB, claims map[string]any, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", s.kid)
	for name, value := range header {
		options.WithHeader(name, value)
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.key}, options)
	must(t, err)
	payload, err := json.Marshal(claims)
	must(t, err)
	object, err := by.Sign(payload)
	must(t, err)
	compact, err := object.CompactSerialize()
	must(t, err)
	return compact
}

// token makes a good token of an issuer, changed by edit.
func (s signer) token(t testing.TB, issuer string, edit func(map[string]any)) string {
	t.Helper()
	return s.sign(t, claims(issuer, edit), nil)
}

func claims(issuer string, edit func(map[string]any)) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": issuer, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 300}
	if edit != nil {
		edit(c)
	}
	return c
}

func keySet(keys ...jose.JSONWebKey) []byte {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		panic(err)
	}
	return b
}

// provider is a real identity provider: discovery and a key set over TLS.
type provider struct {
	t      testing.TB
	server *httptest.Server
	url    string

	// asked counts readings of the discovery document, keysRead of the key set.
	asked, keysRead atomic.Int64

	mu        sync.Mutex
	keys      []byte
	discovery http.HandlerFunc // instead of the right one
	jwks      http.HandlerFunc // instead of the right one
}

const (
	wellKnown = "/.well-known/openid-configuration"
	jwksPath  = "/keys"
)

// newProvider starts an identity provider with the keys of some signers.
func newProvider(t testing.TB, signers ...signer) *provider {
	t.Helper()
	p := &provider{t: t}
	p.publish(signers...)
	p.server = httptest.NewUnstartedServer(p)
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	p.url = "https://" + p.server.Listener.Addr().String()
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	return p
}

// ServeHTTP is the provider's face.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	discovery, jwks, keys := p.discovery, p.jwks, p.keys
	p.mu.Unlock()
	switch r.URL.Path {
	case wellKnown:
		p.asked.Add(1)
		if discovery == nil {
			discovery = answer(p.document(nil))
		}
		discovery(w, r)
	case jwksPath:
		p.keysRead.Add(1)
		if jwks == nil {
			jwks = answer(keys)
		}
		jwks(w, r)
	default:
		http.NotFound(w, r)
	}
}

func answer(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}
}

// document is the discovery document, changed by edit.
func (p *provider) document(edit func(map[string]any)) []byte {
	doc := map[string]any{
		"issuer": p.url, "jwks_uri": p.url + jwksPath, "authorization_endpoint": p.url + "/auth", "token_endpoint": p.url + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
	if edit != nil {
		edit(doc)
	}
	b, err := json.Marshal(doc)
	must(p.t, err)
	return b
}

// publish makes these the provider's keys.
func (p *provider) publish(signers ...signer) {
	keys := []jose.JSONWebKey{}
	for _, s := range signers {
		keys = append(keys, s.public())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keySet(keys...)
}

// readAgain waits until a verifier that reads at intervals has read what was
// published before. Of the readings that are counted from now on the first may
// bring what was published earlier, and the last is still on its way.
func (p *provider) readAgain() {
	p.t.Helper()
	read := p.keysRead.Load()
	eventually(p.t, "the keys are read again", func() bool { return p.keysRead.Load() >= read+3 })
}

// answers replaces the provider's answers; nil: the right one.
func (p *provider) answers(discovery, jwks http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discovery, p.jwks = discovery, jwks
}

func (p *provider) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.server.Certificate())
	return pool
}

func (p *provider) issuer() token.Issuer {
	return token.Issuer{Name: p.url, Audiences: []string{audience}, Roots: p.roots()}
}

// running is a verifier that keeps its keys up to date.
type running struct {
	*token.Verifier
	t    testing.TB
	logs *standin.Log
}

// run starts a verifier of these issuers.
func run(t testing.TB, timing token.Timing, issuers ...token.Issuer) running {
	t.Helper()
	r := running{t: t, logs: &standin.Log{}}
	var err error
	r.Verifier, err = token.New(token.Config{
		Issuers: issuers, Timing: timing, Log: slog.New(slog.NewJSONHandler(r.logs, nil)),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the verifier ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the verifier does not end")
		}
	})
	return r
}

// in is the same verifier in a subtest.
func (r running) in(t testing.TB) running { return running{r.Verifier, t, r.logs} }

func (r running) verify(token string) (token.Claims, error) {
	return r.Verify(context.Background(), token, time.Now())
}

// accepts wants a token to be accepted now.
func (r running) accepts(token string) {
	r.t.Helper()
	c, err := r.verify(token)
	if err != nil {
		r.t.Fatalf("refused: %v", err)
	}
	if c.Subject != subject {
		r.t.Fatalf("accepted as %+v", c)
	}
}

// refuses wants a token to be refused for good.
func (r running) refuses(compact string) {
	r.t.Helper()
	if c, err := r.verify(compact); err == nil || errors.Is(err, token.ErrKeysUnavailable) {
		r.t.Fatalf("got %+v, %v; want a refusal", c, err)
	}
}

// cannotTell wants neither.
func (r running) cannotTell(compact string) {
	r.t.Helper()
	if c, err := r.verify(compact); !errors.Is(err, token.ErrKeysUnavailable) {
		r.t.Fatalf("got %+v, %v; want ErrKeysUnavailable", c, err)
	}
}

// eventually waits for something to become true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not happen: %s", what)
		}
	}
}

// logged waits for a message with a word beside it.
func (r running) logged(message, word string) {
	r.t.Helper()
	eventually(r.t, message+": "+word, func() bool {
		for line := range strings.Lines(r.logs.String()) {
			if strings.Contains(line, `"msg":"`+message+`"`) && strings.Contains(line, word) {
				return true
			}
		}
		return false
	})
}

// keyFile returns the path of a file with a key set.
func keyFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	write(t, path, content)
	return path
}

// unusedAddress returns an address where nothing listens, unless the test does.
func unusedAddress(t testing.TB) string {
	t.Helper()
	port, err := loopback.Reserve()
	must(t, err)
	t.Cleanup(func() { _ = port.Close() })
	return port.Addr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
