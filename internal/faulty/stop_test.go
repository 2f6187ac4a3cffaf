package faulty_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// stopsWithin is how long a service may take to end after SIGTERM: answers and
// new connections are waited for, at most 5 s, and then it must be gone well
// before container engines kill it (docker stop: 10 s).
const stopsWithin = 8 * time.Second

// TestStoppedUnderLoad: SIGTERM ends one service after the other while transfers
// are under way: each ends soon, with exit code 0, and leaves no lease behind that
// others would have to wait for. All transfers are signed.
func TestStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 1
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		rounds = 5
	}
	w := newWorld(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	load := w.load(ctx)
	for _, service := range services {
		var slowest time.Duration
		leases := 0
		for range rounds {
			w.awaitResults(ctx, w.results()+20)
			took, left := w.terminate(ctx, service)
			slowest, leases = max(slowest, took), leases+left
		}
		page.stops.add(service, rounds, seconds(slowest), leases)
	}
	sent, signed := load()
	if signed != sent {
		t.Errorf("%d signed of %d", signed, sent)
	}
	page.load.add("SIGTERM to each service in its turn", sent, signed, 0, w.checkNothingLost())
}

// load sends transfers from many clients until the function that it returns is
// called, which says how many were sent and how many of them signed.
func (w *world) load(ctx context.Context) func() (sent, signed int64) {
	var out struct{ sent, signed atomic.Int64 }
	var running sync.WaitGroup
	done := make(chan struct{})
	run := transfer(recipient, "1")
	client := func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			out.sent.Add(1)
			r, err := run(ctx, w)
			switch {
			case err != nil:
				w.Error(err)
			case r.Status == message.StatusSigned:
				out.signed.Add(1)
			default:
				w.Errorf("a request ended as %s: %+v", r.Status, r.Result)
			}
		}
	}
	for range clients {
		running.Go(client)
	}
	return func() (int64, int64) {
		close(done)
		running.Wait()
		return out.sent.Load(), out.signed.Load()
	}
}

// terminate ends a service by SIGTERM, waits until the launcher has started it
// again, and returns how long the end took and how many tasks it left leased.
func (w *world) terminate(ctx context.Context, service string) (took time.Duration, leases int) {
	w.Helper()
	well := w.endedWell(service)
	pid, began := w.PIDs()[service], time.Now()
	if pid <= 1 {
		w.Fatalf("%s does not run", service)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		w.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil {
		if time.Since(began) > stopsWithin {
			w.Fatalf("%s is still there %v after SIGTERM", service, time.Since(began))
		}
		time.Sleep(2 * time.Millisecond)
	}
	took = time.Since(began)
	// It is started again after half a second. What is offered to it meanwhile is
	// held for 50 ms.
	if err := w.db.QueryRowContext(ctx, `SELECT count(*) FROM countersign.task
		WHERE consumer = $1 AND leased_until BETWEEN now() + interval '1 second' AND now() + interval '2 minutes'`, service).Scan(&leases); err != nil {
		w.Error(err)
	}
	if now := w.PIDs()[service]; now != 0 && now != pid {
		leases = 0 // the next one has begun already: they may be its own
	}
	if leases != 0 {
		w.Errorf("%s left %d tasks leased", service, leases)
	}
	w.awaitRestart(service, pid)
	for end := time.Now().Add(20 * time.Second); w.endedWell(service) == well && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // what the launcher prints comes through a pipe
	}
	if n := w.endedWell(service); n != well+1 {
		w.Errorf("%s did not end with exit code 0:\n%s", service, w.Output())
	}
	return took, leases
}

// endedWell counts what the launcher says of the ends of a service with exit
// code 0.
func (w *world) endedWell(service string) int {
	return strings.Count(w.Output(), fmt.Sprintf("msg=\"service ended, starting it again\" service=%s error=<nil>\n", service))
}
