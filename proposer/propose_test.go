package proposer_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/queue"
)

func TestPropose(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	a := w.propose(statement)
	r := wantRequest(t, a, http.StatusAccepted)
	if r.Wallet != message.Sum(statement).String() || r.Status != message.StatusPending || a.header.Get("Location") != "/v1/requests/"+r.ID {
		t.Fatalf("got %+v", r)
	}
	view := m.views[uuid.MustParse(r.ID)]
	var e message.Envelope
	must(t, message.Decode(view.Body, &e))
	if !bytes.Equal(e.Statement, statement) || view.Hash != message.Sum(view.Body) || view.Owner != deploymenttest.User {
		t.Fatal("the envelope is not what was sent")
	}
	if got := strings.Join(m.consumers, " "); got != "authorization fraud approval signing" {
		t.Fatalf("consumers %q", got)
	}
	if e.Signature.Authority != strings.TrimPrefix(w.url, "https://") || e.Received != message.At(w.clock.Now()) {
		t.Fatalf("envelope %+v", e)
	}
}

// TestAttackReplayedSignedRequest sends the same signed bytes again, and other
// bytes under the same id.
func TestAttackReplayedSignedRequest(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	first := wantRequest(t, w.propose(statement), http.StatusAccepted)
	before := m.views[uuid.MustParse(first.ID)]
	w.clock.Advance(time.Minute)
	again := wantRequest(t, w.propose(statement), http.StatusAccepted)
	if again.ID != first.ID || again.Submitted != first.Submitted {
		t.Fatalf("the repetition is another request: %+v", again)
	}
	other := bytes.Replace(statement, []byte(`"test"`), []byte(`"tset"`), 1)
	wantProblem(t, w.propose(other), proposer.CodeIDConflict)
	mallorys := w.do(w.client(false), w.signed(statement, w.d.UserKey, w.token(mallory, nil)))
	wantProblem(t, mallorys, proposer.CodeIDConflict)
	if after := m.views[uuid.MustParse(first.ID)]; !bytes.Equal(after.Body, before.Body) || len(m.views) != 1 {
		t.Fatal("a replay changed the queue")
	}
}

