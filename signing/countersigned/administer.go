package countersigned

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// CodePolicy says that the document of a policy.update cannot follow the active
// one.
const CodePolicy = "policy_refused"

// PolicyOutput is the output of policy.update.
type PolicyOutput struct {
	Version int          `json:"version"`
	Hash    message.Hash `json:"hash"`
}

// FreezeOutput is the output of wallet.freeze and user.freeze. Freeze is the
// request's id, which a policy document names to thaw it.
type FreezeOutput struct {
	Freeze string `json:"freeze"`
	Wallet string `json:"wallet,omitempty"`
	User   string `json:"user,omitempty"`
}

// opensNothing says whether a request needs no key at all. Nothing was released
// for it either.
func (r *Request) opensNothing() bool {
	return r.meaning.Statement.DryRun || r.meaning.Freeze != nil || r.meaning.PolicyUpdate != nil
}

// administer carries out what opens nothing. A freeze is in force by the roles'
// own records; here it ends.
func (r *Request) administer(ctx context.Context) (Outcome, error) {
	if err := r.fresh(); err != nil {
		return Outcome{}, err
	}
	switch f := r.meaning.Freeze; {
	case r.meaning.Statement.DryRun:
		return done(r.wouldBe())
	case f != nil:
		return done(FreezeOutput{Freeze: r.id, Wallet: f.Wallet, User: f.User})
	}
	return r.updatePolicy(ctx)
}

func done(output any) (Outcome, error) {
	encoded, err := message.Encode(output)
	return Outcome{Status: message.StatusDone, Output: encoded}, err
}

// updatePolicy hands out a document to be published. The quorum's signatures
// decide on it, here and wherever it is read.
func (r *Request) updatePolicy(ctx context.Context) (Outcome, error) {
	if r.meaning.PolicyUpdate == nil {
		return Outcome{}, errors.New("request asks for nothing that is known")
	}
	bundle := *r.meaning.PolicyUpdate
	if err := r.v.cfg.Examine(ctx, bundle); err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	version, err := document.VersionOf(bundle.Document)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	out, err := done(PolicyOutput{Version: version, Hash: message.Sum(bundle.Document)})
	if err != nil {
		return out, err
	}
	out.Policy, err = message.Encode(bundle)
	return out, err
}

// unfit says why the document that a request carries cannot follow the active
// one; nil if it can, or if it carries none.
func (x *examination) unfit(ctx context.Context) *message.Reason {
	if x.meaning.PolicyUpdate == nil {
		return nil
	}
	if err := x.v.cfg.Examine(ctx, *x.meaning.PolicyUpdate); err != nil {
		return &message.Reason{Code: CodePolicy, Detail: detail(err)}
	}
	return nil
}

// wouldBe is what the roles would decide, within the bounds of a result.
func (r *Request) wouldBe() message.DryRun {
	out := message.DryRun{}
	for _, a := range r.approvals {
		reasons := append([]message.Reason{}, bounded(a.reasons)...)
		out.Decisions = append(out.Decisions, message.RoleDecision{Role: a.role, Decision: a.decision, Reasons: reasons})
	}
	return out
}
