package token_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer/token"
)

// TestNewKeyIsReadAtOnce lets an issuer sign with a key that it has just made.
func TestNewKeyIsReadAtOnce(t *testing.T) {
	old, next := ed(t, "old"), ec(t, "next")
	p := newProvider(t, old)
	r := run(t, quick, p.issuer())
	r.accepts(old.token(t, p.url, nil))
	p.publish(old, next)
	time.Sleep(quick.Pause)
	r.accepts(next.token(t, p.url, nil))
	r.accepts(old.token(t, p.url, nil))
	if s := r.State(p.url); s.Keys != 2 || s.Failing || time.Since(s.Read) > time.Minute {
		t.Errorf("state %+v", s)
	}
}

// TestAttackKeyTakenAway uses a token whose key its issuer has taken away: it
// ends with the next refresh although its signature is remembered, and although
// nobody asks for another key.
func TestAttackKeyTakenAway(t *testing.T) {
	stolen, next := ed(t, "stolen"), ed(t, "next")
	timing := quick
	timing.Refresh = 100 * time.Millisecond
	for name, left := range map[string][]signer{"others-stay": {next}, "none-stays": nil} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, stolen, next)
			r := run(t, timing, p.issuer())
			compact := stolen.token(t, p.url, nil)
			r.accepts(compact)
			p.publish(left...)
			p.readAgain()
			r.refuses(compact)
			r.refuses(stolen.token(t, p.url, nil))
		})
	}
}

// TestKeysStayWhenTheIssuerWritesThemDifferently checks that what is remembered
// is not forgotten for nothing.
func TestKeysStayWhenTheIssuerWritesThemDifferently(t *testing.T) {
	a, b := ed(t, "a"), ed(t, "b")
	timing := quick
	timing.Refresh = 20 * time.Millisecond
	p := newProvider(t, a, b)
	r := run(t, timing, p.issuer())
	r.accepts(a.token(t, p.url, nil))
	p.publish(b, a)
	p.readAgain()
	if n := strings.Count(r.logs.String(), "issuer keys were read"); n != 1 {
		t.Errorf("the log tells of %d changes, want 1:\n%s", n, r.logs)
	}
}

// TestDownAtTheStart starts beside an issuer that is not there yet.
func TestDownAtTheStart(t *testing.T) {
	s, address := ed(t, "ed"), unusedAddress(t)
	p := &provider{t: t, url: "https://" + address}
	p.publish(s)
	p.server = httptest.NewUnstartedServer(p)
	p.server.TLS = &tls.Config{}
	other := newProvider(t) // has the certificate of every httptest server
	i := other.issuer()
	i.Name = p.url
	r := run(t, quick, i)
	if err := r.Ready(); !errors.Is(err, token.ErrKeysUnavailable) {
		t.Errorf("ready: %v", err)
	}
	r.cannotTell(s.token(t, p.url, nil))
	r.logged("issuer keys could not be read", "connection refused")
	if st := r.State(p.url); st.Keys != 0 || !st.Failing || !st.Read.IsZero() {
		t.Errorf("state %+v", st)
	}
	listener, err := net.Listen("tcp", address)
	must(t, err)
	must(t, p.server.Listener.Close())
	p.server.Listener = listener
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	eventually(t, "the issuer's tokens are accepted", func() bool { _, err := r.verify(s.token(t, p.url, nil)); return err == nil })
	if err := r.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	r.logged("issuer keys were read", `"keys":1`)
}

// TestDownAndBack takes the issuer away while tokens are in use: its keys count
// until they are stale. When it is back, so are its tokens.
func TestDownAndBack(t *testing.T) {
	t.Parallel()
	s, next := ed(t, "ed"), ed(t, "next")
	timing := quick
	timing.Refresh, timing.Stale = 20*time.Millisecond, 3*time.Second
	p := newProvider(t, s)
	r := run(t, timing, p.issuer())
	compact := s.token(t, p.url, nil)
	r.accepts(compact)

	down := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "hunter2")
	}
	p.answers(down, down)
	eventually(t, "the state says that the issuer fails", func() bool { return r.State(p.url).Failing })
	r.accepts(compact)
	r.accepts(s.token(t, p.url, func(c map[string]any) { c["jti"] = "new" }))
	// Whether this key is the issuer's, nobody can say now.
	r.cannotTell(next.token(t, p.url, nil))

	eventually(t, "the keys are stale", func() bool { _, err := r.verify(compact); return errors.Is(err, token.ErrKeysUnavailable) })
	if err := r.Ready(); err == nil {
		t.Error("ready without keys")
	}
	if st := r.State(p.url); st.Keys != 0 || !st.Failing {
		t.Errorf("state %+v", st)
	}
	if strings.Contains(r.logs.String(), "hunter2") {
		t.Error("the issuer writes into the log")
	}

	p.publish(s, next)
	p.answers(nil, nil)
	eventually(t, "the tokens are back", func() bool { _, err := r.verify(compact); return err == nil })
	r.accepts(next.token(t, p.url, nil))
}

