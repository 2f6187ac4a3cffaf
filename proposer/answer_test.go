package proposer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// TestWaitAnswersWithResult checks that Prefer: wait answers as soon as the
// result is there, over both versions of HTTP.
func TestWaitAnswersWithResult(t *testing.T) {
	for name, h2 := range map[string]bool{"http/1.1": false, "http/2": true} {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			m.committing = make(chan int, 1)
			w := start(t, b, nil)
			statement := w.statement()
			answers := make(chan answer, 1)
			client, r := w.client(h2), w.signed(statement, w.d.UserKey, w.token(deploymenttest.User, nil), "Prefer", "respond-async, wait=60")
			go func() { answers <- w.do(client, r) }()
			<-m.committing
			for m.has(statementID(t, statement)) == false {
				time.Sleep(time.Millisecond)
			}
			began := time.Now()
			w.end(m, statementID(t, statement), nil)
			a := <-answers
			got := wantRequest(t, a, http.StatusOK)
			if got.Status != message.StatusDone || got.Result == nil || got.Result.JWS == "" || a.header.Get("Preference-Applied") != "wait=60" {
				t.Fatalf("got %+v", got)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Fatalf("answered after %s", took)
			}
		})
	}
}

func (m *memory) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.views[uuid.MustParse(id)]
	return ok
}

func TestWaitEnds(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Wait = time.Second })
	a := w.propose(w.statement(), "Prefer", "wait=86400")
	r := wantRequest(t, a, http.StatusAccepted)
	if r.Status != message.StatusPending || a.header.Get("Preference-Applied") != "wait=1" {
		t.Fatalf("got %+v %v", r, a.header)
	}
}

// TestWaitOutlivesBodyTime checks that neither the deadline of the body nor
// that of an answer cuts a wait short.
func TestWaitOutlivesBodyTime(t *testing.T) {
	for name, h2 := range map[string]bool{"http/1.1": false, "http/2": true} {
		t.Run(name, func(t *testing.T) {
			b, _ := memoryBackend(t)
			w := start(t, b, func(c *proposer.Config) { c.Limits.BodyTime = 300 * time.Millisecond })
			began := time.Now()
			a := w.do(w.client(h2), w.signed(w.statement(), w.d.UserKey, w.token(deploymenttest.User, nil), "Prefer", "wait=1"))
			wantRequest(t, a, http.StatusAccepted)
			if took := time.Since(began); took < time.Second {
				t.Fatalf("answered after %s", took)
			}
		})
	}
}

// TestTooManyWaiters checks that those who cannot wait are answered at once.
func TestTooManyWaiters(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Waiters = 1 })
	first := w.statement()
	done := make(chan answer, 1)
	r := w.signed(first, w.d.UserKey, w.token(deploymenttest.User, nil), "Prefer", "wait=60")
	go func() { done <- w.do(w.client(false), r) }()
	w.waitFor(func() bool { return proposer.Waits(w.server) == 1 })
	a := w.propose(w.statement(), "Prefer", "wait=60")
	wantRequest(t, a, http.StatusAccepted)
	if a.header.Get("Preference-Applied") != "" {
		t.Fatal("it claims to have waited")
	}
	w.end(m, statementID(t, first), nil)
	wantRequest(t, <-done, http.StatusOK)
}

// TestStopAnswersWaiters checks that an orderly end lets nobody hang.
func TestStopAnswersWaiters(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	done := make(chan answer, 1)
	r := w.signed(statement, w.d.UserKey, w.token(deploymenttest.User, nil), "Prefer", "wait=60")
	go func() { done <- w.do(w.client(false), r) }()
	for !m.has(statementID(t, statement)) {
		time.Sleep(time.Millisecond)
	}
	w.stop()
	wantRequest(t, <-done, http.StatusAccepted)
	must(t, <-w.stopped)
}

// TestAttackAnothersRequest checks that another user's request is as absent as
// one that was never made, whatever is asked of it.
func TestAttackAnothersRequest(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	r := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
	absent, err := uuid.NewV7()
	must(t, err)
	token := w.token(mallory, nil)
	for _, header := range [][]string{nil, {"Prefer", "wait=60"}} {
		theirs := w.get("/v1/requests/"+r.ID, token, header...)
		nobodys := w.get("/v1/requests/"+absent.String(), token, header...)
		wantProblem(t, theirs, proposer.CodeNotFound)
		theirs.header.Del("Date")
		nobodys.header.Del("Date")
		if !bytes.Equal(theirs.body, nobodys.body) || len(theirs.header) != len(nobodys.header) {
			t.Fatalf("they can be told apart: %s %s", theirs.body, nobodys.body)
		}
	}
	var page api.Requests
	must(t, message.DecodeStrict(w.get("/v1/requests", token).body, &page))
	if len(page.Requests) != 0 {
		t.Fatalf("mallory sees %+v", page)
	}
}

