package fraud_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/countersign/countersign/policy"
)

// TestAttackVelocityClockSetForward: a wall clock that jumps ahead frees
// nothing, neither then nor when it is back, nor what was approved meanwhile.
func TestAttackVelocityClockSetForward(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(60, w.set(0, start))))
	ahead := start.Add(30 * time.Hour)
	w.want(w.decide(t, w.bare(41, w.set(time.Minute, ahead))), dailyEther)
	w.want(w.decide(t, w.bare(40, w.set(time.Minute, ahead))))
	w.want(w.decide(t, w.bare(1, w.set(2*time.Minute, ahead.Add(day)))), dailyEther)
	w.want(w.decide(t, w.bare(1, w.set(3*time.Minute, start.Add(3*time.Minute)))), dailyEther)
	w.want(w.decide(t, w.bare(61, w.set(day, start.Add(day)))), dailyEther)
	w.want(w.decide(t, w.bare(60, w.set(day, start.Add(day)))))
}

// TestVelocityRecoversFromAFalseTime: what was approved while a clock was a year
// ahead counts for 24 hours as anything else, since a process needs no clock to
// know for how long it has known it; a process that started later counts from
// its start.
func TestVelocityRecoversFromAFalseTime(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(100, w.set(0, start.Add(365*day)))))
	later := w.chain.replicaAt(start.Add(time.Hour), 0)
	w.want(later.decide(t, w.bare(1, later.set(time.Second, start.Add(time.Hour)))), dailyEther)
	w.want(w.decide(t, w.bare(1, w.set(day-time.Second, start.Add(day-time.Second)))), dailyEther)
	w.want(w.decide(t, w.bare(100, w.set(day, start.Add(day)))))
}

// TestAttackVelocityStartedWithClockAhead: a process that starts while its clock
// is ahead reads what was approved, and has it when the clock is put right.
func TestAttackVelocityStartedWithClockAhead(t *testing.T) {
	w := daily(t, "100")
	w.want(w.decide(t, w.bare(100, w.set(0, start))))
	started := w.chain.replicaAt(start.Add(30*time.Hour), 0)
	for _, body := range w.chain.records {
		started.replay(t, body)
		started.folded++
	}
	w.want(started.decide(t, w.bare(1, started.set(time.Minute, start.Add(time.Minute)))), dailyEther)
	w.want(started.decide(t, w.bare(1, started.set(time.Hour, start.Add(40*time.Hour)))), dailyEther)
	w.want(started.decide(t, w.bare(100, started.set(day, start.Add(day)))))
}

// TestAttackVelocityAgainstWildClocks: two processes whose wall clocks jump to
// and fro, and that start again while the clocks are right, never approve more
// than the limit within any 24 hours; and 24 hours later all of it is free.
func TestAttackVelocityAgainstWildClocks(t *testing.T) {
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := daily(t, "1000")
		replicas := []*replica{w.replica, w.chain.replica()}
		type one struct {
			when   time.Duration
			amount int64
		}
		var approved []one
		off := []time.Duration{0, 0}
		var passed time.Duration // in truth
		for range 400 {
			passed += time.Duration(random.IntN(3600)) * time.Second
			i := random.IntN(2)
			switch random.IntN(8) {
			case 0:
				off[i] = time.Duration(random.IntN(4*86400)-2*86400) * time.Second
			case 1, 2:
				off[i] = 0
			case 3:
				off[i] = 0
				replicas[i] = w.chain.replicaAt(start.Add(passed), passed)
			}
			amount := int64(random.IntN(300))
			r := replicas[i]
			if r.decide(t, w.bare(amount, r.set(passed, start.Add(passed+off[i])))).Verdict == policy.Approve {
				approved = append(approved, one{passed, amount})
			}
			sum := int64(0)
			for _, a := range approved {
				if a.when > passed-day {
					sum += a.amount
				}
			}
			if sum > 1000 {
				t.Fatalf("seed %d: %d approved in the 24 hours before %v", seed, sum, passed)
			}
		}
		for _, r := range replicas { // each takes what the other has written
			r.decide(t, w.bare(1001, r.set(passed, start.Add(passed))))
		}
		passed += day
		for i, r := range replicas {
			w.want(r.decide(t, w.bare(int64(500), r.set(passed+time.Duration(i), start.Add(passed)))))
		}
	}
}