// TestOneIssuerIsEnough checks that an issuer which is down harms no other.
func TestOneIssuerIsEnough(t *testing.T) {
	s := ed(t, "ed")
	p := newProvider(t, s)
	gone := token.Issuer{Name: "https://" + unusedAddress(t), Audiences: []string{audience}}
	r := run(t, quick, gone, p.issuer())
	r.accepts(s.token(t, p.url, nil))
	if err := r.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	r.cannotTell(s.token(t, gone.Name, nil))
	if got := r.Issuers(); len(got) != 2 || got[0] > got[1] {
		t.Errorf("issuers %v", got)
	}
}

// TestBackoff counts how often an issuer that fails is asked.
func TestBackoff(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, nil)
	timing := quick
	timing.Retry = 50 * time.Millisecond
	began := time.Now()
	r := run(t, timing, p.issuer())
	stranger := ed(t, "stranger")
	for took := time.Duration(0); took < 1200*time.Millisecond || (p.asked.Load() < 3 && took < patience); took = time.Since(began) {
		r.cannotTell(stranger.token(t, p.url, nil)) // asking changes nothing
	}
	// 50, 100, 200, 400 ms and so on, each at most a fifth less: the sixth attempt
	// comes after 1240 ms at the earliest.
	n, took := p.asked.Load(), time.Since(began)
	most, shortest := int64(1), timing.Retry*4/5
	for pause, at := shortest, shortest; at <= took; pause, at = 2*pause, at+2*pause {
		most++
	}
	if n < 3 || n > most {
		t.Errorf("the issuer was asked %d times in %v, want 3 to %d", n, took, most)
	}
}

// hostile returns the ways in which an issuer, or who stands in its place, may
// answer wrongly.
func hostile(p *provider, elsewhere, plain string) map[string][2]http.HandlerFunc {
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	document := func(name string, value any) http.HandlerFunc {
		return answer(p.document(func(doc map[string]any) { doc[name] = value }))
	}
	padded := func(b []byte) http.HandlerFunc {
		return answer(append(b, strings.Repeat(" ", 600<<10)...))
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat(" ", 1<<10))); err != nil {
				return
			}
		}
	}
	headed := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("a", 100<<10))
		answer(p.document(nil))(w, r)
	}
	status := func(code int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write(body) }
	}
	return map[string][2]http.HandlerFunc{
		"Attack/document-of-another-issuer":  {document("issuer", "https://evil.test"), nil},
		"Attack/issuer-with-a-slash":         {document("issuer", p.url+"/"), nil},
		"Attack/no-issuer":                   {document("issuer", ""), nil},
		"Attack/keys-over-http":              {document("jwks_uri", plain), nil},
		"Attack/keys-from-a-file":            {document("jwks_uri", "file:///etc/passwd"), nil},
		"Attack/keys-from-nowhere":           {document("jwks_uri", ""), nil},
		"Attack/keys-without-a-scheme":       {document("jwks_uri", strings.TrimPrefix(elsewhere, "https:")), nil},
		"Attack/document-redirected":         {redirect(elsewhere), nil},
		"Attack/document-redirected-at-home": {redirect(p.url + wellKnown + "/"), nil},
		"Attack/keys-redirected":             {nil, redirect(elsewhere)},
		"Attack/keys-redirected-to-http":     {nil, redirect(plain)},
		"Attack/oversized-document":          {padded(p.document(nil)), nil},
		"Attack/oversized-keys":              {nil, padded(p.keys)},
		"Attack/endless-document":            {endless, nil},
		"Attack/endless-keys":                {nil, endless},
		"Attack/document-is-no-json":         {answer([]byte("<html>hunter2")), nil},
		"Attack/keys-are-no-json":            {nil, answer([]byte("<html>hunter2"))},
		"Attack/keys-without-a-list":         {nil, answer([]byte("{}"))},
		"Attack/error-with-a-document":       {status(http.StatusNotFound, p.document(nil)), nil},
		"Attack/error-with-keys":             {nil, status(http.StatusInternalServerError, p.keys)},
		"Attack/accepted-with-keys":          {nil, status(http.StatusAccepted, p.keys)},
		"Attack/enormous-header":             {headed, nil},
		"Attack/enormous-issuer":             {document("issuer", strings.Repeat("hunter2", 10_000)), nil},
	}
}

