package ledger_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
)

// TestRetentionAgainstModel: however long events are kept, whatever is undone and
// how the clocks are set, for each window that the ledger says is complete its
// answers are those of the whole past; and where one is not, they are once all
// records were read again.
func TestRetentionAgainstModel(t *testing.T) {
	for seed, most := range []time.Duration{time.Hour, time.Hour, 12 * time.Hour} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newComparison(t, uint64(seed))
			c.jump = max(c.jump, 6*most)
			read := 0
			for i := range 2000 {
				c.pass(c.seconds(most))
				c.happen()
				e := randomEvent(c.random, i)
				e.Expires = c.wall.Add(300 * most)
				if i%50 == 0 {
					wanted := windows[c.random.IntN(len(windows))]
					c.ledger.Retain(wanted)
					if !c.ledger.Complete(wanted) && !c.model.marked {
						c.reread(wanted)
						read++
					}
					c.compareWithin(e, c.complete())
				}
				c.approve(e)
			}
			if read == 0 {
				t.Error("nothing was ever forgotten")
			}
		})
	}
}

// complete are the windows that the ledger can answer for.
func (c *comparison) complete() (out []time.Duration) {
	for _, w := range windows {
		if c.ledger.Complete(w) {
			out = append(out, w)
		}
	}
	return out
}

// reread begins a new ledger under a retention and replays all records to it.
func (c *comparison) reread(window time.Duration) {
	c.t.Helper()
	c.ledger = ledger.New(c.clock)
	c.ledger.Retain(window)
	for _, body := range c.records {
		if err := c.ledger.Replay(body); err != nil {
			c.t.Fatal(err)
		}
	}
	for i := range c.model.events {
		c.model.events[i].heard = c.elapsed
	}
	if !c.ledger.Complete(window) {
		c.t.Fatalf("all records were read again, and %s is not complete", window)
	}
}

// sumOf is what counts of a wallet's transfers within a window.
func sumOf(l *ledger.Ledger, m *machine, window time.Duration) *big.Int {
	return l.View(ledger.Event{}, m.read()).Sum(ledger.ScopeWallet, "w", "eth", window)
}

