// Package approval decides whether people must agree to a request and whether
// enough of them have: it waits, signing nothing, until different persons have
// voted for it as the policy document asks, and a single vote against it ends
// it. It also serves the API where approvers see what waits and vote.
//
// It trusts the policy document, what its own service computed from the signed
// bytes, and its role's own chain of records, where the votes are kept. Every
// vote is verified when it comes in and again at every decision, under the
// document that is active then. It never asks a person twice for what the
// person has signed, and never counts one person twice.
package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// Reason codes; they are stable. Those of document.VerifyUser come besides.
const (
	// CodeRejected: an approver has rejected the request.
	CodeRejected = "rejected_by_approver"
	// CodeNoApprovers: people must agree, but the policy names none.
	CodeNoApprovers = "no_approvers"
	// CodeAbove: an amount is above the policy's threshold.
	CodeAbove = "above_threshold"
	// CodeNoThreshold: the policy has no threshold for an asset.
	CodeNoThreshold = "no_threshold"
	// CodeNotUnderstood: the request has effects that cannot be told.
	CodeNotUnderstood = "unknown_call"
	// CodeAlways: requests of this kind always need people.
	CodeAlways = "kind_needs_people"
)

// Decider is the approval role's decider: a policy.Decider and
// policy.Recorder. Its state is the fold of the role's records. It is safe for
// concurrent use by the runtime and the API.
type Decider struct{ votes *ballots }

// New returns a decider without votes. The clock serves only to forget the
// votes on requests that are long over.
func New(now func() time.Time) *Decider {
	if now == nil {
		now = time.Now
	}
	return &Decider{votes: newBallots(now)}
}

// Replay takes over one vote of the past.
func (d *Decider) Replay(body []byte) error {
	r, err := decodeRecord(body)
	if err != nil {
		return fmt.Errorf("approval record: %w", err)
	}
	d.votes.add(r)
	return nil
}

// Mark begins what may be taken back.
func (d *Decider) Mark() { d.votes.mark() }

// Undo takes back what was replayed since Mark.
func (d *Decider) Undo() { d.votes.undo() }

// Keep says that what was replayed since Mark is on record for good.
func (d *Decider) Keep() { d.votes.keep() }

// Decide applies the policy's approval section.
func (d *Decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	ballot := d.votes.of(r.Meaning.Statement.ID)
	if reasons := ballot.rejections(); len(reasons) > 0 {
		return policy.Decision{Verdict: policy.Reject, Reasons: reasons}, nil
	}
	needed, err := Needed(r.Policy, r.Meaning)
	if err != nil {
		return policy.Decision{}, err
	}
	if len(needed) == 0 {
		return policy.Decision{Verdict: policy.Approve}, nil
	}
	// Nobody is asked about a request whose sender is not known; and who the
	// sender is must be known to refuse self-approval.
	user, reason := r.User()
	if reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	return decideVotes(r, ballot, user.ID, needed), nil
}

func decideVotes(r policy.Request, b ballot, user string, needed []message.Reason) policy.Decision {
	rules := r.Policy.Approval
	if rules.Quorum < 1 || len(rules.Approvers) == 0 {
		reason := message.Reason{Code: CodeNoApprovers, Detail: "people must agree, but the policy names no approvers"}
		return policy.Decision{Verdict: policy.Reject, Reasons: append([]message.Reason{reason}, needed...)}
	}
	want := wanted(r.Meaning, r.EnvelopeHash)
	tally := document.Count(r.Policy, b.approvals(), want, user, r.Now)
	if len(tally.Persons) >= rules.Quorum {
		return policy.Decision{Verdict: policy.Approve, Evidence: tally.Good}
	}
	return policy.Decision{
		Verdict: policy.Wait, Reasons: needed,
		Note: fmt.Sprintf("%d of %d approvals", len(tally.Persons), rules.Quorum),
	}
}

// wanted is what every vote on the request must name. The policy is left
// empty: a vote stays good under a newer one.
func wanted(m transaction.Meaning, envelope message.Hash) message.Vote {
	return message.Vote{
		Deployment: m.Statement.Audience, Request: m.Statement.ID, Envelope: envelope,
		Digests: m.Digests, Expires: m.Statement.Expires,
	}
}

// Needed says why people must agree to a request under a policy; nothing if
// they need not. What cannot be told needs people.
func Needed(a *document.Active, m transaction.Meaning) ([]message.Reason, error) {
	var out []message.Reason
	if slices.Contains(a.Approval.Always, m.Statement.Kind) {
		out = append(out, message.Reason{Code: CodeAlways, Detail: fmt.Sprintf("%s always needs people", m.Statement.Kind)})
	}
	if m.Transaction == nil {
		if m.WalletCreate == nil && m.AccountCreate == nil {
			return nil, errors.New("the request has no meaning")
		}
		return out, nil
	}
	e := m.Effects
	if len(e.Unknown) > 0 || (e.Message == nil && len(e.Moves)+len(e.Allowances) == 0) {
		out = append(out, message.Reason{Code: CodeNotUnderstood, Detail: "the transaction has effects that cannot be told"})
	}
	amounts, err := exposure.Of(e)
	if err != nil {
		return nil, err
	}
	for _, amount := range amounts {
		if reason := above(&a.Approval, amount); reason != nil {
			out = append(out, *reason)
		}
	}
	return out, nil
}

func above(rules *document.Approval, amount exposure.Amount) *message.Reason {
	for i := range rules.Above {
		t := &rules.Above[i]
		if t.Asset != amount.Asset {
			continue
		}
		if amount.Amount.Cmp(&t.Amount.Int) <= 0 {
			return nil
		}
		return &message.Reason{
			Code:   CodeAbove,
			Detail: fmt.Sprintf("%s of %s is above %s", amount.Amount, amount.Asset, &t.Amount.Int),
		}
	}
	return &message.Reason{Code: CodeNoThreshold, Detail: "the policy has no threshold for " + amount.Asset}
}
