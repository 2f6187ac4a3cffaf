package proposer_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/token"
)

func TestEntryByToken(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	good := w.claims(deploymenttest.User, nil)
	listed := w.claims(deploymenttest.User, func(c map[string]any) { c["aud"] = []string{"other", audience} })
	for name, token := range map[string]string{
		"ok/eddsa":       w.token(deploymenttest.User, nil),
		"ok/es256":       w.tokenBy(jose.ES256, w.issuer.ec, "ec", good, nil),
		"ok/rs256":       w.tokenBy(jose.RS256, w.issuer.rsa, "rsa", good, nil),
		"ok/aud-is-list": w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", listed, nil),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time from memory
				if a := w.get("/v1/requests", token); a.status != http.StatusOK {
					t.Fatalf("refused: %d %s", a.status, a.body)
				}
			}
		})
	}
}

// TestAttackTokens plays every token that must not let anybody in. All of them
// get the same answer.
func TestAttackTokens(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	now := w.clock.Now().Unix()
	edit := func(name string, value any) string {
		return w.token(deploymenttest.User, func(c map[string]any) { c[name] = value })
	}
	without := func(name string) string {
		return w.token(deploymenttest.User, func(c map[string]any) { delete(c, name) })
	}
	good := w.claims(deploymenttest.User, nil)
	stranger := deploymenttest.Key(t)
	public, err := x509.MarshalPKIXPublicKey(w.issuer.rsa.Public())
	must(t, err)
	strong := w.token(deploymenttest.User, nil)
	cases := map[string]string{
		"fail/no-token":               "",
		"fail/not-a-token":            "abc",
		"fail/expired":                edit("exp", now-31),
		"fail/not-yet-valid":          edit("nbf", now+31),
		"fail/issued-in-the-future":   edit("iat", now+3600),
		"fail/no-expiry":              without("exp"),
		"fail/expiry-is-text":         edit("exp", "9999999999"),
		"fail/expiry-overflows":       edit("exp", 1e300),
		"fail/not-before-overflows":   edit("nbf", 1e300),
		"fail/other-audience":         edit("aud", "elsewhere"),
		"fail/no-audience":            without("aud"),
		"fail/other-issuer":           edit("iss", "https://evil.test"),
		"fail/no-issuer":              without("iss"),
		"fail/no-subject":             without("sub"),
		"fail/subject-not-in-policy":  edit("sub", "nobody"),
		"fail/alg-none":               unsigned(t, good),
		"fail/hs256-with-public-key":  w.tokenBy(jose.HS256, public, "rsa", good, nil),
		"fail/hs256-with-ed25519-key": w.tokenBy(jose.HS256, []byte(w.issuer.ed.Public().(ed25519.PublicKey)), "ed", good, nil),
		"fail/rs512":                  w.tokenBy(jose.RS512, w.issuer.rsa, "rsa", good, nil),
		"fail/ps256":                  w.tokenBy(jose.PS256, w.issuer.rsa, "rsa", good, nil),
		"fail/key-not-in-key-set":     w.tokenBy(jose.EdDSA, stranger, "stranger", good, nil),
		"fail/kid-of-another-key":     w.tokenBy(jose.EdDSA, stranger, "ed", good, nil),
		"fail/kid-of-another-type":    w.tokenBy(jose.EdDSA, w.issuer.ed, "ec", good, nil),
		"fail/no-kid":                 w.tokenBy(jose.EdDSA, w.issuer.ed, "", good, nil),
		"fail/jwk-header":             w.tokenBy(jose.EdDSA, stranger, "ed", good, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Public()}}),
		"fail/jku-header":             w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", good, map[jose.HeaderKey]any{"jku": "https://evil.test/jwks"}),
		"fail/x5u-header":             w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", good, map[jose.HeaderKey]any{"x5u": "https://evil.test/cert"}),
		"fail/crit-header":            w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", good, map[jose.HeaderKey]any{"b64": true}),
		"fail/other-typ":              w.tokenBy(jose.EdDSA, w.issuer.ed, "ed", good, map[jose.HeaderKey]any{"typ": "dpop+jwt"}),
		"fail/bound-to-a-key":         edit("cnf", map[string]any{"jkt": "abc"}),
		"fail/bound-without-cert":     edit("cnf", map[string]any{"x5t#S256": thumb(w.alice)}),
		"fail/padding":                strong + "=",
		"fail/four-parts":             strong + ".x",
		"fail/signature-cut":          strong[:len(strong)-8],
		"fail/enormous":               strong + strings.Repeat("A", 9<<10),
	}
	want := w.get("/v1/requests", "")
	for name, token := range cases {
		t.Run(name, func(t *testing.T) {
			got := w.get("/v1/requests", token)
			wantProblem(t, got, proposer.CodeUnauthenticated)
			if string(got.body) != string(want.body) || got.header.Get("WWW-Authenticate") == "" {
				t.Fatalf("the answer tells why: %s", got.body)
			}
		})
	}
	if strings.Contains(w.logs.String(), strong[:40]) {
		t.Fatal("a token reached the log")
	}
}