// TestAttackIssuersAnswer gives wrong answers: none of them brings keys, none
// leads anywhere else, and what they hold does not reach the log.
func TestAttackIssuersAnswer(t *testing.T) {
	t.Parallel()
	s := ed(t, "ed")
	trap := &trap{keys: keySet(s.public())}
	elsewhere := httptest.NewTLSServer(trap) // with the certificate that the test trusts
	t.Cleanup(elsewhere.Close)
	plain := httptest.NewServer(trap)
	t.Cleanup(plain.Close)
	for name := range hostile(newProvider(t, s), "", "") {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, s)
			answers := hostile(p, elsewhere.URL, plain.URL)[name]
			p.answers(answers[0], answers[1])
			r := run(t, quick, p.issuer())
			eventually(t, "the state says that the issuer fails", func() bool { return r.State(p.url).Failing })
			r.cannotTell(s.token(t, p.url, nil))
			if trap.sprung.Load() {
				t.Error("another host was asked")
			}
			text := r.logs.String()
			if !strings.Contains(text, "issuer keys could not be read") || strings.Contains(text, "<html>") {
				t.Errorf("the log says %s", text)
			}
			for line := range strings.Lines(text) {
				if len(line) > 1000 {
					t.Errorf("a line of %d bytes was logged", len(line))
				}
			}
		})
	}
}

// trap gives the right keys, at the wrong place.
type trap struct {
	keys   []byte
	sprung atomic.Bool
}

func (t *trap) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	t.sprung.Store(true)
	_, _ = w.Write(t.keys)
}

// TestAttackSlowIssuer lets an issuer hang: a reading ends in time, and calls
// wait no longer than they may.
func TestAttackSlowIssuer(t *testing.T) {
	t.Parallel()
	s := ed(t, "ed")
	hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	drips := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, answers := range map[string][2]http.HandlerFunc{
		"Attack/document-hangs": {hangs, nil}, "Attack/keys-hang": {nil, hangs},
		"Attack/document-drips": {drips, nil}, "Attack/keys-drip": {nil, drips},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, s)
			p.answers(answers[0], answers[1])
			timing := quick
			timing.Fetch, timing.Wait = 300*time.Millisecond, 50*time.Millisecond
			r := run(t, timing, p.issuer())
			began := time.Now()
			r.cannotTell(s.token(t, p.url, nil))
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("a call waited %v", took)
			}
			r.logged("issuer keys could not be read", "deadline exceeded")
			p.answers(nil, nil)
			eventually(t, "the tokens are accepted", func() bool { _, err := r.verify(s.token(t, p.url, nil)); return err == nil })
		})
	}
}

// TestAttackUntrustedTLS puts another in the issuer's place who has no
// certificate that counts.
func TestAttackUntrustedTLS(t *testing.T) {
	s := ed(t, "ed")
	p := newProvider(t, s)
	for name, i := range map[string]token.Issuer{
		"Attack/certificate-of-an-unknown-authority": {Name: p.url, Audiences: []string{audience}},
		"Attack/certificate-of-another-name":         {Name: strings.Replace(p.url, "127.0.0.1", "localhost", 1), Audiences: []string{audience}, Roots: p.roots()},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, quick, i)
			r.logged("issuer keys could not be read", "certificate")
			r.cannotTell(s.token(t, i.Name, nil))
		})
	}
	if p.asked.Load() > 0 {
		t.Error("the other was asked")
	}
}

