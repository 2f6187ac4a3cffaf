package policy_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/ledger"
)

// TestLimitOverAYear: what was approved 300 days ago counts, what was 370 days ago
// does not: of an instance that had forgotten both, of one that is started anew
// and replays its chain, and once more when time has passed.
func TestLimitOverAYear(t *testing.T) {
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	w := initialised(t)
	w.pastOf(deploymenttest.User, 370*day, 300*day, 200*day)
	others := make([]time.Duration, 5000) // so that a sweep comes
	for i := range others {
		others[i] = 150*day - time.Duration(i)*time.Hour/2
	}
	w.pastOf("bob", others...)

	w.atMost(2, 1, ledger.Lookback)
	a := w.start(fraud.New(w.clock.watch()))
	a.wants(message.Approve)

	w.atMost(3, 3, year)
	restarted := w.start(fraud.New(w.clock.watch()))
	for _, i := range []*instance{a, restarted} {
		i.wants(message.Reject)
	}
	w.atMost(4, 5, ledger.Longest)
	a.wants(message.Approve) // the fifth of all
	for _, i := range []*instance{a, restarted, w.start(fraud.New(w.clock.watch()))} {
		i.wants(message.Reject)
	}

	w.clock.advance(66 * day)
	w.atMost(5, 4, year)
	later := w.start(fraud.New(w.clock.watch()))
	later.wants(message.Approve) // the fourth, after one of 266 days ago and two of 66
	for _, i := range []*instance{a, restarted, later} {
		i.wants(message.Reject)
	}
}