func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(`{"alg":"none","kid":"ed","typ":"JWT"}`)) + "." + e.EncodeToString(payload) + "."
}

func thumb(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestAttackTokenExpiresWhileRemembered checks that a token whose signature is
// remembered still ends.
func TestAttackTokenExpiresWhileRemembered(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	if a := w.get("/v1/requests", token); a.status != http.StatusOK {
		t.Fatalf("refused: %s", a.body)
	}
	w.clock.Advance(331 * time.Second)
	wantProblem(t, w.get("/v1/requests", token), proposer.CodeUnauthenticated)
}

// TestAttackRemovedUser checks that a new policy document ends a user's entry
// at once.
func TestAttackRemovedUser(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(mallory, nil)
	if a := w.get("/v1/requests", token); a.status != http.StatusOK {
		t.Fatalf("refused: %s", a.body)
	}
	w.policy.Set(w.d.Active(func(doc *document.Document) { doc.Version = 2 }))
	wantProblem(t, w.get("/v1/requests", token), proposer.CodeUnauthenticated)
}

func TestAttackTwoTokens(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	wantProblem(t, w.get("/v1/requests", token, "Authorization", "Bearer "+token), proposer.CodeUnauthenticated)
	wantProblem(t, w.get("/v1/requests", "", "Authorization", "Basic YWxpY2U6cHc="), proposer.CodeUnauthenticated)
	wantProblem(t, w.get("/v1/requests?access_token="+token, ""), proposer.CodeUnauthenticated)
}

func TestEntryByCertificate(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	get := func(token string, certificate tls.Certificate) answer {
		return w.do(w.client(true, certificate), w.request(http.MethodGet, "/v1/requests", nil, token))
	}
	bound := w.token(deploymenttest.User, func(c map[string]any) { c["cnf"] = map[string]any{"x5t#S256": thumb(w.alice)} })
	twice := w.token(deploymenttest.User, func(c map[string]any) {
		c["cnf"] = map[string]any{"x5t#S256": thumb(w.alice), "jkt": "a-key-that-we-cannot-check"}
	})
	other := w.issueClient("other", time.Hour)
	for name, c := range map[string]struct {
		token       string
		certificate tls.Certificate
		status      int
	}{
		"ok/certificate-alone":                 {"", w.alice, http.StatusOK},
		"ok/with-own-token":                    {w.token(deploymenttest.User, nil), w.alice, http.StatusOK},
		"ok/bound-token":                       {bound, w.alice, http.StatusOK},
		"fail/token-bound-twice":               {twice, w.alice, http.StatusUnauthorized},
		"fail/certificate-not-in-policy":       {"", other, http.StatusUnauthorized},
		"fail/bound-token-other-certificate":   {bound, other, http.StatusUnauthorized},
		"fail/token-of-another-user":           {w.token(mallory, nil), w.alice, http.StatusUnauthorized},
		"fail/bad-token-with-good-certificate": {"abc", w.alice, http.StatusUnauthorized},
		"fail/token-with-unknown-certificate":  {w.token(deploymenttest.User, nil), other, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			if a := get(c.token, c.certificate); a.status != c.status {
				t.Fatalf("got %d, want %d: %s", a.status, c.status, a.body)
			}
		})
	}
}

func (w *world) issueClient(name string, lifetime time.Duration) tls.Certificate {
	w.t.Helper()
	now := w.clock.Now()
	return w.ca.Issue(w.t, name, now.Add(-time.Hour), now.Add(lifetime), x509.ExtKeyUsageClientAuth)
}

