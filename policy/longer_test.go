package policy_test

import (
	"fmt"
	"log/slog"
	"math/big"
	"testing"
	"time"

	systemclock "github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
)

// pastEvery is how much time lies between two approvals of livePast.
const pastEvery = 30 * time.Minute

// livePast appends to the role's chain what it has approved of alice's: so many
// requests, up to now.
func (w *world) livePast(count int) {
	w.t.Helper()
	ages := make([]time.Duration, count)
	for i := range ages {
		ages[i] = time.Duration(count-1-i) * pastEvery
	}
	w.pastOf(deploymenttest.User, ages...)
}

// pastOf appends to the role's chain what it has approved of a user's, so long ago
// each.
func (w *world) pastOf(user string, ages ...time.Duration) {
	w.t.Helper()
	chain, err := history.New(role, w.Deployment.Keyrings[role], w.As(role), slog.New(slog.DiscardHandler))
	must(w.t, err)
	must(w.t, chain.CatchUp(w.t.Context(), func(history.Entry) error { return nil }))
	type record struct {
		Kind string        `json:"kind"`
		Body message.Bytes `json:"body"`
	}
	type entry struct {
		Version int      `json:"version"`
		Records []record `json:"records"`
	}
	writer, e := ledger.New(nil), entry{Version: message.Version}
	for i, age := range ages {
		at := w.clock.Now().Add(-age)
		body, err := writer.Record(ledger.Event{
			Envelope: message.Sum(fmt.Append(nil, "past", user, i)), Kind: message.KindEthereumTransaction,
			User: user, Wallet: "gone", Account: "gone", Expires: at.Add(time.Hour),
			Amounts: []exposure.Amount{{Asset: deploymenttest.Ether, Amount: big.NewInt(1)}},
		}, systemclock.Moment{Late: at})
		must(w.t, err)
		if e.Records = append(e.Records, record{"decider", body}); len(e.Records) == 200 || i == len(ages)-1 {
			raw, err := message.Encode(e)
			must(w.t, err)
			must(w.t, chain.Append(w.t.Context(), raw))
			e.Records = nil
		}
	}
}

// atMost puts a document into force that allows a user so many requests within a
// window.
func (w *world) atMost(version int, count int, window time.Duration) {
	w.t.Helper()
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		d.Version = version
		d.Rules.Fraud = []document.Rule{
			{ID: "all", Effect: document.EffectAllow, When: "true"},
			{ID: "few", Effect: document.EffectDeny, When: fmt.Sprintf(`history.count("user", duration("%dh")) >= %d`, window/time.Hour, count)},
		}
	}))
	w.openEpoch()
}

func (i *instance) wants(verdict message.Decision) {
	i.w.t.Helper()
	a, _ := i.ready().one(i.w.task())
	if a.Decision != verdict || (verdict == message.Reject && code(a) != rules.CodeDenies) {
		i.w.t.Fatalf("%s because of %v, want %s", a.Decision, a.Reasons, verdict)
	}
}

// TestDocumentThatLooksFurtherBack: a limit of 31 days that comes after one of a
// day counts all that was approved, exactly, on each of two replicas that had
// forgotten it, as on one that starts under it; and so does a limit of a day
// again.
func TestDocumentThatLooksFurtherBack(t *testing.T) {
	w := initialised(t)
	w.livePast(8192 + 10) // so that much goes: see the ledger's sweeps
	daily, monthly := int(24*time.Hour/pastEvery), int(ledger.Lookback/pastEvery)

	w.atMost(2, daily+1, 24*time.Hour)
	a, b := w.start(fraud.New(w.clock.watch())), w.start(fraud.New(w.clock.watch()))
	a.wants(message.Approve)
	b.wants(message.Reject)

	w.atMost(3, monthly+3, ledger.Lookback)
	b.wants(message.Approve)
	restarted := w.start(fraud.New(w.clock.watch()))
	a.wants(message.Approve)
	for _, i := range []*instance{a, b, restarted} {
		i.wants(message.Reject)
	}
	w.atMost(4, monthly+4, ledger.Lookback)
	restarted.wants(message.Approve)
	b.wants(message.Reject)

	w.atMost(5, daily+5, 24*time.Hour)
	again := w.start(fraud.New(w.clock.watch()))
	again.wants(message.Approve)
	for _, i := range []*instance{a, b, restarted, again} {
		i.wants(message.Reject)
	}
}