// TestAttackStatements sends statements that must not reach the queue.
func TestAttackStatements(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	good := string(w.statement())
	swap := func(old, fresh string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the statement has no %s", old)
		}
		return strings.Replace(good, old, fresh, 1)
	}
	id := statementID(t, []byte(good))
	expires := func(d time.Duration) string {
		b, err := message.At(w.clock.Now().Add(d)).MarshalText()
		must(t, err)
		return string(b)
	}
	now := expires(time.Hour)
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for name, c := range map[string]struct {
		body string
		code proposer.Code
	}{
		"fail/empty":                  {"", proposer.CodeInvalidStatement},
		"fail/not-json":               {"id=1", proposer.CodeInvalidStatement},
		"fail/trailing-bytes":         {good + "x", proposer.CodeInvalidStatement},
		"fail/second-document":        {good + good, proposer.CodeInvalidStatement},
		"fail/byte-order-mark":        {"\xef\xbb\xbf" + good, proposer.CodeInvalidStatement},
		"fail/bad-utf8":               {swap(`"test"`, "\"te\xffst\""), proposer.CodeInvalidStatement},
		"fail/overlong-utf8":          {swap(`"test"`, "\"te\xc0\xafst\""), proposer.CodeInvalidStatement},
		"fail/lone-surrogate":         {swap(`"test"`, `"te\ud800st"`), proposer.CodeInvalidStatement},
		"fail/duplicate-member":       {swap(`{"id"`, `{"kind":"wallet.create","id"`), proposer.CodeInvalidStatement},
		"fail/duplicate-by-escape":    {swap(`{"id"`, `{"k\u0069nd":"wallet.create","id"`), proposer.CodeInvalidStatement},
		"fail/duplicate-in-payload":   {swap(`"label":"test"`, `"label":"test","label":"test"`), proposer.CodeInvalidStatement},
		"fail/member-in-other-case":   {swap(`"kind"`, `"Kind"`), proposer.CodeInvalidStatement},
		"fail/unknown-member":         {swap(`{"id"`, `{"extra":1,"id"`), proposer.CodeInvalidStatement},
		"fail/deep-nesting":           {swap(`"test"`, deep), proposer.CodeInvalidStatement},
		"fail/deep-nesting-unclosed":  {strings.Repeat(`{"payload":`, 10000), proposer.CodeInvalidStatement},
		"fail/huge-number-for-time":   {swap(`"`+now+`"`, "1"+strings.Repeat("0", 5000)), proposer.CodeInvalidStatement},
		"fail/huge-exponent-for-id":   {swap(`"`+id+`"`, "1e999999999"), proposer.CodeInvalidStatement},
		"fail/payload-is-number":      {swap(`{"owner"`, `1e99999999,"x":{"owner"`), proposer.CodeInvalidStatement},
		"fail/payload-is-null":        {swap(`"payload":{`, `"payload":null,"x":{`), proposer.CodeInvalidStatement},
		"fail/null":                   {"null", proposer.CodeInvalidStatement},
		"fail/list":                   {"[" + good + "]", proposer.CodeInvalidStatement},
		"fail/id-not-v7":              {swap(id, uuid.NewString()), proposer.CodeInvalidStatement},
		"fail/id-upper-case":          {swap(id, strings.ToUpper(id)), proposer.CodeInvalidStatement},
		"fail/id-in-braces":           {swap(id, "{"+id+"}"), proposer.CodeInvalidStatement},
		"fail/unknown-kind":           {swap("wallet.create", "wallet.destroy"), proposer.CodeUnknownKind},
		"fail/internal-kind":          {swap("wallet.create", "secrets.rotate"), proposer.CodeUnknownKind},
		"fail/kind-of-a-result":       {swap("wallet.create", "result"), proposer.CodeUnknownKind},
		"fail/kind-of-a-rotation":     {swap("wallet.create", "secrets.rotate"), proposer.CodeUnknownKind},
		"fail/kind-empty":             {swap("wallet.create", ""), proposer.CodeUnknownKind},
		"fail/kind-in-other-case":     {swap("wallet.create", "Wallet.Create"), proposer.CodeUnknownKind},
		"fail/kind-with-null-byte":    {swap("wallet.create", `wallet.create\u0000`), proposer.CodeUnknownKind},
		"fail/other-audience":         {swap(w.d.ID.String(), strings.Repeat("ab", 32)), proposer.CodeWrongAudience},
		"fail/expired":                {swap(now, expires(0)), proposer.CodeExpiryOutOfRange},
		"fail/expires-too-late":       {swap(now, expires(7*24*time.Hour+time.Second)), proposer.CodeExpiryOutOfRange},
		"fail/expires-with-fraction":  {swap(now, strings.Replace(now, "Z", ".5Z", 1)), proposer.CodeInvalidStatement},
		"fail/expires-with-offset":    {swap(now, strings.Replace(now, "Z", "+00:00", 1)), proposer.CodeInvalidStatement},
		"fail/wallet-with-create":     {swap(`"payload"`, `"wallet":"`+strings.Repeat("ab", 32)+`","payload"`), proposer.CodeInvalidStatement},
		"fail/account-without-wallet": {swap("wallet.create", "account.create"), proposer.CodeInvalidStatement},
		"fail/oversized":              {good + strings.Repeat(" ", message.MaxStatement), proposer.CodeStatementTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.propose([]byte(c.body))
			wantProblem(t, a, c.code)
			if strings.Contains(string(a.body), "message.") || len(a.body) > 1000 {
				t.Fatalf("the problem shows our inside, or too much: %s", a.body)
			}
		})
	}
	if len(m.views) != 0 {
		t.Fatal("a refused statement reached the queue")
	}
}

// TestHugeNumberInPayload checks that a number that no float holds goes through
// byte for byte: what it means is for the roles to say.
func TestHugeNumberInPayload(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	statement := bytes.Replace(w.statement(), []byte(`"test"`), []byte("1"+strings.Repeat("0", 5000)+"e-999999"), 1)
	r := wantRequest(t, w.propose(statement), http.StatusAccepted)
	var e message.Envelope
	must(t, message.Decode(m.views[uuid.MustParse(r.ID)].Body, &e))
	if !bytes.Equal(e.Statement, statement) {
		t.Fatal("the statement's bytes were changed")
	}
}

