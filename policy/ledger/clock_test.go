package ledger_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// chain is a role's records as all replicas see them.
type chain struct {
	mu      sync.Mutex
	records [][]byte
	events  int
}

// replica is one process of the role that approves up to 100 of an asset per
// wallet within a window.
type replica struct {
	*machine
	t      *testing.T
	chain  *chain
	ledger *ledger.Ledger
	folded int
	undone int
	reread int
	window time.Duration
}

// replica starts a process after so much time has passed, with a wall clock that
// is off.
func (c *chain) replica(t *testing.T, window, elapsed, off time.Duration) *replica {
	r := &replica{machine: newMachine(), t: t, chain: c, window: window}
	r.at(elapsed, off)
	r.ledger = ledger.New(r.watch())
	r.catchUp()
	return r
}

// at sets the clocks: how much time has passed, and how far off the wall clock is.
func (r *replica) at(elapsed, off time.Duration) *replica {
	r.elapsed, r.wall = elapsed, start.Add(elapsed+off)
	return r
}

func (c *chain) request(amount int64) ledger.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events++
	return ledger.Event{
		Envelope: message.Sum(fmt.Append(nil, c.events)), Kind: message.KindEthereumTransaction, User: "u", Wallet: "w",
		Expires: start.Add(365 * day), Amounts: []exposure.Amount{{Asset: "eth", Amount: big.NewInt(amount)}},
	}
}

func (r *replica) catchUp() {
	r.chain.mu.Lock()
	defer r.chain.mu.Unlock()
	for ; r.folded < len(r.chain.records); r.folded++ {
		r.replay(r.chain.records[r.folded])
	}
}

func (r *replica) replay(body []byte) {
	r.t.Helper()
	if err := r.ledger.Replay(body); err != nil {
		r.t.Error(err)
	}
}

// append appends a record if no other replica has been first.
func (r *replica) append(body []byte) bool {
	r.chain.mu.Lock()
	defer r.chain.mu.Unlock()
	if r.folded != len(r.chain.records) {
		return false
	}
	r.chain.records = append(r.chain.records, body)
	r.folded++
	return true
}

// approves does what the runtime does: decide and fold, append, and else take
// back, catch up and begin again.
func (r *replica) approves(e ledger.Event) bool {
	r.t.Helper()
	r.recollect()
	for {
		r.ledger.Mark()
		earlier := r.ledger.View(e, r.read()).Sum(ledger.ScopeWallet, "w", "eth", r.window)
		var body []byte
		if earlier.Add(earlier, e.Amounts[0].Amount).Cmp(big.NewInt(100)) <= 0 {
			var err error
			if body, err = r.ledger.Record(e, r.read()); err != nil {
				r.t.Fatal(err)
			}
			r.replay(body)
		}
		if r.chain.settled(r) && body == nil || body != nil && r.append(body) {
			r.ledger.Keep()
			return body != nil
		}
		r.ledger.Undo()
		r.undone++
		r.catchUp()
	}
}

// recollect has all that is older than the window go as soon as may be, and reads
// all records again where one has gone that counts.
func (r *replica) recollect() {
	r.ledger.Retain(ledger.Longest)
	r.ledger.Retain(r.window) // shorter, so that the next record sweeps
	if r.ledger.Complete(r.window) {
		return
	}
	r.ledger, r.folded, r.reread = ledger.New(r.clock), 0, r.reread+1
	r.ledger.Retain(r.window)
	r.catchUp()
}

func (c *chain) settled(r *replica) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.folded == len(c.records)
}

func (r *replica) want(approved bool, amount int64) {
	r.t.Helper()
	if r.approves(r.chain.request(amount)) != approved {
		r.t.Fatalf("%d more: got %v, want %v", amount, !approved, approved)
	}
}

// eachWindow runs a test with windows of several lengths.
func eachWindow(t *testing.T, test func(t *testing.T, window time.Duration)) {
	for _, window := range []time.Duration{time.Hour, day, 32 * day, year} {
		t.Run(window.String(), func(t *testing.T) { test(t, window) })
	}
}