// hourly are records of so many transfers of 1, one each hour, the last just now.
func hourly(t *testing.T, m *machine, count int) (bodies [][]byte) {
	t.Helper()
	writer := ledger.New(nil)
	for i := range count {
		e := new(chain).request(1)
		e.Envelope = message.Sum(fmt.Append(nil, "hourly", i))
		body, err := writer.Record(e, clock.Moment{Late: m.wall.Add(-time.Duration(count-1-i) * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func replayAll(t *testing.T, l *ledger.Ledger, bodies [][]byte) {
	t.Helper()
	for _, body := range bodies {
		if err := l.Replay(body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetain: what is kept is what was asked for, a day at least, and what is gone
// is known to be.
func TestRetain(t *testing.T) {
	const week = 7 * day
	for _, c := range []struct {
		name            string
		retain          time.Duration
		complete, lacks time.Duration // 0: lacks none
	}{
		{"none", 0, day, 2 * week},
		{"an-hour", time.Hour, day, 2 * week},
		{"a-week", week, week, 2 * week},
		{"31-days", ledger.Lookback, ledger.Lookback, 75 * day},
		{"32-days", 32 * day, 32 * day, 75 * day},
		{"a-year", year, year, 0},
		{"longest", ledger.Longest, ledger.Longest, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine()
			l := ledger.New(m.watch())
			l.Retain(c.retain)
			replayAll(t, l, hourly(t, m, 9000)) // three chunks and more go
			if !l.Complete(c.complete) || sumOf(l, m, c.complete).Cmp(big.NewInt(min(9000, int64(c.complete/time.Hour)))) != 0 {
				t.Errorf("%s: complete %v, %v counted", c.complete, l.Complete(c.complete), sumOf(l, m, c.complete))
			}
			if c.lacks > 0 && l.Complete(c.lacks) {
				t.Errorf("%s is said to be complete, with %v", c.lacks, sumOf(l, m, c.lacks))
			}
		})
	}
}

// TestRetainLongerGrowsComplete: what is gone stays gone, and a longer window is
// complete again once it has passed.
func TestRetainLongerGrowsComplete(t *testing.T) {
	m := newMachine()
	bodies := hourly(t, m, 6000)
	l := ledger.New(m.watch())
	l.Retain(day)
	replayAll(t, l, bodies[:5999])
	l.Retain(14 * day)
	if l.Complete(14 * day) {
		t.Fatal("what is gone is said to be there")
	}
	replayAll(t, l, bodies[5999:])
	m.pass(14 * day)
	late, err := l.Record(new(chain).request(1), m.read())
	if err != nil {
		t.Fatal(err)
	}
	replayAll(t, l, [][]byte{late})
	if !l.Complete(14*day) || sumOf(l, m, 14*day).Cmp(big.NewInt(1)) != 0 {
		t.Fatalf("after 14 days: complete %v, %v counted", l.Complete(14*day), sumOf(l, m, 14*day))
	}
}

// TestNothingIsForgottenWhileMarked: what is replayed on trial has nothing go, and
// taking it back leaves all there was, under a shorter retention too.
func TestNothingIsForgottenWhileMarked(t *testing.T) {
	m := newMachine()
	bodies := hourly(t, m, 12000)
	l := ledger.New(m.watch())
	replayAll(t, l, bodies[:600])
	m.set(m.wall.Add(-11400 * time.Hour))
	before := sumOf(l, m, ledger.Lookback)
	for range 2 {
		l.Mark()
		l.Retain(day)
		m.pass(11400 * time.Hour)
		replayAll(t, l, bodies[600:])
		l.Undo()
		m.elapsed -= 11400 * time.Hour
		m.set(m.wall.Add(-11400 * time.Hour))
	}
	if got := sumOf(l, m, ledger.Lookback); got.Cmp(before) != 0 || !l.Complete(ledger.Lookback) {
		t.Fatalf("%v counted, %v before; complete: %v", got, before, l.Complete(ledger.Lookback))
	}
}

// TestCompleteAfterClockIsSetBack: what was dropped by a clock that was wrong, as
// was the one that wrote the newest record, is missed when it is put right.
func TestCompleteAfterClockIsSetBack(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	l.Retain(day)
	bodies := hourly(t, m, 5000)
	replayAll(t, l, bodies)
	if !l.Complete(day) {
		t.Fatal("not complete")
	}
	m.set(m.wall.Add(-5 * time.Minute))
	if !l.Complete(day) {
		t.Fatal("five minutes back: not complete")
	}
	m.set(m.wall.Add(-100 * day))
	if l.Complete(day) {
		t.Fatal("what was dropped counts again, and is said to be there")
	}
	again := ledger.New(m.clock)
	again.Retain(day)
	replayAll(t, again, bodies)
	if !again.Complete(day) {
		t.Fatal("all was read again: not complete")
	}
}

// TestTooOldWhenItComes: what another replica recorded long ago, and is not taken
// in, is missed; but not once it is taken back.
func TestTooOldWhenItComes(t *testing.T) {
	m := newMachine()
	bodies := hourly(t, m, 100)
	l := ledger.New(m.watch())
	l.Retain(day)
	replayAll(t, l, bodies[99:])
	l.Mark()
	replayAll(t, l, bodies[:1])
	if l.Complete(7*day) || !l.Complete(day) {
		t.Fatalf("while marked: a week complete: %v, a day: %v", l.Complete(7*day), l.Complete(day))
	}
	l.Undo()
	if !l.Complete(7 * day) {
		t.Fatal("taken back, it is still missed")
	}
}

// TestEnvelopeOutlivesItsEvent: a request that may still be approved again is not
// its own past, also where its event is over.
func TestEnvelopeOutlivesItsEvent(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	l.Retain(day)
	e := transfer(1)
	e.Expires = start.Add(20 * day)
	body, err := l.Record(e, m.read())
	if err != nil {
		t.Fatal(err)
	}
	replayAll(t, l, [][]byte{body})
	m.pass(10 * day)
	replayAll(t, l, hourly(t, m, 9000))
	if l.Complete(14*day) || !l.View(e, m.read()).FirstUse(e.Moves[0].Account) {
		t.Fatalf("dropped: %v; the request's destination is known by itself", !l.Complete(14*day))
	}
	if l.View(transfer(2), m.read()).FirstUse(e.Moves[0].Account) {
		t.Fatal("another request's destination is not known")
	}
}
