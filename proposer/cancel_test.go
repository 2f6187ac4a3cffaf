package proposer_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
)

// cancel calls the API; what the signing service would do is the test's.
func (w *world) cancel(id, user string, header ...string) answer {
	w.t.Helper()
	return w.do(w.client(false), w.request(http.MethodPost, "/v1/requests/"+id+"/cancel", nil, w.token(user, nil), header...))
}

func (m *memory) cancellations() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cancelled)
}

func TestCancel(t *testing.T) {
	ending := func(status message.Status) func(*message.Result) {
		return func(r *message.Result) { r.Status, r.Output = status, nil }
	}
	for name, c := range map[string]struct {
		end  func(*message.Result) // nil: it stays open
		code proposer.Code
		http int
	}{
		"cancelled": {end: ending(message.StatusCancelled), http: http.StatusOK},
		"open":      {http: http.StatusAccepted},
		"done":      {end: func(*message.Result) {}, code: proposer.CodeTooLate},
		"rejected":  {end: ending(message.StatusRejected), code: proposer.CodeTooLate},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, func(cfg *proposer.Config) { cfg.Limits.Wait = time.Second })
			statement := w.statement()
			id := wantRequest(t, w.propose(statement), http.StatusAccepted).ID
			if c.end != nil {
				w.end(m, id, c.end)
			}
			a := w.cancel(id, deploymenttest.User)
			if c.code != "" {
				wantProblem(t, a, c.code)
				return
			}
			if r := wantRequest(t, a, c.http); r.Ended() != (c.end != nil) {
				t.Fatalf("answered %+v", r)
			}
			if c.end == nil && m.cancellations() != 1 {
				t.Errorf("the queue was told %d times", m.cancellations())
			}
		})
	}
}

// TestCancelAfterTheIntent: once an intent to sign stands nobody is kept waiting
// for a cancellation that cannot come.
func TestCancelAfterTheIntent(t *testing.T) {
	b, m := memoryBackend(t)
	m.intended = true
	w := start(t, b, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	began := time.Now()
	wantProblem(t, w.cancel(id, deploymenttest.User, "Prefer", "wait=50"), proposer.CodeTooLate)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("answered after %v", took)
	}
}

// TestAttackWaitsHoldUpCancel: however many wait for results, who cancels is
// told what came of it.
func TestAttackWaitsHoldUpCancel(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(cfg *proposer.Config) { cfg.Limits.UserWaiters, cfg.Limits.Waiters = 1, 1 })
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	waiting := w.showAtEnd(id, deploymenttest.User)
	w.waitFor(func() bool { return proposer.Waits(w.server) == 1 })
	cancelled := make(chan answer, 1)
	r := w.request(http.MethodPost, "/v1/requests/"+id+"/cancel", nil, w.token(deploymenttest.User, nil))
	go func() { cancelled <- w.do(w.client(false), r) }()
	w.waitFor(func() bool { return proposer.Cancels(w.server) == 1 })
	w.end(m, id, func(r *message.Result) { r.Status, r.Output = message.StatusCancelled, nil })
	wantRequest(t, <-cancelled, http.StatusOK)
	wantRequest(t, <-waiting, http.StatusOK)
}

func TestCancelIsForTheOwnerAlone(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	wantProblem(t, w.cancel(id, mallory), proposer.CodeNotFound)
	wantProblem(t, w.cancel("01890a5d-ac96-774b-bcce-b302099a8057", deploymenttest.User), proposer.CodeNotFound)
	wantProblem(t, w.cancel("x", deploymenttest.User), proposer.CodeNotFound)
	r := w.request(http.MethodPost, "/v1/requests/"+id+"/cancel", []byte("{}"), w.token(deploymenttest.User, nil))
	wantProblem(t, w.do(w.client(false), r), proposer.CodeMalformedRequest)
	if m.cancellations() != 0 {
		t.Fatal("the queue was told of a call that was refused")
	}
	m.breakDown(errors.New("database is away"))
	wantProblem(t, w.cancel(id, deploymenttest.User), proposer.CodeUnavailable)
}