// TestVelocityWindowExactToTheSecond: a window less a second counts, a window
// does not.
func TestVelocityWindowExactToTheSecond(t *testing.T) {
	eachWindow(t, func(t *testing.T, window time.Duration) {
		r := new(chain).replica(t, window, 0, 0)
		r.want(true, 100)
		r.at(window-time.Nanosecond, 0).want(false, 1)
		r.at(window, 0).want(true, 100)
	})
}

// TestAttackVelocityClockSetBack: neither hides what was approved nor lets what
// is approved meanwhile age sooner, in a process that starts later either.
func TestAttackVelocityClockSetBack(t *testing.T) {
	eachWindow(t, func(t *testing.T, window time.Duration) {
		c := new(chain)
		r := c.replica(t, window, 0, 0)
		r.want(true, 60)
		r.at(0, -2*window).want(false, 41)
		r.want(true, 40)
		for _, one := range []*replica{r, c.replica(t, window, time.Second, 0)} {
			one.at(window-time.Second, 0).want(false, 1)
		}
		c.replica(t, window, window, 0).want(true, 100)
	})
}

// TestAttackVelocityClockSetForward: a wall clock that jumps ahead frees
// nothing, neither then nor when it is back, nor what was approved meanwhile.
func TestAttackVelocityClockSetForward(t *testing.T) {
	eachWindow(t, func(t *testing.T, window time.Duration) {
		r := new(chain).replica(t, window, 0, 0)
		r.want(true, 60)
		r.at(time.Minute, 2*window).want(false, 41)
		r.want(true, 40)
		r.at(2*time.Minute, 3*window).want(false, 1)
		r.at(3*time.Minute, 0).want(false, 1)
		r.at(window, 0).want(false, 61)
		r.want(true, 60)
	})
}

// TestVelocityRecoversFromAFalseTime: what was approved while a clock was a year
// ahead counts for its window as anything else, of a process that started later
// from its start.
func TestVelocityRecoversFromAFalseTime(t *testing.T) {
	c := new(chain)
	r := c.replica(t, day, 0, 365*day)
	r.want(true, 100)
	later := c.replica(t, day, time.Hour, 0)
	later.want(false, 1)
	r.at(day-time.Second, 0).want(false, 1)
	later.at(day+time.Hour-time.Second, 0).want(false, 1)
	later.at(day+time.Hour, 0).want(true, 1)
	r.at(day, 0).want(true, 99)
}

// TestAttackVelocityStartedWithClockAhead: a process that starts while its clock
// is ahead reads what was approved, and has it when the clock is put right.
func TestAttackVelocityStartedWithClockAhead(t *testing.T) {
	eachWindow(t, func(t *testing.T, window time.Duration) {
		c := new(chain)
		c.replica(t, window, 0, 0).want(true, 100)
		started := c.replica(t, window, 0, max(2*window, 2*ledger.Lookback))
		e := c.request(1)
		if got := started.ledger.View(e, started.read()).Sum(ledger.ScopeWallet, "w", "eth", window); got.Sign() != 0 {
			t.Fatalf("%v counts by a clock that is far ahead", got)
		}
		started.at(time.Minute, 0).want(false, 1)
		started.at(time.Hour-time.Second, window/2).want(false, 1)
		started.at(window, 0).want(true, 100)
	})
}

// TestAttackVelocityClocksApart: two replicas whose clocks are 30 s apart, either
// way, have one limit between them.
func TestAttackVelocityClocksApart(t *testing.T) {
	const skew = 30 * time.Second
	c := new(chain)
	ahead, behind := c.replica(t, day, 0, skew), c.replica(t, day, 0, -skew)
	ahead.want(true, 50)
	behind.at(time.Second, -skew).want(true, 50)
	for _, r := range []*replica{ahead.at(2*time.Second, skew), behind.at(2*time.Second, -skew)} {
		r.want(false, 1)
	}
	// None counts for less than its window, nor for more than the skew longer.
	ahead.at(day-time.Second, skew).want(false, 1)
	behind.at(day+skew+time.Second, -skew).want(true, 100)
}

