// Package authorization decides whether this user may ask for this with this
// wallet: the statement's own signature must be by a key of a user whom the
// policy document grants the kind on the wallet, and the document's rules for
// authorization must allow it.
//
// It trusts the policy document, the meaning that its own service computed and
// its role's own records, which it keeps only where rules look at them.
package authorization

import (
	"context"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

// Decider is the authorization role's decider: a policy.Decider, Preparer and
// Recorder, by the judge's fold. It is safe for concurrent use.
type Decider struct{ *judge.Judge }

// New returns a decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(watch *clock.Watch) *Decider {
	return &Decider{judge.New(message.RoleAuthorization, watch)}
}

// Prepare verifies the signature and the grant, which needs no state.
func (*Decider) Prepare(r policy.Request) { _, _ = r.User() }

// Decide verifies the statement's signature and the grant, and asks the rules.
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
