package document

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// Errors of VerifyVote that callers tell apart; each is final for the vote
// under this policy.
var (
	// ErrVoter says that the vote is not by a key of an approver who may vote.
	ErrVoter = errors.New("vote is not by a key of an approver who may vote")
	// ErrVote says that the vote is for something else.
	ErrVote = errors.New("vote is not for this request")
	// ErrVotePolicy says that the vote names another policy document.
	ErrVotePolicy = errors.New("vote was given under another policy")
	// ErrVoteTime says that the vote's end has passed, or lies beyond the
	// request's.
	ErrVoteTime = errors.New("vote is not of this time")
)

// VerifyVote verifies one person's signed vote against the document: by a key
// of an approver who may vote, for exactly the wanted deployment, request,
// envelope and digests, and not ended. Of want, Version and Approver are not
// read; Decision, Policy and Expires are compared only where they are set:
//
//   - Decision must be equal,
//   - Policy must be equal: set it when a vote comes in. A vote that was taken
//     under an earlier policy stays good under a newer one, unless that refuses
//     the voter or the key: leave it empty when a vote is verified again,
//   - Expires is the latest end that the vote may name: the request's own.
//
// The approver's id comes from the key, not from the text.
func VerifyVote(a *Active, compact string, want message.Vote, now time.Time) (string, message.Vote, error) {
	var v message.Vote
	kid, err := message.KeyID(message.TypVote, []byte(compact))
	if err != nil {
		return "", v, err
	}
	approver, key, ok := a.ApproverByKey(kid)
	if !ok {
		return "", v, ErrVoter
	}
	if err := message.VerifyEd25519(message.TypVote, kid, key, []byte(compact), &v); err != nil {
		return "", message.Vote{}, err
	}
	if v.Approver != approver.ID {
		return "", v, fmt.Errorf("%w: it names %q", ErrVoter, v.Approver)
	}
	return approver.ID, v, compareVote(v, want, now)
}

func compareVote(v, want message.Vote, now time.Time) error {
	switch {
	case v.Version != message.Version:
		return fmt.Errorf("%w: version %d", ErrVote, v.Version)
	case v.Deployment != want.Deployment:
		return fmt.Errorf("%w: another deployment", ErrVote)
	case v.Request != want.Request:
		return fmt.Errorf("%w: another request", ErrVote)
	case v.Envelope != want.Envelope:
		return fmt.Errorf("%w: another envelope", ErrVote)
	case !slices.EqualFunc(v.Digests, want.Digests, sameDigest):
		return fmt.Errorf("%w: other digests", ErrVote)
	case v.Decision != message.Approve && v.Decision != message.Reject:
		return fmt.Errorf("%w: unknown decision", ErrVote)
	case want.Decision != "" && v.Decision != want.Decision:
		return fmt.Errorf("%w: another decision", ErrVote)
	case !want.Policy.IsZero() && v.Policy != want.Policy:
		return ErrVotePolicy
	case !now.Before(v.Expires.Time):
		return fmt.Errorf("%w: it has ended", ErrVoteTime)
	case !want.Expires.IsZero() && v.Expires.After(want.Expires.Time):
		return fmt.Errorf("%w: it ends after the request", ErrVoteTime)
	}
	return nil
}

func sameDigest(a, b message.Digest) bool {
	return a.Algorithm == b.Algorithm && string(a.Value) == string(b.Value)
}

// Tally is what a set of votes comes to under one document.
type Tally struct {
	// Good are the votes that count, each of a different person, in the order
	// given.
	Good []string
	// Persons are those whose votes count, in the same order.
	Persons []string
	// Rejected says that a person who may vote has rejected.
	Rejected bool
}

// Count is CountFor with the approvers of the section approval. It does not
// compare with the quorum: len(Persons) >= Approval.Quorum.
func Count(a *Active, votes []string, want message.Vote, user string, now time.Time) Tally {
	return CountFor(a, votes, want, user, now, nil)
}

// CountFor verifies votes on a request of the given user and counts those of the
// approvers whom a rule asks, each person once, whatever number of keys or
// approver ids that person has: see Active.Voters. Where the document forbids
// self-approval, the user's own agreement does not count; the user's own
// rejection does. Votes that do not verify, and votes of others, count for
// nothing. It does not compare with the rule's quorum.
func CountFor(a *Active, votes []string, want message.Vote, user string, now time.Time, approvers []string) Tally {
	var t Tally
	asked := a.Voters(approvers)
	for _, compact := range votes {
		id, v, err := VerifyVote(a, compact, want, now)
		if err != nil || !slices.Contains(asked, id) {
			continue
		}
		if v.Decision == message.Reject {
			t.Rejected = true
			continue
		}
		person := a.Person(id)
		if slices.Contains(t.Persons, person) || (person == user && !a.Approval.SelfApproval) {
			continue
		}
		t.Good, t.Persons = append(t.Good, compact), append(t.Persons, person)
	}
	return t
}
