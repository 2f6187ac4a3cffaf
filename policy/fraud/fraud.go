// Package fraud decides whether a request looks like loss: nothing goes to a
// deny-listed account, no call is made that is not understood, and no wallet
// moves more of an asset than the policy document's limits allow, at once and
// within any 24 hours.
//
// It trusts the policy document, the effects that its own service computed and
// its role's own chain of records. It never lets a stranger use up a wallet's
// limits or learn what is left of them, and it never forgets an approval
// because its signature was not made: a request counts from the moment its
// approval was put on record, which is before anybody else can see it. Nor does
// it forget one because the wall clock was set: see package clock.
package fraud

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// Reason codes; they are stable. Those of document.VerifyUser come besides.
const (
	// CodeDenied: a deny-listed account is involved.
	CodeDenied = "deny_listed"
	// CodeUnknownCall: the transaction does something that is not understood.
	CodeUnknownCall = "unknown_call"
	// CodeNoLimit: the policy has no limit for the asset, which is then denied.
	CodeNoLimit = "no_limit"
	// CodeTransactionLimit: more than the limit per transaction.
	CodeTransactionLimit = "over_transaction_limit"
	// CodeDailyLimit: more than what is left of the limit per 24 hours.
	CodeDailyLimit = "over_24_hours_limit"
	// CodeMessage: the policy does not let messages be signed.
	CodeMessage = "messages_not_allowed"
)

// Decider is the fraud role's decider: a policy.Decider and policy.Recorder.
// Its state is the fold of the role's records. As the runtime promises, its
// methods are not called at the same time.
type Decider struct {
	spent *ledger
	rules *rules // of the document that was last decided under
}

// New returns a decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(watch *clock.Watch) *Decider {
	if watch == nil {
		watch = &clock.Watch{}
	}
	watch.Read() // from now on a jump is one
	return &Decider{spent: newLedger(watch)}
}

// Replay counts one approval of the past.
func (d *Decider) Replay(body []byte) error {
	r, err := decodeRecord(body)
	if err != nil {
		return fmt.Errorf("fraud record: %w", err)
	}
	d.spent.add(r)
	return nil
}

// Mark begins what may be taken back.
func (d *Decider) Mark() { d.spent.mark() }

// Undo takes back what was replayed since Mark.
func (d *Decider) Undo() { d.spent.undo() }

// Keep says that what was replayed since Mark counts for good.
func (d *Decider) Keep() { d.spent.keep() }

// Prepare verifies whose the request is. It is safe for concurrent use.
func (d *Decider) Prepare(r policy.Request) {
	if r.Meaning.Transaction != nil {
		_, _ = r.User()
	}
}

// Decide applies the policy's fraud section. An approval that moves anything
// comes with the record that makes it count.
func (d *Decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	m := r.Meaning
	if m.Transaction == nil {
		return decideOther(m), nil
	}
	// What authorization will reject must not count, or whoever the proposer
	// lets in could spend the limits of any wallet.
	if _, reason := r.User(); reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	rules := d.rulesOf(r.Policy)
	reasons := append(rules.checkDenied(m.Effects), rules.checkUnderstood(m.Effects)...)
	amounts, err := exposure.Of(m.Effects)
	if err != nil {
		return policy.Decision{}, err
	}
	now := d.spent.watch.At(r.Now)
	for _, a := range amounts {
		earlier := d.spent.sum(key{m.Wallet, a.Asset}, cutoff(now), r.EnvelopeHash)
		reasons = append(reasons, rules.checkLimits(m.Wallet, a, earlier)...)
	}
	if len(reasons) > 0 {
		return policy.Decision{Verdict: policy.Reject, Reasons: reasons}, nil
	}
	decision := policy.Decision{Verdict: policy.Approve}
	if len(amounts) > 0 {
		body, err := encodeRecord(r.EnvelopeHash, m.Wallet, d.spent.clock(now), amounts)
		if err != nil {
			return policy.Decision{}, err
		}
		decision.Records = [][]byte{body}
	}
	return decision, nil
}

// decideOther is for kinds that move nothing: only those that are known to.
func decideOther(m transaction.Meaning) policy.Decision {
	if m.WalletCreate != nil || m.AccountCreate != nil {
		return policy.Decision{Verdict: policy.Approve}
	}
	return policy.Decision{
		Verdict: policy.Reject,
		Reasons: []message.Reason{{Code: CodeUnknownCall, Detail: "the request has no effects that are understood"}},
	}
}

// window is how long an approval counts.
const window = 24 * time.Hour
