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
