package fraud_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/fraud"
)

const day = 24 * time.Hour

func daily(t *testing.T, limit string) *world {
	t.Helper()
	return newWorld(t, limits([3]string{deploymenttest.Ether, limit, limit}))
}

// TestAttackVelocityRaced: many requests at once, two replicas that fold one
// chain: exactly as much is approved as the limit allows.
func TestAttackVelocityRaced(t *testing.T) {
	w := daily(t, "100")
	replicas := []*replica{w.replica, w.chain.replica()}
	var requests []policy.Request
	for range 200 {
		requests = append(requests, w.bare(3, start))
	}
	var approved atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := i; j < len(requests); j += 16 {
				if d := replicas[(i+j/16)%2].decide(t, requests[j]); d.Verdict == policy.Approve {
					approved.Add(3)
				}
			}
		}()
	}
	wg.Wait()
	if got := approved.Load(); got != 99 {
		t.Fatalf("%d of 100 approved", got)
	}
	if replicas[0].undone+replicas[1].undone == 0 {
		t.Fatal("the replicas were never in each other's way")
	}
	// A third replica that starts now sees the same.
	third := w.chain.replica()
	w.want(third.decide(t, w.bare(2, start)), dailyEther)
	w.want(third.decide(t, w.bare(1, start)))
	w.want(replicas[0].decide(t, w.bare(1, start)), dailyEther)
}

// TestAttackVelocityCountedOncePerEnvelope: asked again, a request neither
// counts twice nor is it free the first time.
func TestAttackVelocityCountedOncePerEnvelope(t *testing.T) {
	w := daily(t, "100")
	q := w.bare(60, start)
	for i := range 5 {
		q.Now = start.Add(time.Duration(i) * time.Minute)
		w.want(w.decide(t, q))
	}
	w.want(w.decide(t, w.bare(41, q.Now)), dailyEther)
	w.want(w.decide(t, w.bare(40, q.Now)))
	w.want(w.decide(t, q))
	w.want(w.decide(t, w.bare(1, q.Now)), dailyEther)
}

// TestVelocityCountsFromLatestApproval: a request that is approved again
// counts for 24 hours from then.
func TestVelocityCountsFromLatestApproval(t *testing.T) {
	w := daily(t, "100")
	q := w.bare(100, start)
	w.want(w.decide(t, q))
	q.Now = start.Add(time.Hour)
	w.want(w.decide(t, q))
	w.want(w.decide(t, w.bare(1, start.Add(day))), dailyEther)
	w.want(w.decide(t, w.bare(1, start.Add(time.Hour+day-time.Second))), dailyEther)
	w.want(w.decide(t, w.bare(100, start.Add(time.Hour+day))))
}

// TestVelocityOfAnOldApprovalIsNotTakenOffTwice: asked again after its 24
// hours, a request's earlier approval is neither counted nor deducted.
func TestVelocityOfAnOldApprovalIsNotTakenOffTwice(t *testing.T) {
	w := daily(t, "100")
	q := w.bare(60, start)
	w.want(w.decide(t, q))
	w.want(w.decide(t, w.bare(40, start.Add(time.Hour))))
	q.Policy = w.d.Active(limits([3]string{deploymenttest.Ether, "90", "90"}))
	q.Now = start.Add(day)
	w.want(w.decide(t, q), dailyEther)
	q.Policy = w.active
	w.want(w.decide(t, q))
}

// TestVelocityWindowExactToTheSecond: 24 hours less a second count, 24 hours
// do not.
func TestVelocityWindowExactToTheSecond(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(40, start)))
	w.want(w.decide(t, w.bare(60, start.Add(time.Second))))
	w.want(w.decide(t, w.bare(1, start.Add(day-time.Second))), dailyEther)
	w.want(w.decide(t, w.bare(1, start.Add(day-time.Nanosecond))), dailyEther)
	w.want(w.decide(t, w.bare(41, start.Add(day))), dailyEther)
	w.want(w.decide(t, w.bare(40, start.Add(day))))
	w.want(w.decide(t, w.bare(1, start.Add(day))), dailyEther)
	w.want(w.decide(t, w.bare(60, start.Add(day+time.Second))))
	w.want(w.decide(t, w.bare(1, start.Add(day+time.Second))), dailyEther)
}