// TestAttackAnothersWallet is the same for wallets and their accounts.
func TestAttackAnothersWallet(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	id := strings.Repeat("ab", 32)
	m.wallets[id] = message.WalletDescriptor{Version: 1, Deployment: w.d.ID, ID: id, Owner: deploymenttest.User, Roles: w.d.Genesis.Roles, Generation: 1, SeedType: "raw", Source: "software"}
	if a := w.get("/v1/wallets/"+id, w.token(deploymenttest.User, nil)); a.status != http.StatusOK {
		t.Fatalf("the owner does not see it: %s", a.body)
	}
	token, absent := w.token(mallory, nil), strings.Repeat("cd", 32)
	for _, suffix := range []string{"", "/accounts"} {
		theirs, nobodys := w.get("/v1/wallets/"+id+suffix, token), w.get("/v1/wallets/"+absent+suffix, token)
		wantProblem(t, theirs, proposer.CodeNotFound)
		if !bytes.Equal(theirs.body, nobodys.body) {
			t.Fatalf("they can be told apart: %s %s", theirs.body, nobodys.body)
		}
	}
	var page api.Wallets
	must(t, message.DecodeStrict(w.get("/v1/wallets", token).body, &page))
	if len(page.Wallets) != 0 {
		t.Fatalf("mallory sees %+v", page)
	}
	cursor := "?cursor=" + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xab}, 32))
	wantProblem(t, w.get("/v1/wallets"+cursor, token), proposer.CodeInvalidParameter)
	w.policy.Set(w.d.Active(func(doc *document.Document) {
		w.editPolicy(doc)
		doc.Version = 2
		doc.Grants = append(doc.Grants, document.Grant{Users: []string{mallory}, Kinds: []message.Kind{message.KindEthereumMessage}, Wallets: []string{id}})
	}))
	if a := w.get("/v1/wallets/"+id, token); a.status != http.StatusOK {
		t.Fatalf("a granted wallet is not seen: %s", a.body)
	}
}

// TestAttackInjectedResult writes results into the queue that the signing
// service did not sign for this request: none of them is shown as one.
func TestAttackInjectedResult(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	other := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
	otherView := m.views[uuid.MustParse(other.ID)]
	for name, forge := range map[string]func(queue.View) queue.Result{
		"fail/made-up-key": func(v queue.View) queue.Result {
			r, key := w.result(v.Submission, nil), deploymenttest.Key(t)
			var signed message.Result
			must(t, message.Peek(r.Body, &signed))
			var err error
			r.Body, err = message.SignEd25519(message.TypResult, deploymenttest.JWK(t, key).Thumbprint(), key, signed)
			must(t, err)
			return r
		},
		"fail/key-of-a-role": func(v queue.View) queue.Result {
			r, key := w.result(v.Submission, nil), w.d.IdentityKey(message.RoleFraud)
			var signed message.Result
			must(t, message.Peek(r.Body, &signed))
			var err error
			r.Body, err = message.SignEd25519(message.TypResult, deploymenttest.JWK(t, key).Thumbprint(), key, signed)
			must(t, err)
			return r
		},
		"fail/of-another-request": func(queue.View) queue.Result { return w.result(otherView.Submission, nil) },
		"fail/of-another-envelope": func(v queue.View) queue.Result {
			return w.result(v.Submission, func(r *message.Result) { r.Envelope = message.Sum([]byte("x")) })
		},
		"fail/of-another-deployment": func(v queue.View) queue.Result {
			return w.result(v.Submission, func(r *message.Result) { r.Deployment = message.Sum([]byte("x")) })
		},
		"fail/not-signed": func(queue.View) queue.Result {
			return queue.Result{Status: "signed", Body: []byte(`{"status":"signed"}`)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
			m.change(t, r.ID, func(v *queue.View) { forged := forge(*v); v.Result = &forged })
			got := wantRequest(t, w.get("/v1/requests/"+r.ID, w.token(deploymenttest.User, nil)), http.StatusOK)
			if got.Status != message.StatusFailed || got.Result.Reasons[0].Code != "result_unverified" || got.Result.JWS != "" || string(got.Result.Output) != "null" {
				t.Fatalf("shown as %+v", got)
			}
		})
	}
}

// TestResultUnderNewerPolicy checks that a result by a key that only a newer
// policy names is verified under that.
func TestResultUnderNewerPolicy(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	w.policy.next = w.policy.Active()
	w.policy.Set(w.d.Active(func(doc *document.Document) {
		w.editPolicy(doc)
		doc.Services[message.RoleSigning] = []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}
	}))
	r := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
	w.end(m, r.ID, nil)
	got := wantRequest(t, w.get("/v1/requests/"+r.ID, w.token(deploymenttest.User, nil)), http.StatusOK)
	if got.Status != message.StatusDone {
		t.Fatalf("shown as %+v", got)
	}
}

