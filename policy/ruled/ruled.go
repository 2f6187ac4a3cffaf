// Package ruled is the decider of a role that asks nobody but its rules: whose
// the request is, by signature and grant, and what the policy document's rules of
// the role say.
//
// It trusts the policy document, the meaning that its own service computed and
// its role's own records. A stranger's request comes to no rule, and counts for
// nothing.
package ruled

import (
	"context"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

// Decider is a policy.Decider and Preparer, and by the judge's fold a Recorder and
// Rereader.
type Decider struct{ *judge.Judge }

// New returns a role's decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(role string, watch *clock.Watch) *Decider { return &Decider{judge.New(role, watch)} }

// Prepare verifies the signature and the grant, which needs no state. It is safe
// for concurrent use.
func (*Decider) Prepare(r policy.Request) { _, _ = r.User() }

// Decide asks the rules. An approval that they may count comes with the record
// that makes it count.
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