// TestAttackVelocityClockSetBack: neither hides what was approved nor lets
// what is approved meanwhile age sooner.
func TestAttackVelocityClockSetBack(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(60, start)))
	back := start.Add(-30 * time.Hour)
	w.want(w.decide(t, w.bare(41, back)), dailyEther)
	w.want(w.decide(t, w.bare(40, back)))
	// Both count until 24 hours after start, not after the false time.
	w.want(w.decide(t, w.bare(1, start.Add(day-time.Second))), dailyEther)
	w.want(w.decide(t, w.bare(100, start.Add(day))))
}

// TestVelocityIsPerWalletAndAsset: what one wallet or asset moved does not
// count for another.
func TestVelocityIsPerWalletAndAsset(t *testing.T) {
	w := newWorld(t, limits(
		[3]string{deploymenttest.Ether, "100", "100"}, [3]string{deploymenttest.Token, "100", "100"}))
	w.want(w.decide(t, w.bare(100, start)))
	q := w.bare(100, start)
	q.Meaning.Effects.Moves[0].Asset = deploymenttest.Token
	w.want(w.decide(t, q))
	w.want(w.decide(t, w.bare(1, start)), dailyEther)
	w.wallet = w.records.AddWallet(deploymenttest.User)
	w.account, w.address = w.records.AddAccount(w.wallet, deploymenttest.User)
	w.want(w.decide(t, w.bare(100, start)))
	// Another account of the same wallet is the same wallet.
	w.account, w.address = w.records.AddAccount(w.wallet, deploymenttest.User)
	w.want(w.decide(t, w.bare(1, start)), dailyEther)
}

// TestVelocityRejectionsDoNotCount: what was refused uses nothing up.
func TestVelocityRejectionsDoNotCount(t *testing.T) {
	w := daily(t, "100")
	for range 10 {
		w.want(w.decide(t, w.bare(101, start)), onceEther, dailyEther)
	}
	w.want(w.decide(t, w.bare(100, start)))
}

// TestDecideChangesNothing: only what comes back through Replay counts.
func TestDecideChangesNothing(t *testing.T) {
	w := daily(t, "100")
	for range 3 {
		d, err := w.decider.Decide(t.Context(), w.bare(100, start))
		if err != nil {
			t.Fatal(err)
		}
		w.want(d)
	}
}