func TestRequestView(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	r := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
	m.change(t, r.ID, func(v *queue.View) {
		v.Tasks = []queue.TaskView{
			{Consumer: message.RoleApproval, State: "parked", Note: "1 of 2 must agree\x1b[2J" + strings.Repeat("x", 500)},
			{Consumer: message.RoleSigning, State: "parked"}, {Consumer: message.RoleFraud, State: "ready"},
		}
		v.Replies = []queue.Reply{
			w.reply(r.ID, message.RoleFraud, message.RoleFraud, message.Approve), w.reply(r.ID, message.RoleFraud, message.RoleFraud, message.Reject),
			w.reply(r.ID, message.RoleFraud, message.RoleAuthorization, message.Approve), w.reply(w.d.ID.String(), message.RoleAuthorization, message.RoleAuthorization, message.Approve),
			{Sender: message.RoleAuthorization, Body: []byte("garbage")},
		}
	})
	got := wantRequest(t, w.get("/v1/requests/"+r.ID, w.token(deploymenttest.User, nil)), http.StatusOK)
	if got.Status != message.StatusWaiting || len(got.Waiting) != 1 || !strings.HasPrefix(got.Waiting[0].Note, "1 of 2 must agree[2J") || len(got.Waiting[0].Note) != 200 {
		t.Fatalf("waiting: %+v", got.Waiting)
	}
	if len(got.Decisions) != 1 || got.Decisions[0].Role != message.RoleFraud || got.Decisions[0].Decision != message.Reject {
		t.Fatalf("decisions: %+v", got.Decisions)
	}
}

func (w *world) reply(request, sender, role string, decision message.Decision) queue.Reply {
	w.t.Helper()
	key := deploymenttest.Key(w.t)
	jws, err := message.SignEd25519(message.TypApproval, "kid", key, message.Approval{
		Role: role, Request: request, Decision: decision, Issued: message.At(w.clock.Now()), Expires: message.At(w.clock.Now()),
		Reasons: []message.Reason{{Code: "c"}}, Digests: []message.Digest{}, Evidence: []message.Hash{}, Epochs: []message.EpochShares{},
	})
	must(w.t, err)
	return queue.Reply{Sender: sender, Body: jws}
}

// TestAttackPaths plays other spellings of paths and queries: none is cleaned
// up, redirected or answered as if it were the plain one.
func TestAttackPaths(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	for path, code := range map[string]proposer.Code{
		"/":                                       proposer.CodeNotFound,
		"/v1":                                     proposer.CodeNotFound,
		"/v1/requests/":                           proposer.CodeNotFound,
		"//v1/requests":                           proposer.CodeNotFound,
		"/v1//requests":                           proposer.CodeNotFound,
		"/v1/./requests":                          proposer.CodeNotFound,
		"/v1/x/../requests":                       proposer.CodeNotFound,
		"/v1/%72equests":                          proposer.CodeNotFound,
		"/v1/requests%2f" + id:                    proposer.CodeNotFound,
		"/v1/requests/" + id + "%00":              proposer.CodeNotFound,
		"/v1/requests/..%2f..%2fhealthz":          proposer.CodeNotFound,
		"/v1/requests/" + id + "/":                proposer.CodeNotFound,
		"/v1/requests/" + id + ";a=b":             proposer.CodeNotFound,
		"/V1/requests":                            proposer.CodeNotFound,
		"/v1/requests/" + strings.ToUpper(id):     proposer.CodeNotFound,
		"/v1/requests/{" + id + "}":               proposer.CodeNotFound,
		"/v1/wallets/..":                          proposer.CodeNotFound,
		"/v1/wallets/' OR 1=1":                    proposer.CodeNotFound,
		"/v1/requests?unknown=1":                  proposer.CodeUnknownParameter,
		"/v1/requests/" + id + "?limit=1":         proposer.CodeUnknownParameter,
		"/v1/requests?limit=1&limit=2":            proposer.CodeInvalidParameter,
		"/v1/requests?limit=0":                    proposer.CodeInvalidParameter,
		"/v1/requests?limit=-1":                   proposer.CodeInvalidParameter,
		"/v1/requests?limit=101":                  proposer.CodeInvalidParameter,
		"/v1/requests?limit=1e2":                  proposer.CodeInvalidParameter,
		"/v1/requests?limit=99999999999999999999": proposer.CodeInvalidParameter,
		"/v1/requests?cursor=x":                   proposer.CodeInvalidParameter,
		"/v1/requests?cursor=":                    proposer.CodeInvalidParameter,
		"/v1/requests?status=lost":                proposer.CodeInvalidParameter,
		"/v1/requests?kind=%27--":                 proposer.CodeInvalidParameter,
		"/v1/requests?wallet=x":                   proposer.CodeInvalidParameter,
		"/v1/requests?a;b":                        proposer.CodeMalformedRequest,
		"/v1/requests?%zz":                        proposer.CodeMalformedRequest,
		"/healthz?x=1":                            proposer.CodeUnknownParameter,
	} {
		t.Run(path, func(t *testing.T) {
			_, reader := w.raw("GET " + strings.ReplaceAll(path, " ", "%20") + " HTTP/1.1\r\nHost: proposer.test\r\nAuthorization: Bearer " + token + "\r\n\r\n")
			response, err := http.ReadResponse(reader, nil)
			must(t, err)
			body, err := io.ReadAll(response.Body)
			must(t, err)
			a := answer{response.StatusCode, response.Header, body}
			described().validate(t, "/components/schemas/Problem", a)
			wantProblem(t, a, code)
		})
	}
}

