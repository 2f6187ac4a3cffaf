package proposer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/queue"
)

// slowLists is a queue whose lists take until the test lets them go.
type slowLists struct {
	proposer.Queue
	entered chan string
	release chan struct{}
}

func (s *slowLists) List(ctx context.Context, f queue.Filter) ([]queue.View, error) {
	s.entered <- f.Owner
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Queue.List(ctx, f)
}

// TestAttackListsFillMemory: a page can have a hundred statements of 128 KiB.
// One user who asks for it a thousand times at once neither fills the memory
// nor keeps others from their lists.
func TestAttackListsFillMemory(t *testing.T) {
	b, _ := memoryBackend(t)
	lists := &slowLists{Queue: b.queue, entered: make(chan string, 100), release: make(chan struct{})}
	b.queue = lists
	w := start(t, b, nil)
	client := w.client(true)
	done := make(chan int, 100)
	list := func(user string) {
		r := w.request(http.MethodGet, "/v1/requests?limit=100", nil, w.token(user, nil))
		go func() {
			response, err := client.Do(r)
			if err != nil {
				done <- 0
				return
			}
			done <- response.StatusCode
			_ = response.Body.Close()
		}()
	}
	for range 50 {
		list(deploymenttest.User)
	}
	for range 2 {
		<-lists.entered
	}
	list(mallory)
	if next := <-lists.entered; next != mallory {
		t.Fatalf("a third list of %s is being read", next)
	}
	close(lists.release)
	for range 51 {
		if status := <-done; status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
}

// showAtEnd shows a request as a user, and waits for its end.
func (w *world) showAtEnd(id, user string) <-chan answer {
	w.t.Helper()
	done := make(chan answer, 1)
	r := w.request(http.MethodGet, "/v1/requests/"+id, nil, w.token(user, nil), "Prefer", "wait=60")
	go func() { done <- w.do(w.client(false), r) }()
	return done
}

// TestAttackOneUserTakesAllWaits: one user who waits in every call that may be
// made does not have others answered without waiting.
func TestAttackOneUserTakesAllWaits(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(cfg *proposer.Config) { cfg.Limits.UserWaiters, cfg.Limits.Waiters = 3, 4 })
	alices := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	theirs := w.signed(w.statement(), w.d.UserKey, w.token(mallory, nil))
	mallorys := wantRequest(t, w.do(w.client(false), theirs), http.StatusAccepted).ID
	flood := make(chan answer, 5)
	for range 5 {
		waiting := w.showAtEnd(mallorys, mallory)
		go func() { flood <- <-waiting }()
	}
	for range 2 {
		a := <-flood
		if wantRequest(t, a, http.StatusOK).Ended() || a.header.Get("Preference-Applied") != "" {
			t.Fatalf("more calls of one user wait than may: %s", a.body)
		}
	}
	w.waitFor(func() bool { return proposer.Waits(w.server) == 3 })
	alice := w.showAtEnd(alices, deploymenttest.User)
	w.waitFor(func() bool { return proposer.Waits(w.server) == 4 })
	w.end(m, alices, nil)
	if a := <-alice; !wantRequest(t, a, http.StatusOK).Ended() || a.header.Get("Preference-Applied") == "" {
		t.Fatalf("another user was not let wait: %s", a.body)
	}
	w.end(m, mallorys, nil)
	for range 3 {
		if a := <-flood; !wantRequest(t, a, http.StatusOK).Ended() {
			t.Fatalf("a wait that was begun was broken off: %s", a.body)
		}
	}
}

// livePing is a database that answers callers who are still there.
type livePing struct{}

func (livePing) PingContext(ctx context.Context) error { return ctx.Err() }

// TestAttackReadinessSpoiled: anybody may ask whether the service is ready. A
// call that is broken off must not be what the next caller, a load balancer,
// is told.
func TestAttackReadinessSpoiled(t *testing.T) {
	b, _ := memoryBackend(t)
	b.db = livePing{}
	w := start(t, b, nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/readyz", nil)
	w.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if a := w.get("/readyz", ""); a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
}