// TestReplayTwice: a record that comes twice counts once, in any order with
// others.
func TestReplayTwice(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(30, start)))
	w.want(w.decide(t, w.bare(30, start.Add(time.Second))))
	for range 2 {
		for _, body := range w.chain.records {
			if err := w.decider.Replay(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.want(w.decide(t, w.bare(41, start.Add(time.Second))), dailyEther)
	w.want(w.decide(t, w.bare(40, start.Add(time.Second))))
}

// TestUndoIsExact: whatever was replayed since the mark (of new envelopes, of
// counted ones, of a clock that jumped a year ahead) is taken back as if it had
// never been, also what it would have pushed out of the window.
func TestUndoIsExact(t *testing.T) {
	year := start.Add(365 * day)
	for name, of := range map[string]func(w *world, counted policy.Request) policy.Request{
		"new":         func(w *world, _ policy.Request) policy.Request { return w.bare(30, start.Add(time.Hour)) },
		"again":       func(_ *world, counted policy.Request) policy.Request { return at(counted, start.Add(2*time.Hour)) },
		"ahead":       func(w *world, _ policy.Request) policy.Request { return w.bare(40, year) },
		"again-ahead": func(_ *world, counted policy.Request) policy.Request { return at(counted, year) },
	} {
		t.Run(name, func(t *testing.T) {
			w := daily(t, "100")
			counted := w.bare(60, start)
			w.want(w.decide(t, counted))
			q := of(w, counted)
			w.set(time.Second, start)
			w.decider.Mark()
			for _, one := range []policy.Request{q, at(q, q.Now.Add(time.Minute)), w.bare(1, start.Add(time.Minute))} {
				w.try(t, one)
			}
			w.decider.Undo()
			w.set(day-time.Second, start.Add(day-time.Second))
			w.want(w.decide(t, w.bare(41, start.Add(day-time.Second))), dailyEther)
			w.decider.Mark()
			w.want(w.try(t, w.bare(40, start.Add(day-time.Second))))
			w.decider.Undo()
			w.set(day, start.Add(day))
			w.decider.Mark()
			w.want(w.try(t, w.bare(100, start.Add(day))))
			w.decider.Undo()
		})
	}
}

func at(q policy.Request, now time.Time) policy.Request {
	q.Now = now
	return q
}

// TestKeepCounts: what was kept is not taken back by a later undo.
func TestKeepCounts(t *testing.T) {
	w := daily(t, "100")
	w.decider.Mark()
	w.want(w.try(t, w.bare(60, start)))
	w.decider.Keep()
	w.decider.Mark()
	w.want(w.try(t, w.bare(40, start)))
	w.decider.Undo()
	w.want(w.decide(t, w.bare(41, start)), dailyEther)
	w.want(w.decide(t, w.bare(40, start)))
}

func TestReplayRefuses(t *testing.T) {
	h := message.Sum([]byte("e")).String()
	for name, body := range map[string]string{
		"fail/empty":         ``,
		"fail/not-json":      `{`,
		"fail/unknown":       `{"version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[],"x":1}`,
		"fail/version":       `{"version":2,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[]}`,
		"fail/no-wallet":     `{"version":1,"envelope":"` + h + `","wallet":"","time":"2026-11-21T12:00:00Z","amounts":[]}`,
		"fail/negative":      `{"version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"a","amount":"-1"}]}`,
		"fail/leading-zero":  `{"version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"a","amount":"01"}]}`,
		"fail/twice":         `{"version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"a","amount":"1"},{"asset":"a","amount":"1"}]}`,
		"fail/not-canonical": `{ "version":1,"envelope":"` + h + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := fraud.New(nil).Replay([]byte(body)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

// TestVelocityAgainstModel compares with the plainest way to say it: the sum
// over all envelopes whose latest approval is less than 24 hours old.
func TestVelocityAgainstModel(t *testing.T) {
	w := daily(t, "1000")
	type one struct {
		at     int64
		amount int64
	}
	latest := map[message.Hash]one{}
	random := rand.New(rand.NewPCG(1, 2))
	now := start
	var known []policy.Request
	other := w.chain.replica()
	for range 3000 {
		now = now.Add(time.Duration(random.IntN(3600*2)) * time.Second)
		var q policy.Request
		if len(known) > 0 && random.IntN(4) == 0 {
			q = known[random.IntN(len(known))]
		} else {
			if len(known) < 400 {
				known = append(known, w.bare(int64(random.IntN(150)), now))
			}
			q = known[random.IntN(len(known))]
		}
		q.Now = now
		clock := now.Unix()
		for _, e := range latest {
			clock = max(clock, e.at)
		}
		sum := int64(0)
		for hash, e := range latest {
			if hash != q.EnvelopeHash && e.at > clock-86400 {
				sum += e.amount
			}
		}
		amount := q.Meaning.Effects.Moves[0].Amount.Int64()
		r := w.replica
		if random.IntN(2) == 0 {
			r = other
		}
		if random.IntN(4) == 0 { // a batch that another replica was quicker than
			r.decider.Mark()
			for _, lost := range known[:min(len(known), 3)] {
				r.try(t, at(lost, now))
			}
			r.decider.Undo()
		}
		d := r.decide(t, q)
		if want := sum+amount <= 1000; (d.Verdict == policy.Approve) != want {
			t.Fatalf("%d after %d: got %+v", amount, sum, d)
		}
		if d.Verdict == policy.Approve {
			latest[q.EnvelopeHash] = one{clock, amount}
		}
	}
}