func TestWrongMethods(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	for target, allow := range map[string]string{
		"DELETE /v1/requests": "POST, GET, HEAD", "PUT /v1/wallets": "GET, HEAD", "POST /healthz": "GET, HEAD",
		"PATCH /openapi.json": "GET, HEAD", "TRACE /v1/wallets": "GET, HEAD", "OPTIONS /v1/requests": "POST, GET, HEAD", "BREW /readyz": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(target, " ")
		a := w.do(w.client(false), w.request(method, path, nil, token))
		wantProblem(t, a, proposer.CodeMethodNotAllowed)
		if a.header.Get("Allow") != allow {
			t.Errorf("%s: Allow is %q", target, a.header.Get("Allow"))
		}
	}
}

// TestConcurrentSubmissionsShareCommits checks the batcher: a lone submission
// is committed at once, those that arrive during commits share the next.
func TestConcurrentSubmissionsShareCommits(t *testing.T) {
	b, m := memoryBackend(t)
	m.hold, m.committing = make(chan struct{}), make(chan int, 100)
	w := start(t, b, nil)
	token, client := w.token(deploymenttest.User, nil), w.client(true)
	var calls sync.WaitGroup
	send := func() {
		r := w.signed(w.statement(), w.d.UserKey, token)
		calls.Go(func() {
			if a := w.do(client, r); a.status != http.StatusAccepted {
				t.Errorf("refused: %s", a.body)
			}
		})
	}
	send()
	if n := <-m.committing; n != 1 {
		t.Fatalf("the lone one shares a commit of %d", n)
	}
	const many = 20
	for range many {
		send()
	}
	w.waitFor(func() bool { return proposer.Waiting(w.server) == many })
	close(m.hold)
	calls.Wait()
	if len(m.views) != many+1 || len(m.batches) != 2 {
		t.Fatalf("%d requests in %d commits", len(m.views), len(m.batches))
	}
	if n := <-m.committing; n != many {
		t.Fatalf("the second commit has %d", n)
	}
	for range 2 { // nobody commits any more: each is alone again
		send()
		if n := <-m.committing; n != 1 {
			t.Fatalf("a lone one shares a commit of %d", n)
		}
		calls.Wait()
	}
}

// panicsOnce is a queue whose first commit panics.
type panicsOnce struct {
	proposer.Queue
	once sync.Once
}

func (p *panicsOnce) Submit(ctx context.Context, batch []queue.Submission, to queue.Recipients) ([]queue.Outcome, error) {
	p.once.Do(func() { panic("lost") })
	return p.Queue.Submit(ctx, batch, to)
}

// TestPanicDoesNotStopCommits: a commit that panics is one caller's failure.
func TestPanicDoesNotStopCommits(t *testing.T) {
	b, _ := memoryBackend(t)
	b.queue = &panicsOnce{Queue: b.queue}
	w := start(t, b, nil)
	wantProblem(t, w.propose(w.statement()), proposer.CodeInternal)
	wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
}

// TestCallerGoesAway checks that a caller who leaves during a commit spoils
// nobody else's.
func TestCallerGoesAway(t *testing.T) {
	b, m := memoryBackend(t)
	m.hold, m.committing = make(chan struct{}), make(chan int, 100)
	w := start(t, b, nil)
	statement := w.statement()
	ctx, leave := context.WithCancel(context.Background())
	r := w.signed(statement, w.d.UserKey, w.token(deploymenttest.User, nil)).WithContext(ctx)
	gone := make(chan error, 1)
	go func() { _, err := w.client(false).Do(r); gone <- err }()
	<-m.committing
	leave()
	if <-gone == nil {
		t.Fatal("the caller did not leave")
	}
	close(m.hold)
	w.waitFor(func() bool { return m.has(statementID(t, statement)) })
	wantRequest(t, w.propose(statement), http.StatusAccepted)
}

// waitFor looks until a condition holds.
func (w *world) waitFor(condition func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it does not happen")
		}
	}
}
