package approval

import (
	"context"
	"errors"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
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
	// needed says why people must agree, and asked who; nothing where none must.
	needed []message.Reason
	asked  questions
	asks   []rules.Asking
	ballot ballot
	now    time.Time
	denied error // the decider would reject it: it is not shown to people
	frozen func(person string) bool
}

// examine works out everything from the stored bytes.
func (s *Server) examine(ctx context.Context, stored Stored) (*view, error) {
	v := &view{stored: stored, active: s.cfg.Policy.Active(), now: s.cfg.Now(), hash: message.Sum(stored.Envelope)}
	if v.active == nil {
		return nil, problem(codeNotReady, "no policy document is active: none yet, or it has expired")
	}
	if err := message.Decode(stored.Envelope, &v.envelope); err != nil {
		return nil, &failure{Code: codeNotDecidable, Detail: "the stored envelope is malformed", Cause: err}
	}
	v.frozen = func(person string) bool { return s.cfg.Runtime.Frozen(v.active, person) }
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
	v.ballot = s.cfg.Decider.votes.kept(v.meaning.Statement.ID)
	user, reason := document.VerifyUser(v.active, v.envelope, v.meaning, v.now)
	switch {
	case v.meaning.Statement.DryRun || v.meaning.Freeze != nil:
		return v, nil // nobody is asked
	case reason == nil:
		return v, v.judge(ctx, s.cfg.Decider.judge, user)
	case reason.Code == document.CodeExpired:
		return v, nil // whose it is cannot be told any more, and no vote counts
	}
	return nil, problem(codeNotDecidable, reason.Code+": "+reason.Detail)
}

// judge asks the rules. Where they deny, that is the decision to come, unless
// there is one already.
func (v *view) judge(ctx context.Context, j *judge.Judge, user document.User) error {
	v.user = user.ID
	out, _, err := j.Judge(ctx, v.active, judge.Input{Meaning: v.meaning, User: user, Envelope: v.hash, Now: v.now})
	switch {
	case err != nil:
		return &failure{Code: codeNotDecidable, Detail: "the rules cannot be applied", Cause: err}
	case out.Verdict == rules.Ask:
		v.needed, v.asks = out.Reasons, out.Asks
		v.count()
	case out.Verdict != rules.Allow && !v.stored.Ended && !v.rejected():
		v.denied = problem(codeNotDecidable, denial(out.Reasons))
	}
	return nil
}

// denial is the first reason of a denial, in words.
func denial(reasons []message.Reason) string {
	if len(reasons) == 0 {
		return "the rules deny it"
	}
	return reasons[0].Code + ": " + reasons[0].Detail
}

func (v *view) poll() poll {
	return poll{v.active, v.ballot, wanted(v.meaning, v.hash), v.user, v.now, v.frozen}
}

// count tallies the ballot for each rule that asks.
func (v *view) count() { v.asked = v.poll().ask(v.asks) }

func (v *view) expired() bool { return !v.now.Before(v.meaning.Statement.Expires.Time) }

func (v *view) rejected() bool { return len(v.ballot.rejections()) > 0 }

// open says whether a vote may still change something.
func (v *view) open() bool {
	return !v.stored.Ended && !v.expired() && !v.rejected() && v.asked.open() != nil
}

// lacking is how many persons have agreed, and how many must, of the rule that
// lacks most; 0 of 0 where nobody is asked.
func (v *view) lacking() (approvals, quorum int) {
	if q := v.asked.worst(); q != nil {
		return len(q.tally.Persons), q.quorum
	}
	return 0, 0
}

func (v *view) summary() api.Summary {
	s := v.meaning.Statement
	out := api.Summary{
		ID: s.ID, Kind: s.Kind, Wallet: v.meaning.Wallet, Account: v.meaning.Account,
		Submitted: message.At(v.stored.Submitted), Expires: s.Expires,
	}
	out.Approvals, out.Quorum = v.lacking()
	return out
}

func (v *view) approval() api.Approval {
	s := v.meaning.Statement
	out := api.Approval{
		ID: s.ID, Deployment: v.envelope.Deployment,
		Envelope: v.stored.Envelope, EnvelopeHash: v.hash, Descriptor: v.meaning.DescriptorBytes,
		Kind: s.Kind, Wallet: v.meaning.Wallet, Account: v.meaning.Account, User: v.user,
		Digests: append([]message.Digest{}, v.meaning.Digests...), Effects: effects(v.meaning.Effects),
		Needed: append([]message.Reason{}, v.needed...), Policy: v.active.Ref,
		Submitted: message.At(v.stored.Submitted), Expires: s.Expires,
		Votes: []api.Vote{}, Asks: []api.Ask{}, Rejected: v.rejected(), Open: v.open(),
	}
	out.Approvals, out.Quorum = v.lacking()
	for _, q := range v.asked {
		out.Asks = append(out.Asks, api.Ask{
			Rule: q.rule, Reason: q.reason, Approvers: append([]string{}, q.voters...),
			Approvals: len(q.tally.Persons), Quorum: q.quorum,
		})
	}
	for _, c := range v.ballot {
		out.Votes = append(out.Votes, api.Vote{
			Approver: c.vote.Approver, Decision: c.vote.Decision, Expires: c.vote.Expires, Counts: v.counts(c),
		})
	}
	return out
}

// counts says whether a vote does, were it the only one.
func (v *view) counts(c cast) bool {
	if c.vote.Decision != message.Approve {
		return true
	}
	alone := v.poll()
	alone.ballot = ballot{c}
	return len(alone.ask(v.asks).evidence()) == 1
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