// TestAttackKeysOfAnIssuer has an issuer publish keys that it must not: they
// are left out, and the others count.
func TestAttackKeysOfAnIssuer(t *testing.T) {
	good, bad := ed(t, "good"), ed(t, "bad")
	symmetric := signer{"bad", jose.HS256, []byte("hunter2-hunter2-hunter2-hunter2!")}
	private := jose.JSONWebKey{Key: bad.key, KeyID: "bad"}
	for name, c := range map[string]struct {
		keys []jose.JSONWebKey
		by   signer
	}{
		"Attack/private":                {[]jose.JSONWebKey{private}, bad},
		"Attack/private-beside-public":  {[]jose.JSONWebKey{bad.public(), private}, bad},
		"Attack/public-beside-private":  {[]jose.JSONWebKey{private, bad.public()}, bad},
		"Attack/symmetric":              {[]jose.JSONWebKey{{Key: symmetric.key, KeyID: "bad"}}, symmetric},
		"Attack/kid-twice":              {[]jose.JSONWebKey{bad.public(), ed(t, "bad").public()}, bad},
		"Attack/kid-three-times":        {[]jose.JSONWebKey{ed(t, "bad").public(), ed(t, "bad").public(), bad.public()}, bad},
		"Attack/for-encryption":         {[]jose.JSONWebKey{{Key: bad.public().Key, KeyID: "bad", Use: "enc"}}, bad},
		"Attack/for-another-algorithm":  {[]jose.JSONWebKey{{Key: standin.RSA().Public(), KeyID: "bad", Algorithm: "PS256"}}, signer{"bad", jose.RS256, standin.RSA()}},
		"Attack/algorithm-is-symmetric": {[]jose.JSONWebKey{{Key: bad.public().Key, KeyID: "bad", Algorithm: "HS256"}}, bad},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.answers(nil, answer(keySet(append(c.keys, good.public())...)))
			r := run(t, quick, p.issuer())
			r.accepts(good.token(t, p.url, nil))
			r.refuses(c.by.token(t, p.url, nil))
			if n := r.State(p.url).Keys; n != 1 {
				t.Errorf("%d keys count, want 1", n)
			}
			if strings.Contains(r.logs.String(), "hunter2") {
				t.Error("a key reached the log")
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	file := fileIssuer(keyFile(t, keySet(ed(t, "ed").public())))
	with := func(edit func(*token.Issuer)) []token.Issuer {
		i := token.Issuer{Name: "https://login.example", Audiences: []string{audience}}
		edit(&i)
		return []token.Issuer{i}
	}
	named := func(name string) []token.Issuer { return with(func(i *token.Issuer) { i.Name = name }) }
	tests := map[string]struct {
		issuers []token.Issuer
		want    string // empty: accepted
	}{
		"discovery":                {named("https://login.example/tenant"), ""},
		"file-with-any-name":       {[]token.Issuer{file}, ""},
		"fail/none":                {nil, "there is no issuer"},
		"fail/twice":               {[]token.Issuer{file, file}, "stands twice"},
		"fail/no-name":             {named(""), "name is missing"},
		"fail/no-audience":         {with(func(i *token.Issuer) { i.Audiences = nil }), "audience is missing"},
		"fail/empty-audience":      {with(func(i *token.Issuer) { i.Audiences = []string{""} }), "audience is missing"},
		"fail/http":                {named("http://login.example"), "not an https URL"},
		"fail/no-url":              {named("login.example"), "not an https URL"},
		"fail/no-host":             {named("https:///tenant"), "not an https URL"},
		"fail/password-in-the-url": {named("https://a:b@login.example"), "not an https URL"},
		"fail/query":               {named("https://login.example?tenant=1"), "no query"},
		"fail/fragment":            {named("https://login.example#x"), "no query and no fragment"},
		"fail/roots-for-a-file":    {[]token.Issuer{{Name: "x", Audiences: []string{"y"}, KeyFile: file.KeyFile, Roots: newProvider(t).roots()}}, "TLS roots"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := token.New(token.Config{Issuers: tt.issuers})
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	_, err := token.New(token.Config{Issuers: append(named("http://login.example"), named("ftp://x")...)})
	if err == nil || strings.Count(err.Error(), "not an https URL") != 2 {
		t.Errorf("not every fault is reported: %v", err)
	}
}

// TestCallerGoesAway checks that a call which ends waits no longer.
func TestCallerGoesAway(t *testing.T) {
	s := ed(t, "ed")
	p := newProvider(t, s)
	p.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil)
	timing := quick
	timing.Wait = patience
	r := run(t, timing, p.issuer())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Verify(ctx, s.token(t, p.url, nil), time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