// TestAttackVelocityRaced: many requests at once, two replicas that fold one
// chain: exactly as much is approved as the limit allows, and a third that
// starts later sees the same.
func TestAttackVelocityRaced(t *testing.T) {
	c := new(chain)
	replicas := []*replica{c.replica(t, day, 0, 0), c.replica(t, day, 0, 0)}
	var approved [2]int64
	var wg sync.WaitGroup
	for i, r := range replicas {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 60 {
				if r.approves(c.request(3)) {
					approved[i] += 3
				}
			}
		}()
	}
	wg.Wait()
	if got := approved[0] + approved[1]; got != 99 {
		t.Fatalf("%d of 100 approved", got)
	}
	third := c.replica(t, day, time.Second, 0)
	third.want(false, 2)
	third.want(true, 1)
}

// TestAttackVelocityCountedOncePerEnvelope: approved again, a request neither
// counts twice, nor is free the first time, and counts from its latest approval.
func TestAttackVelocityCountedOncePerEnvelope(t *testing.T) {
	c := new(chain)
	r := c.replica(t, day, 0, 0)
	e := c.request(60)
	for i := range 5 {
		if !r.at(time.Duration(i)*time.Hour, 0).approves(e) {
			t.Fatal("not approved")
		}
	}
	r.want(false, 41)
	r.want(true, 40)
	for range 2 { // the same records again, as after a crash
		for _, body := range c.records {
			r.replay(body)
		}
	}
	r.want(false, 1)
	r.at(day+4*time.Hour-time.Second, 0).want(false, 1)
	r.at(day+4*time.Hour, 0).want(true, 100)
}

// TestAttackVelocityAgainstWildClocks: two processes whose wall clocks jump to
// and fro, and that start again while the clocks are right, never approve more
// than the limit within any window; and a window later all of it is free.
func TestAttackVelocityAgainstWildClocks(t *testing.T) {
	for seed := range uint64(5) {
		eachWindow(t, func(t *testing.T, window time.Duration) { wildClocks(t, rand.New(rand.NewPCG(seed, 3)), window, 0) })
	}
}

// TestAttackVelocityForgottenByWildClocks: the same where so much is approved of
// another wallet meanwhile that events go all the time, and are missed again.
func TestAttackVelocityForgottenByWildClocks(t *testing.T) {
	if wildClocks(t, rand.New(rand.NewPCG(1, 4)), day, 40) == 0 {
		t.Fatal("nothing that counts was ever forgotten")
	}
}

// wildClocks returns how often all records were read again.
func wildClocks(t *testing.T, random *rand.Rand, window time.Duration, others int) (reread int) {
	seconds := int(window / time.Second)
	c := new(chain)
	replicas := []*replica{c.replica(t, window, 0, 0), c.replica(t, window, 0, 0)}
	approved := map[time.Duration]int64{}
	off := make([]time.Duration, 2)
	var passed time.Duration // in truth
	for range 300 {
		passed += time.Duration(random.IntN(seconds/24)) * time.Second
		i := random.IntN(2)
		switch random.IntN(8) {
		case 0:
			off[i] = time.Duration(random.IntN(4*seconds)-2*seconds) * time.Second
		case 1, 2:
			off[i] = 0
		case 3:
			off[i] = 0
			reread += replicas[i].reread
			replicas[i] = c.replica(t, window, passed, 0)
		}
		amount := random.Int64N(30)
		if replicas[i].at(passed, off[i]).approves(c.request(amount)) {
			approved[passed] += amount
		}
		for range others {
			e := c.request(0)
			e.Wallet = "other"
			replicas[i].approves(e)
		}
		sum := int64(0)
		for when, amount := range approved {
			if when > passed-window {
				sum += amount
			}
		}
		if sum > 100 {
			t.Fatalf("%d approved in the window before %v", sum, passed)
		}
	}
	for _, r := range replicas {
		r.at(passed, 0).catchUp()
	}
	for _, r := range replicas {
		r.at(passed+window, 0).want(true, 50)
		reread += r.reread
	}
	return reread
}