// TestAttackHeaderSmuggling sends signature headers that two readers could read
// differently.
func TestAttackHeaderSmuggling(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	change := func(edit func(h http.Header)) *http.Request {
		r := w.signed(w.statement(), w.d.UserKey, w.token(deploymenttest.User, nil))
		edit(r.Header)
		return r
	}
	twice := func(name string) *http.Request {
		return change(func(h http.Header) { h.Add(name, h.Get(name)) })
	}
	without := func(name string) *http.Request { return change(func(h http.Header) { h.Del(name) }) }
	joined := func(name string) *http.Request {
		return change(func(h http.Header) { h.Set(name, h.Get(name)+", "+h.Get(name)) })
	}
	set := func(name, value string) *http.Request {
		return change(func(h http.Header) { h.Set(name, value) })
	}
	replace := func(name, old, fresh string) *http.Request {
		return change(func(h http.Header) {
			if !strings.Contains(h.Get(name), old) {
				t.Fatalf("%s has no %s", name, old)
			}
			h.Set(name, strings.Replace(h.Get(name), old, fresh, 1))
		})
	}
	for name, c := range map[string]struct {
		request *http.Request
		code    proposer.Code
	}{
		"fail/two-signatures":              {twice("Signature"), proposer.CodeInvalidSignature},
		"fail/two-signature-inputs":        {twice("Signature-Input"), proposer.CodeInvalidSignature},
		"fail/two-content-digests":         {twice("Content-Digest"), proposer.CodeInvalidSignature},
		"fail/two-content-types":           {twice("Content-Type"), proposer.CodeUnsupportedMediaType},
		"fail/signatures-joined":           {joined("Signature"), proposer.CodeInvalidSignature},
		"fail/signature-inputs-joined":     {joined("Signature-Input"), proposer.CodeInvalidSignature},
		"fail/content-digests-joined":      {joined("Content-Digest"), proposer.CodeDigestMismatch},
		"fail/no-signature":                {without("Signature"), proposer.CodeMissingSignature},
		"fail/no-signature-input":          {without("Signature-Input"), proposer.CodeMissingSignature},
		"fail/no-content-digest":           {without("Content-Digest"), proposer.CodeMissingSignature},
		"fail/no-content-type":             {without("Content-Type"), proposer.CodeUnsupportedMediaType},
		"fail/content-type-with-parameter": {set("Content-Type", "application/json; charset=utf-8"), proposer.CodeUnsupportedMediaType},
		"fail/content-type-form":           {set("Content-Type", "application/x-www-form-urlencoded"), proposer.CodeUnsupportedMediaType},
		"fail/content-encoding":            {set("Content-Encoding", "gzip"), proposer.CodeUnsupportedMediaType},
		"fail/digest-of-other-body":        {set("Content-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:"), proposer.CodeDigestMismatch},
		"fail/digest-sha-512":              {replace("Content-Digest", "sha-256", "sha-512"), proposer.CodeDigestMismatch},
		"fail/other-tag":                   {replace("Signature-Input", message.TagStatement, message.TagApprover), proposer.CodeInvalidSignature},
		"fail/component-not-covered":       {replace("Signature-Input", `"content-digest" `, ""), proposer.CodeInvalidSignature},
		"fail/component-twice":             {replace("Signature-Input", `"@path"`, `"@path" "@path"`), proposer.CodeInvalidSignature},
		"fail/label-differs":               {replace("Signature", "sig", "sig1"), proposer.CodeInvalidSignature},
		"fail/signature-is-text":           {set("Signature", `sig="abc"`), proposer.CodeInvalidSignature},
		"fail/signature-enormous":          {set("Signature", "sig=:"+strings.Repeat("A", 4000)+":"), proposer.CodeInvalidSignature},
		"fail/signature-not-ascii":         {set("Signature", "sig=:\xc3\xa9:"), proposer.CodeInvalidSignature},
		"fail/prefer-nonsense":             {set("Prefer", "wait=soon"), proposer.CodeInvalidPreference},
		"fail/prefer-negative":             {set("Prefer", "wait=-1"), proposer.CodeInvalidPreference},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, w.do(w.client(false), c.request), c.code)
		})
	}
	if len(m.views) != 0 {
		t.Fatal("a refused call reached the queue")
	}
}

// raw sends bytes on a TLS connection and returns what comes back until the
// server closes or is silent.
func (w *world) raw(text string) (*tls.Conn, *bufio.Reader) {
	w.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), &tls.Config{RootCAs: w.ca.Pool(), Time: w.clock.Now})
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	must(w.t, err)
	return conn, bufio.NewReader(conn)
}

// TestAttackRequestSmuggling sends framings that proxies disagree about.
func TestAttackRequestSmuggling(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	host := "Host: proposer.test\r\n"
	for name, text := range map[string]string{
		"fail/two-content-lengths":    "POST /v1/requests HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"fail/length-and-chunked":     "GET /v1/requests HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"fail/unknown-encoding":       "POST /v1/requests HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"fail/two-hosts":              "GET /healthz HTTP/1.1\r\n" + host + "Host: evil.test\r\n\r\n",
		"fail/no-host":                "GET /healthz HTTP/1.1\r\n\r\n",
		"fail/absolute-target":        "GET https://evil.test/healthz HTTP/1.1\r\n" + host + "\r\n",
		"fail/space-before-colon":     "GET /healthz HTTP/1.1\r\n" + host + "Signature : x\r\n\r\n",
		"fail/line-break-in-header":   "GET /healthz HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n",
		"fail/body-with-get":          "GET /healthz HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc",
		"fail/header-enormous":        "GET /healthz HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"fail/connect":                "CONNECT evil.test:443 HTTP/1.1\r\n" + host + "\r\n",
		"fail/options-star":           "OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
		"fail/lower-case-method":      "get /healthz HTTP/1.1\r\n" + host + "\r\n",
		"fail/unencrypted-style-line": "GET /healthz\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, reader := w.raw(text)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				return // closed without an answer
			}
			defer response.Body.Close()
			if response.StatusCode < 400 {
				t.Fatalf("answered with %s", response.Status)
			}
		})
	}
	if len(m.views) != 0 {
		t.Fatal("something reached the queue")
	}
}

