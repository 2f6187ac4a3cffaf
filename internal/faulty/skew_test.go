package faulty_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// TestSkewThatIsAllowed: one service's clock is 30 s ahead of all others', or
// behind them, from its start. Everything is signed. With each service in its
// turn this is every pair, in both directions.
func TestSkewThatIsAllowed(t *testing.T) {
	t.Parallel()
	requests := 50
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		requests = 500
	}
	w, c := newClockWorld(t, 0)
	for _, service := range services {
		for _, by := range []time.Duration{30 * time.Second, -30 * time.Second} {
			c.set(t, by, service)
			w.restart(service)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			signed, rejected := w.transfers(ctx, requests, "1")
			cancel()
			if signed != int64(requests) || rejected != 0 {
				t.Errorf("%s by %v: %d signed and %d rejected of %d", service, by, signed, rejected, requests)
			}
			page.clocks.add(service, fmt.Sprintf("is off by %+.0f s from its start", by.Seconds()), requests, signed, rejected, signed, "")
			c.set(t, 0, service)
			w.restart(service)
		}
	}
	w.checkNothingLost()
}

// TestSkewThatIsNotAllowed: one service's clock is off by 90 s from its start.
// Until that is repaired nothing is signed that needs two clocks to agree, and
// whoever is asked says why; then all is signed, without hands.
func TestSkewThatIsNotAllowed(t *testing.T) {
	off := []skew{{message.RoleFraud, -90 * time.Second}, {message.RoleSigning, 90 * time.Second}}
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		off = nil
		for _, service := range services {
			off = append(off, skew{service, 90 * time.Second}, skew{service, -90 * time.Second})
		}
	}
	for _, s := range off {
		t.Run(fmt.Sprintf("%s %+.0f s", s.service, s.by.Seconds()), func(t *testing.T) {
			t.Parallel()
			w, c := newClockWorld(t, 0)
			w.apart(c, s)
		})
	}
}

// skew is a service whose clock is off.
type skew struct {
	service string
	by      time.Duration
}

// signs reports whether requests are signed all the same: nobody believes the
// proposer's clock. One that is behind refuses what users sign.
func (s skew) signs() bool { return s.service == "proposer" && s.by > 0 }

// apart has a service's clock be off while transfers are asked for, and then be
// repaired.
func (w *world) apart(c clocks, s skew) {
	w.Helper()
	const requests = 40
	w.lifetime = validThroughJumps
	ctx, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	c.set(w.T, s.by, s.service)
	w.restart(s.service)
	before := w.results()
	var meanwhile int
	var again string
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(2 * wrongFor())
		if s.signs() {
			soon, cancel := context.WithTimeout(ctx, endWithin)
			w.awaitResults(soon, before+requests)
			cancel()
		}
		meanwhile = w.results() - before
		if !s.signs() && s.service != "proposer" {
			w.awaitComplaint(ctx)
		}
		c.set(w.T, 0, s.service)
		again = w.awaitMore(ctx, before+requests)
	}()
	signed, rejected := w.transfers(ctx, requests, "1")
	<-done
	if want := map[bool]int{true: requests}[s.signs()]; meanwhile != want {
		w.Errorf("%d requests ended while the clock was wrong, want %d", meanwhile, want)
	}
	if signed != requests || rejected != 0 {
		w.Errorf("%d signed and %d rejected of %d", signed, rejected, requests)
	}
	w.checkNothingLost()
	page.clocks.add(s.service, fmt.Sprintf("is off by %+.0f s from its start, then right", s.by.Seconds()), requests, signed, rejected, meanwhile, again)
}

// awaitComplaint waits until somebody says why nothing is signed.
func (w *world) awaitComplaint(ctx context.Context) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); len(w.complaints(ctx)) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			w.Error("nobody says why nothing is signed")
			return
		}
	}
}

// complaints are the services that are not ready and the notes on requests that
// wait.
func (w *world) complaints(ctx context.Context) (out []string) {
	w.Helper()
	for _, service := range services {
		if status, body := w.readiness(ctx, service); status != http.StatusOK {
			out = append(out, service+": "+body)
		}
	}
	var note string
	err := w.db.QueryRowContext(ctx, "SELECT coalesce(string_agg(DISTINCT note, '; '), '') FROM countersign.task WHERE state < 2").Scan(&note)
	if err != nil {
		w.Error(err)
	}
	if note != "" {
		out = append(out, note)
	}
	return out
}

var healthAddress = regexp.MustCompile(`(?m)^health: *(\S+)$`)

// readiness asks a service whether it is ready.
func (w *world) readiness(ctx context.Context, service string) (status int, body string) {
	w.Helper()
	config, err := os.ReadFile(filepath.Join(w.Dir, "config", service+".yaml"))
	if err != nil {
		w.Fatal(err)
	}
	found := healthAddress.FindSubmatch(config)
	if found == nil {
		w.Fatalf("the configuration of %s names no health address", service)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(found[1])+"/readyz", nil)
	if err != nil {
		w.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(b)
}