// TestAttackClientCertificates plays certificates that do not get through the
// handshake, so that nothing behind it is told anything.
func TestAttackClientCertificates(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	now := w.clock.Now()
	for name, certificate := range map[string]tls.Certificate{
		"fail/other-ca":      standin.NewAuthority(t, "other CA", now).Issue(t, "alice", now.Add(-time.Hour), now.Add(time.Hour), x509.ExtKeyUsageClientAuth),
		"fail/expired":       w.issueClient("alice", -time.Minute),
		"fail/not-yet-valid": w.ca.Issue(t, "alice", now.Add(time.Minute), now.Add(time.Hour), x509.ExtKeyUsageClientAuth),
		"fail/server-usage":  w.ca.Issue(t, "alice", now.Add(-time.Hour), now.Add(time.Hour), x509.ExtKeyUsageServerAuth),
	} {
		t.Run(name, func(t *testing.T) {
			// Sent although the server would not choose it.
			client := w.client(false)
			client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate =
				func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
			r := w.request(http.MethodGet, "/v1/requests", nil, w.token(deploymenttest.User, nil))
			if response, err := client.Do(r); err == nil {
				response.Body.Close()
				t.Fatalf("let in with status %d", response.StatusCode)
			}
		})
	}
}

// TestAttackCertificateExpiresOnOpenConnection checks that a connection does
// not outlive the certificate that opened it.
func TestAttackCertificateExpiresOnOpenConnection(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	client := w.client(false, w.alice)
	get := func() answer { return w.do(client, w.request(http.MethodGet, "/v1/requests", nil, "")) }
	if a := get(); a.status != http.StatusOK {
		t.Fatalf("refused: %s", a.body)
	}
	w.clock.Advance(time.Hour + time.Second)
	wantProblem(t, get(), proposer.CodeUnauthenticated)
}

// TestAttackTLS12 checks that nothing but TLS 1.3 is spoken.
func TestAttackTLS12(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	client := w.client(false)
	client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	response, err := client.Do(w.request(http.MethodGet, "/healthz", nil, ""))
	if err == nil {
		response.Body.Close()
		t.Fatal("TLS 1.2 was accepted")
	}
	if !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("refused for another reason: %v", err)
	}
}

// TestIssuerIsDown starts beside an issuer that cannot be asked. A token of its
// is answered with "try again", for it may be good; others are refused as ever.
func TestIssuerIsDown(t *testing.T) {
	down, err := token.New(token.Config{Issuers: []token.Issuer{{Name: issuer, Audiences: []string{audience}}}, Timing: token.Timing{Wait: time.Millisecond}})
	must(t, err)
	b, _ := memoryBackend(t)
	for name, c := range map[string]struct {
		certificates bool
		readyz       int
	}{
		"beside-certificates": {true, http.StatusOK},
		"the-only-way-in":     {false, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, b, func(cfg *proposer.Config) {
				cfg.Tokens = down
				if !c.certificates {
					cfg.ClientCAs = nil
				}
			})
			a := w.get("/v1/requests", w.token(deploymenttest.User, nil))
			wantProblem(t, a, proposer.CodeIssuerUnavailable)
			if a.header.Get("Retry-After") == "" || a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("header %v", a.header)
			}
			wantProblem(t, w.get("/v1/requests", ""), proposer.CodeUnauthenticated)
			wantProblem(t, w.get("/v1/requests", w.token(deploymenttest.User, func(c map[string]any) { c["iss"] = "https://evil.test" })), proposer.CodeUnauthenticated)
			if a := w.get("/healthz", ""); a.status != http.StatusOK {
				t.Errorf("not alive: %s", a.body)
			}
			if a := w.get("/readyz", ""); a.status != c.readyz {
				t.Errorf("readyz answers %d %s", a.status, a.body)
			}
			if err := w.server.Entry(); errors.Is(err, proposer.ErrNoEntry) != (c.readyz != http.StatusOK) {
				t.Errorf("entry: %v", err)
			}
			if !c.certificates {
				return
			}
			if a := w.do(w.client(false, w.alice), w.request(http.MethodGet, "/v1/requests", nil, "")); a.status != http.StatusOK {
				t.Errorf("refused by certificate: %s", a.body)
			}
			// Whatever is shown must be good: a certificate makes up for nothing.
			wantProblem(t, w.do(w.client(false, w.alice), w.request(http.MethodGet, "/v1/requests", nil, w.token(deploymenttest.User, nil))), proposer.CodeIssuerUnavailable)
		})
	}
}

func TestNothingBeforePolicy(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	w.policy.Set(nil)
	wantProblem(t, w.get("/v1/requests", w.token(deploymenttest.User, nil)), proposer.CodeNotReady)
	wantProblem(t, w.get("/readyz", ""), proposer.CodeNotReady)
	if a := w.get("/healthz", ""); a.status != http.StatusOK {
		t.Fatalf("not alive: %s", a.body)
	}
}
