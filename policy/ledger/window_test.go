package ledger_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
)

// TestLongestWindow: what was approved counts as long as a clock can tell, also of
// a replica that starts later, one whose clock is set, and after what is over was
// forgotten again and again.
func TestLongestWindow(t *testing.T) {
	const centuries = 230 * year
	c := new(chain)
	r := c.replica(t, ledger.Longest, 0, 0)
	r.want(true, 60)
	r.at(time.Minute, -50*year).want(false, 41)
	r.at(time.Hour, 100*year).want(false, 41)
	for n := range 9000 {
		e := c.request(0)
		e.Wallet = "other"
		r.at(time.Duration(n)*24*time.Hour, 0).approves(e)
	}
	later := c.replica(t, ledger.Longest, 100*year, 0)
	for _, one := range []*replica{r, later, c.replica(t, ledger.Longest, 30*year, centuries-30*year)} {
		one.at(centuries, 0).want(false, 41)
	}
	r.want(true, 40)
	later.want(false, 1)
	if r.reread+later.reread > 0 {
		t.Error("something was forgotten")
	}
}

// TestWindowsInWholeSeconds: a window that is no number of whole seconds is not
// shortened, the longest is no less than those below it, and none that is not
// above 0 counts anything.
func TestWindowsInWholeSeconds(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	replayAll(t, l, [][]byte{record(t, transfer(1), start)})
	for _, c := range []struct {
		window, age time.Duration
		want        int
	}{
		{time.Nanosecond, 0, 1},
		{time.Second, 0, 1},
		{time.Second, time.Second, 0},
		{time.Second + time.Nanosecond, time.Second, 1},
		{ledger.Longest, year, 1},
		{ledger.Longest - time.Nanosecond, year, 1},
		{ledger.Longest.Truncate(time.Second), year, 1},
		{year, year - time.Second, 1},
		{year, year, 0},
		{0, 0, 0},
		{-time.Nanosecond, 0, 0},
		{-ledger.Longest - 1, 0, 0},
	} {
		m.pass(c.age - m.elapsed)
		e := transfer(2)
		v := l.View(e, m.read())
		if got := v.Count(ledger.ScopeUser, e.User, "", c.window); got != c.want {
			t.Errorf("%d within %d ns after %s", got, c.window, c.age)
		}
		if !l.Complete(c.window) {
			t.Errorf("%d ns are not complete", c.window)
		}
	}
}

// TestNoSecondIsLost: an approval in the middle of a second counts for its whole
// window and for less than a second more, also where it is taken back first, and in
// a process that starts later.
func TestNoSecondIsLost(t *testing.T) {
	for _, into := range []time.Duration{0, 1, 101 * time.Millisecond, 900 * time.Millisecond, time.Second - 1} {
		for _, window := range []time.Duration{time.Second, day} {
			m := newMachine()
			l := ledger.New(m.watch())
			m.pass(into)
			body, err := l.Record(transfer(1), m.read())
			if err != nil {
				t.Fatal(err)
			}
			l.Mark()
			replayAll(t, l, [][]byte{body})
			l.Undo()
			replayAll(t, l, [][]byte{body})
			for _, c := range []struct {
				age  time.Duration
				want int
			}{{0, 1}, {window - 1, 1}, {window + time.Second - 1, 0}} {
				m.pass(into + c.age - m.elapsed)
				later := newMachine()
				later.pass(m.elapsed)
				reader := ledger.New(later.watch())
				replayAll(t, reader, [][]byte{body})
				for _, fold := range []*ledger.Ledger{l, reader} {
					e := transfer(2)
					if got := fold.View(e, m.read()).Count(ledger.ScopeUser, e.User, "", window); got != c.want {
						t.Errorf("approved %s into a second, after %s of %s: %d", into, c.age, window, got)
					}
				}
			}
		}
	}
}

// TestDatesDoNotGoBack: of two approvals within a second the later one is dated no
// earlier, whichever process makes it, and takes the place of the earlier one.
func TestDatesDoNotGoBack(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	var before time.Duration
	for _, into := range []time.Duration{900 * time.Millisecond, 950 * time.Millisecond, time.Second, 1001 * time.Millisecond} {
		m.pass(into - m.elapsed)
		body, err := l.Record(transfer(1), m.read())
		if err != nil {
			t.Fatal(err)
		}
		replayAll(t, l, [][]byte{body})
		at := timeOf(t, body).Sub(start)
		if at < before || at < into || at >= into+time.Second {
			t.Errorf("approved %s after the start, dated %s, after one dated %s", into, at, before)
		}
		before = at
		e := transfer(2)
		if got := l.View(e, m.read()).Count(ledger.ScopeUser, e.User, "", day); got != 1 {
			t.Errorf("one request approved again counts %d times", got)
		}
	}
}

// TestApprovedAgainWithinALongWindow: a request that stays open for months counts
// once, at its latest approval, however much went by meanwhile, and is no part
// of its own past.
func TestApprovedAgainWithinALongWindow(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	l.Retain(year)
	e := new(chain).request(7)
	e.Envelope = message.Sum([]byte("again"))
	approve := func() {
		t.Helper()
		body, err := l.Record(e, m.read())
		if err != nil {
			t.Fatal(err)
		}
		replayAll(t, l, [][]byte{body})
	}
	approve()
	m.pass(100 * day)
	others(t, l, m)
	if got := l.View(e, m.read()).Count(ledger.ScopeWallet, "w", "", year); got != 0 {
		t.Fatalf("it is %d times in its own past", got)
	}
	approve()
	if got := sumOf(l, m, year); got.Cmp(big.NewInt(7)) != 0 {
		t.Fatalf("%v after it was approved twice", got)
	}
}

// others has so much of another wallet approved now that a sweep comes.
func others(t *testing.T, l *ledger.Ledger, m *machine) {
	t.Helper()
	for n := range 5000 {
		other := transfer(n)
		other.Envelope, other.Wallet = message.Sum(fmt.Append(nil, "other", n, m.elapsed)), "other"
		replayAll(t, l, [][]byte{record(t, other, m.wall)})
	}
}

// TestAttackRequestsThatNeverExpire: their envelopes are forgotten some time after
// their events, so that nobody fills memory with them.
func TestAttackRequestsThatNeverExpire(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	l.Retain(day)
	e := transfer(9000)
	e.Expires = start.Add(200 * year)
	replayAll(t, l, [][]byte{record(t, e, m.wall)})
	for _, known := range []bool{true, true, true, false} { // what is known is not its own past
		m.pass(20 * day)
		others(t, l, m)
		if got := l.View(e, m.read()).FirstUse(e.Moves[0].Account); got != known {
			t.Errorf("after %s the envelope is known: %v", m.elapsed, got)
		}
	}
}

// TestAfter2106: what was approved by a clock that is later than 32 bits of
// seconds counts for its window, no less.
func TestAfter2106(t *testing.T) {
	c := new(chain)
	r := c.replica(t, day, 0, 100*year)
	r.want(true, 100)
	r.at(day-time.Second, 100*year).want(false, 1)
	r.at(day, 100*year).want(true, 1)
	c.replica(t, day, day, 100*year).want(false, 100)
}
