package approval

import (
	"context"
	"errors"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

// view is one request as this service understands it at one moment, under one
// policy document.
type view struct {
	stored   Stored
	envelope message.Envelope
	hash     message.Hash
	meaning  transaction.Meaning
	active   *document.Active
	user     string
	needed   []message.Reason
	ballot   ballot
	tally    document.Tally
	now      time.Time
}

// examine works out everything from the stored bytes. A request that the
// decider would reject is not shown to people.
func (s *Server) examine(ctx context.Context, stored Stored) (*view, error) {
	v := &view{stored: stored, active: s.cfg.Policy.Active(), now: s.cfg.Now(), hash: message.Sum(stored.Envelope)}
	if v.active == nil {
		return nil, problem(codeNotReady, "no policy document is active yet")
	}
	if err := message.Decode(stored.Envelope, &v.envelope); err != nil {
		return nil, &failure{Code: codeNotDecidable, Detail: "the stored envelope is malformed", Cause: err}
	}
	var err error
	v.meaning, err = s.cfg.Interpreter.Interpret(ctx, v.envelope.Statement)
	switch {
	case errors.Is(err, transaction.ErrPayload), errors.Is(err, transaction.ErrDescriptor):
		return nil, &failure{Code: codeNotDecidable, Detail: "the statement is malformed", Cause: err}
	case errors.Is(err, transaction.ErrNoRecord):
		return nil, &failure{Code: codeNotDecidable, Detail: "the wallet or account does not exist", Cause: err}
	case err != nil:
		return nil, unavailable(err)
	}
	if v.meaning.Statement.ID != stored.ID.String() {
		return nil, problem(codeNotDecidable, "the stored envelope is of another request")
	}
	if v.needed, err = Needed(v.active, v.meaning); err != nil {
		return nil, &failure{Code: codeNotDecidable, Detail: "the effects cannot be counted", Cause: err}
	}
	v.ballot = s.cfg.Decider.votes.kept(v.meaning.Statement.ID)
	user, reason := document.VerifyUser(v.active, v.envelope, v.meaning, v.now)
	if reason != nil && reason.Code != document.CodeExpired {
		return nil, problem(codeNotDecidable, reason.Code+": "+reason.Detail)
	}
	v.user = user.ID
	v.count()
	return v, nil
}

// count tallies the ballot. Of a request that has expired the user is not
// known, and no vote counts any more.
func (v *view) count() {
	if v.user != "" {
		v.tally = document.Count(v.active, v.ballot.approvals(), wanted(v.meaning, v.hash), v.user, v.now)
	}
}

func (v *view) expired() bool { return !v.now.Before(v.meaning.Statement.Expires.Time) }

func (v *view) rejected() bool { return len(v.ballot.rejections()) > 0 }

// open says whether a vote may still change something.
func (v *view) open() bool {
	return !v.stored.Ended && !v.expired() && !v.rejected() && len(v.needed) > 0 &&
		len(v.tally.Persons) < v.active.Approval.Quorum
}

func (v *view) summary() api.Summary {
	s := v.meaning.Statement
	return api.Summary{
		ID: s.ID, Kind: s.Kind, Wallet: v.meaning.Wallet, Account: v.meaning.Account,
		Submitted: message.At(v.stored.Submitted), Expires: s.Expires,
		Approvals: len(v.tally.Persons), Quorum: v.active.Approval.Quorum,
	}
}

func (v *view) approval(now time.Time) api.Approval {
	s := v.meaning.Statement
	out := api.Approval{
		ID: s.ID, Deployment: v.envelope.Deployment,
		Envelope: v.stored.Envelope, EnvelopeHash: v.hash, Descriptor: v.meaning.DescriptorBytes,
		Kind: s.Kind, Wallet: v.meaning.Wallet, Account: v.meaning.Account, User: v.user,
		Digests: append([]message.Digest{}, v.meaning.Digests...), Effects: effects(v.meaning.Effects),
		Needed: append([]message.Reason{}, v.needed...), Policy: v.active.Ref,
		Submitted: message.At(v.stored.Submitted), Expires: s.Expires,
		Votes: []api.Vote{}, Approvals: len(v.tally.Persons), Quorum: v.active.Approval.Quorum,
		Rejected: v.rejected(), Open: v.open(),
	}
	for _, c := range v.ballot {
		out.Votes = append(out.Votes, api.Vote{
			Approver: c.vote.Approver, Decision: c.vote.Decision, Expires: c.vote.Expires, Counts: v.counts(c, now),
		})
	}
	return out
}

func (v *view) counts(c cast, now time.Time) bool {
	if c.vote.Decision != message.Approve {
		return true
	}
	one := document.Count(v.active, []string{c.compact}, wanted(v.meaning, v.hash), v.user, now)
	return v.user != "" && len(one.Persons) == 1
}

func effects(e transaction.Effects) api.Effects {
	out := api.Effects{Moves: []api.Move{}, Allowances: []api.Allowance{}, Unknown: []api.UnknownCall{}}
	for _, m := range e.Moves {
		out.Moves = append(out.Moves, api.Move{Asset: m.Asset, From: m.From, To: m.To, Amount: decimal(m.Amount)})
	}
	for _, a := range e.Allowances {
		out.Allowances = append(out.Allowances, api.Allowance{Asset: a.Asset, Owner: a.Owner, Spender: a.Spender, Amount: decimal(a.Amount)})
	}
	for _, u := range e.Unknown {
		out.Unknown = append(out.Unknown, api.UnknownCall{To: u.To, Selector: u.Selector, Value: decimal(u.Value), Size: u.Size})
	}
	if e.Fee != nil {
		out.Fee, out.FeeAsset = decimal(e.Fee), e.FeeAsset
	}
	if e.Message != nil {
		b := message.Bytes(e.Message)
		out.Message = &b
	}
	return out
}

func decimal(n *big.Int) string {
	if n == nil {
		return "0"
	}
	return n.String()
}