// TestAttackSlowBody starts a body and never ends it, with and without a
// token.
func TestAttackSlowBody(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.BodyTime = 200 * time.Millisecond })
	post := func(token string) string {
		return fmt.Sprintf("POST /v1/requests HTTP/1.1\r\nHost: proposer.test\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"id\":", token)
	}
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"fail/with-token":    {w.token(deploymenttest.User, nil), http.StatusRequestTimeout},
		"fail/without-token": {"none", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			_, reader := w.raw(post(c.token))
			response, err := http.ReadResponse(reader, nil)
			must(t, err)
			_, _ = io.Copy(io.Discard, response.Body)
			if response.StatusCode != c.want {
				t.Fatalf("answered with %s", response.Status)
			}
			if _, err := reader.ReadByte(); err != io.EOF {
				t.Fatalf("the connection stayed open: %v", err)
			}
		})
	}
}

// TestAttackSlowHeader opens a connection and says little.
func TestAttackSlowHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the header may")
	}
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	_, reader := w.raw("GET /healthz HTTP/1.1\r\nHost: ")
	if _, err := io.ReadAll(reader); err != nil {
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("the server still waits for the header")
		}
	}
}

func TestQueueOutOfReach(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	m.breakDown(fmt.Errorf("dial tcp 10.0.0.7: secret detail"))
	for _, a := range []answer{w.propose(w.statement()), w.get("/v1/requests", w.token(deploymenttest.User, nil))} {
		wantProblem(t, a, proposer.CodeUnavailable)
		if strings.Contains(string(a.body), "secret detail") || a.header.Get("Retry-After") == "" {
			t.Fatalf("got %s", a.body)
		}
	}
	wantProblem(t, w.get("/readyz", ""), proposer.CodeNotReady)
}

// TestTokenNeverReachesQueue looks for the token in everything that was
// submitted, and for what stands in other headers: none of that can be part of
// random base64.
func TestTokenNeverReachesQueue(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	a := w.do(w.client(false), w.signed(w.statement(), w.d.UserKey, token, "Cookie", "session=abc", "X-Secret", "secret of a header"))
	wantRequest(t, a, http.StatusAccepted)
	all := fmt.Sprintf("%s", m.batches)
	var bodies strings.Builder
	for _, batch := range m.batches {
		for _, s := range batch {
			bodies.Write(s.Body)
		}
	}
	for _, secret := range []string{token, token[len(token)-20:], "session=abc", "secret of a header"} {
		if strings.Contains(all, secret) || strings.Contains(bodies.String(), secret) || strings.Contains(w.logs.String(), secret) {
			t.Fatalf("%q left the proposer", secret)
		}
	}
}

// results

// end stores a result in the queue that the signing service signed, changed by
// edit.
func (w *world) end(m *memory, id string, edit func(*message.Result)) {
	w.t.Helper()
	m.change(w.t, id, func(v *queue.View) {
		r := w.result(v.Submission, edit)
		v.Result = &r
	})
}

func (w *world) result(s queue.Submission, edit func(*message.Result)) queue.Result {
	w.t.Helper()
	r := message.Result{
		Origin:  message.Origin{Version: message.Version, Deployment: w.d.ID, Generation: 1},
		Request: s.ID.String(), Envelope: message.Sum(s.Body), Status: message.StatusDone,
		Reasons: []message.RoleReason{}, Output: []byte(`{"wallet":"x"}`), Approvals: []message.Hash{}, Time: message.At(w.clock.Now()),
	}
	if edit != nil {
		edit(&r)
	}
	key := w.d.IdentityKey(message.RoleSigning)
	jws, err := message.SignEd25519(message.TypResult, deploymenttest.JWK(w.t, key).Thumbprint(), key, r)
	must(w.t, err)
	return queue.Result{Request: s.ID, Status: string(r.Status), Body: jws, Created: w.clock.Now()}
}
