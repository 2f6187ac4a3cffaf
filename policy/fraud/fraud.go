// Package fraud decides whether a request looks like loss, by the policy
// document's rules for fraud: deny lists, limits at once and over time, and
// signals such as an address that resembles a known one. What the signals found
// stands in the approval.
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

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

// Decider is the fraud role's decider: a policy.Decider, Preparer and Recorder,
// by the judge's fold.
type Decider struct{ *judge.Judge }

// New returns a decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(watch *clock.Watch) *Decider { return &Decider{judge.New(message.RoleFraud, watch)} }

// Prepare verifies whose the request is. It is safe for concurrent use.
func (*Decider) Prepare(r policy.Request) { _, _ = r.User() }

// Decide asks the rules. An approval that puts anything at risk comes with the
// record that makes it count. What authorization will reject must not count, or
// whoever the proposer lets in could spend the limits of any wallet.
func (d *Decider) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	user, reason := r.User()
	if reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	out, records, err := d.Judge.Judge(ctx, r.Policy, judge.Input{
		Meaning: r.Meaning, User: user, Envelope: r.EnvelopeHash, Now: r.Now,
	})
	switch {
	case err != nil:
		return policy.Decision{}, err
	case out.Verdict != rules.Allow:
		return policy.Decision{Verdict: policy.Reject, Reasons: out.Reasons}, nil
	}
	return policy.Decision{Verdict: policy.Approve, Reasons: out.Reasons, Records: records}, nil
}
