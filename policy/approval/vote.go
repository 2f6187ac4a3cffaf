package approval

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
)

// vote takes one vote in. Whoever is not an approver learns nothing about
// requests: the signature is verified before any is looked up.
func (s *Server) vote(r *http.Request) (any, error) {
	compact, err := s.body(r)
	if err != nil {
		return nil, err
	}
	active := s.cfg.Policy.Active()
	if active == nil {
		return nil, problem(codeNotReady, "no policy document is active: none yet, or it has expired")
	}
	approver, _, err := document.VerifyVote(active, compact, message.Vote{}, s.cfg.Now())
	if isForgery(err) {
		return nil, refusal(err)
	}
	if err := s.allow(s.votes, approver); err != nil {
		return nil, err
	}
	v, err := s.load(r)
	if err != nil {
		return nil, err
	}
	approver, vote, err := v.accept(compact)
	if err != nil {
		return nil, err
	}
	if err := s.record(r, v, approver, vote, compact); err != nil {
		return nil, err
	}
	out := api.Recorded{
		ID: v.meaning.Statement.ID, Approver: approver, Decision: vote.Decision, Rejected: v.rejected(),
	}
	out.Approvals, out.Quorum = v.lacking()
	return out, nil
}

// isForgery says whether an error of VerifyVote means that no approver has
// signed this, whatever it is for.
func isForgery(err error) bool {
	return err != nil && !errors.Is(err, document.ErrVote) &&
		!errors.Is(err, document.ErrVotePolicy) && !errors.Is(err, document.ErrVoteTime)
}

func refusal(err error) error {
	for known, c := range map[error]code{
		document.ErrVoter: codeNotApprover, document.ErrVote: codeVoteMismatch,
		document.ErrVotePolicy: codeOtherPolicy, document.ErrVoteTime: codeVoteTime,
	} {
		if errors.Is(err, known) {
			return problem(c, err.Error())
		}
	}
	return &failure{Code: codeInvalidVote, Cause: err}
}

// accept says whether a vote may go on record: by an approver, for exactly
// this request and the active policy, not ended, and of some use.
func (v *view) accept(compact string) (string, message.Vote, error) {
	want := wanted(v.meaning, v.hash)
	want.Policy = v.active.Ref.Hash
	approver, vote, err := document.VerifyVote(v.active, compact, want, v.now)
	switch {
	case v.stored.Ended || v.expired():
		return "", vote, problem(codeEnded, "")
	case err != nil:
		return "", vote, refusal(err)
	case vote.Decision == message.Reject && len(v.ballot) > 0:
		// People were asked, and what they agreed to may still be used, whatever
		// the rules say by now.
		return approver, vote, nil
	case v.denied != nil:
		return "", vote, v.denied
	case len(v.asked) == 0:
		return "", vote, problem(codeNotNeeded, "")
	case vote.Decision == message.Reject:
		return approver, vote, nil
	case v.rejected():
		return "", vote, problem(codeRejected, "")
	case !v.asked.asks(approver): // but any approver may reject
		return "", vote, problem(codeNotApprover, fmt.Sprintf("no rule asks approver %s about this request", approver))
	case !v.active.Approval.SelfApproval && v.active.Person(approver) == v.user:
		return "", vote, problem(codeSelfApproval, fmt.Sprintf("approver %s is the person who asks", approver))
	case v.frozen(v.active.Person(approver)):
		return "", vote, problem(codeFrozen, fmt.Sprintf("approver %s is a user who is frozen", approver))
	}
	return approver, vote, nil
}

// record appends the vote unless it adds nothing, and has the request decided
// again in any case: should an earlier call have died between the two, this
// one completes it. A rejection is said before it is answered.
func (s *Server) record(r *http.Request, v *view, approver string, vote message.Vote, compact string) error {
	if !v.repeats(approver, vote) {
		body, err := encodeRecord(v.hash, compact, v.meaning.Statement.Expires)
		if err != nil {
			return err
		}
		if err := s.cfg.Runtime.Append(r.Context(), body); err != nil {
			return unavailable(fmt.Errorf("recording a vote: %w", err))
		}
		s.cfg.Log.InfoContext(r.Context(), "vote recorded", "request", v.meaning.Statement.ID,
			"approver", approver, "decision", string(vote.Decision))
		if !v.ballot.has(compact) {
			v.ballot = append(slices.Clone(v.ballot), cast{compact, vote, v.meaning.Statement.Expires.Time})
		}
		v.count()
	}
	if err := s.cfg.Runtime.Unpark(r.Context(), v.stored.ID); err != nil {
		return unavailable(fmt.Errorf("waking a request: %w", err))
	}
	if vote.Decision == message.Reject {
		return s.overrule(r, v)
	}
	return nil
}

// overrule says a rejection: the role may have approved the request already, and
// have no task to wake.
func (s *Server) overrule(r *http.Request, v *view) error {
	_, err := s.cfg.Runtime.Overrule(r.Context(), v.stored.ID, v.stored.Envelope)
	switch {
	case errors.Is(err, policy.ErrNotSaid):
		return problem(codeNotReady, "the vote is on record, but "+err.Error()+"; send it again")
	case err != nil:
		return unavailable(fmt.Errorf("saying a rejection: %w", err))
	}
	return nil
}

// repeats says that the vote adds nothing: the same person's agreement counts
// already wherever it can, or the same approver has rejected already. So nobody can fill the
// chain with votes.
func (v *view) repeats(approver string, vote message.Vote) bool {
	if vote.Decision == message.Approve {
		return v.asked.counted(approver, v.active.Person(approver))
	}
	return slices.ContainsFunc(v.ballot, func(c cast) bool {
		return c.vote.Approver == approver && c.vote.Decision == message.Reject
	})
}
