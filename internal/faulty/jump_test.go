package faulty_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// validThroughJumps is how long statements of these tests are valid: whatever a
// clock says, none has expired.
const validThroughJumps = 6 * time.Hour

// TestClockJumpsUnderLoad: the wall clock of one service, or of all, jumps by an
// hour while transfers are under way, and later back. All are signed in the
// end, without hands.
func TestClockJumpsUnderLoad(t *testing.T) {
	jumping := [][]string{services[2:3], services[4:5], services}
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		jumping = nil
		for i := range services {
			jumping = append(jumping, services[i:i+1])
		}
		jumping = append(jumping, services)
	}
	for _, these := range jumping {
		t.Run(nameOf(these), func(t *testing.T) {
			t.Parallel()
			w, c := newClockWorld(t, 0)
			w.lifetime = validThroughJumps
			for _, by := range []time.Duration{time.Hour, -time.Hour} {
				w.jump(c, by, these)
			}
		})
	}
}

// nameOf names the services whose clock is wrong.
func nameOf(these []string) string {
	if len(these) == len(services) {
		return "all services"
	}
	return strings.Join(these, ", ")
}

// wrongFor is how long a clock stays wrong.
func wrongFor() time.Duration {
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		return 15 * time.Second
	}
	return 3 * time.Second
}

// jump has clocks jump while transfers are under way, and back again.
func (w *world) jump(c clocks, by time.Duration, these []string) {
	w.Helper()
	requests, before := loadRequests()/2, w.results()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	var meanwhile int
	var again string
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.awaitResults(ctx, before+requests/10)
		at := w.results()
		c.set(w.T, by, these...)
		time.Sleep(wrongFor())
		meanwhile = w.results() - at
		c.set(w.T, 0, these...)
		again = w.awaitMore(ctx, before+requests)
	}()
	signed, rejected := w.transfers(ctx, requests, "1")
	<-done
	if signed != int64(requests) || rejected != 0 {
		w.Errorf("%+v: %d signed and %d rejected of %d", by, signed, rejected, requests)
	}
	w.checkNothingLost()
	page.clocks.add(nameOf(these), fmt.Sprintf("jumps by %+.0f s and back", by.Seconds()), requests, signed, rejected, meanwhile, again)
}

// awaitMore waits until another request has ended, unless all of them have, and
// returns how long that took.
func (w *world) awaitMore(ctx context.Context, all int) string {
	began, n := time.Now(), w.results()
	if n >= all {
		return ""
	}
	w.awaitResults(ctx, n+1)
	return seconds(time.Since(began))
}

// results counts the requests that have ended.
func (w *world) results() (n int) {
	w.Helper()
	if err := w.db.QueryRow("SELECT count(*) FROM countersign.result").Scan(&n); err != nil {
		w.Error(err)
	}
	return n
}

// TestAttackVelocityClockJump: a wallet has moved what it may in 24 hours. Then
// the wall clock jumps by more than a day: fraud's alone, or that of all services
// that decide, so that they believe each other. Nothing more is signed, neither
// then nor after the clock has come back, nor when fraud was started again
// meanwhile.
func TestAttackVelocityClockJump(t *testing.T) {
	t.Parallel()
	w, c := newClockWorld(t, 0)
	w.lifetime = 3 * 24 * time.Hour
	const more = 20
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	filled := int(spendable()) + more
	signed, _ := w.transfers(ctx, filled, fmt.Sprint(transferValue))
	if signed != spendable() {
		t.Fatalf("%d signed, the limit allows %d", signed, spendable())
	}
	for _, wrong := range []struct {
		these []string
		by    time.Duration
		again bool
	}{
		{services[2:3], 25 * time.Hour, false},
		{services[2:3], 25 * time.Hour, true},
		{services[1:], time.Hour, false},
		{services[1:], 25 * time.Hour, false},
		{services[1:], -25 * time.Hour, false},
	} {
		name := fmt.Sprintf("jumps by %+.0f s and back, the limit being used up", wrong.by.Seconds())
		c.set(t, wrong.by, wrong.these...)
		if wrong.again {
			name += "; started again meanwhile"
			w.restart(message.RoleFraud)
		}
		right := make(chan struct{})
		before, meanwhile := w.results(), 0
		go func() {
			defer close(right)
			time.Sleep(wrongFor())
			meanwhile = w.results() - before
			c.set(t, 0, wrong.these...)
		}()
		s, r := w.transfers(ctx, more, fmt.Sprint(transferValue))
		<-right
		later, _ := w.transfers(ctx, more, fmt.Sprint(transferValue))
		if s+later != 0 || r != more {
			t.Errorf("%s, %s: %d signed, %d rejected of %d; %d signed later", nameOf(wrong.these), name, s, r, more, later)
		}
		page.clocks.add(nameOf(wrong.these), name, 2*more, s+later, 2*more-s-later, meanwhile, "")
	}
	w.checkNothingLost()
}

// restart has a service end as kill -9 does and waits until the launcher has
// started it again.
func (w *world) restart(service string) {
	w.Helper()
	old := w.PIDs()[service]
	w.stop(service)
	w.awaitRestart(service, old)
}

// awaitRestart waits until a service runs under another process id.
func (w *world) awaitRestart(service string, old int) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if pid := w.PIDs()[service]; pid > 0 && pid != old {
			return
		}
	}
	w.Errorf("%s was not started again", service)
}
