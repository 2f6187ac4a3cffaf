// Package approval decides whether people must agree to a request and whether
// enough of them have. The policy document's rules for approval say so: of every
// rule that asks, its own approvers must agree, as many different persons as it
// names, and a single vote against the request ends it. The package also serves
// the API where approvers see what waits and vote.
//
// It trusts the policy document, what its own service computed from the signed
// bytes, and its role's own chain of records, where the votes are kept. Every
// vote is verified when it comes in and again at every decision, under the
// document that is active then. It never asks a person twice for what the
// person has signed, and never counts one person twice.
package approval

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// Reason codes; they are stable. Those of document.VerifyUser and of rules come
// besides.
const (
	// CodeRejected: an approver has rejected the request.
	CodeRejected = "rejected_by_approver"
	// CodeNoApprovers: people must agree, but the policy names none.
	CodeNoApprovers = "no_approvers"
)

// Decider is the approval role's decider: a policy.Decider, Preparer and
// Recorder. Its state is the fold of the role's records, which are of two
// kinds: votes, and, where rules look at history, what it has approved. It is
// safe for concurrent use by the runtime and the API.
type Decider struct {
	judge *judge.Judge
	votes *ballots
}

// New returns a decider without votes and with an empty history. The clock
// serves to forget votes and approvals that are long over.
func New(now func() time.Time) *Decider {
	watch := &clock.Watch{Now: now}
	return &Decider{judge: judge.New(message.RoleApproval, watch), votes: newBallots(watch)}
}

// Check says whether a document can be decided under: see judge.Judge.Check.
func (d *Decider) Check(active *document.Active) error { return d.judge.Check(active) }

// Replay takes over one vote, or one approval, of the past. Either is decoded
// strictly, so that none is ever read as the other.
func (d *Decider) Replay(body []byte) error {
	vote, notVote := decodeRecord(body)
	if notVote == nil {
		d.votes.add(vote)
		return nil
	}
	if err := d.judge.Replay(body); err != nil {
		return fmt.Errorf("approval record: no vote (%w) and no approval (%w)", notVote, err)
	}
	return nil
}

// Mark begins what may be taken back.
func (d *Decider) Mark() {
	d.votes.mark()
	d.judge.Mark()
}

// Undo takes back what was replayed since Mark.
func (d *Decider) Undo() {
	d.votes.undo()
	d.judge.Undo()
}

// Keep says that what was replayed since Mark is on record for good.
func (d *Decider) Keep() {
	d.votes.keep()
	d.judge.Keep()
}

// Retain says whether what the rules of a document look back on is there.
func (d *Decider) Retain(active *document.Active) (complete bool) { return d.judge.Retain(active) }

// Forget forgets what was approved. Votes stay: whoever reads them meanwhile must
// see them, and replaying one that is there changes nothing.
func (d *Decider) Forget() { d.judge.Forget() }

// Prepare verifies whose the request is, which needs no state.
func (d *Decider) Prepare(r policy.Request) { _, _ = r.User() }

// Decide applies the policy's rules for approval. Nobody is asked about a
// request whose sender is not known; and who the sender is must be known to
// refuse self-approval.
func (d *Decider) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	ballot := d.votes.of(r.Meaning.Statement.ID)
	if reasons := ballot.rejections(); len(reasons) > 0 {
		return policy.Decision{Verdict: policy.Reject, Reasons: reasons}, nil
	}
	user, reason := r.User()
	if reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	out, records, err := d.judge.Judge(ctx, r.Policy, judge.Input{
		Meaning: r.Meaning, User: user, Envelope: r.EnvelopeHash, Now: r.Now,
	})
	if err != nil {
		return policy.Decision{}, err
	}
	switch out.Verdict {
	case rules.Allow:
		return policy.Decision{Verdict: policy.Approve, Reasons: out.Reasons, Records: records}, nil
	case rules.Ask:
		p := poll{r.Policy, ballot, wanted(r.Meaning, r.EnvelopeHash), user.ID, r.Now, r.Frozen}
		return decideVotes(p.ask(out.Asks), out.Reasons, records), nil
	}
	return policy.Decision{Verdict: policy.Reject, Reasons: out.Reasons}, nil
}

// decideVotes approves where all questions are answered.
func decideVotes(asked questions, reasons []message.Reason, records [][]byte) policy.Decision {
	if nobody := asked.unanswerable(); nobody != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: append(nobody, reasons...)}
	}
	if open := asked.open(); open != nil {
		return policy.Decision{
			Verdict: policy.Wait, Reasons: reasons,
			Note: fmt.Sprintf("%d of %d approvals: rule %s", len(open.tally.Persons), open.quorum, open.rule) + spoke(reasons),
		}
	}
	return policy.Decision{Verdict: policy.Approve, Reasons: reasons, Evidence: asked.evidence(), Records: records}
}

// spoke names the signals that fired. Their evidence is for those who are asked:
// a note is too short for it.
func spoke(reasons []message.Reason) string {
	var names []string
	for _, r := range reasons {
		name, signal := strings.CutPrefix(r.Code, api.SignalCode)
		if signal && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return ""
	}
	return "; signals: " + strings.Join(names, ", ")
}

// wanted is what every vote on the request must name. The policy is left
// empty: a vote stays good under a newer one.
func wanted(m transaction.Meaning, envelope message.Hash) message.Vote {
	return message.Vote{
		Deployment: m.Statement.Audience, Request: m.Statement.ID, Envelope: envelope,
		Digests: m.Digests, Expires: m.Statement.Expires,
	}
}
