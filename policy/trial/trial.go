// Package trial tries a policy document before it is live: on a file of cases,
// on one request, or on the recorded requests of a period. Every decision is
// made by package judge and document.VerifyUser, as the services make them, so
// that a trial cannot come out differently.
//
// It trusts whoever tries the document out, and the recorded requests that it is
// given. It signs nothing that counts, asks nobody, and writes nothing: wallets,
// accounts and keys of cases are made up.
package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// roles are those whose rules a trial applies, in the order in which they are
// shown.
var roles = message.PolicyRoles()

// Verdict is what a role, or all of them, say to a request.
type Verdict string

// The verdicts. None stands where a role was not asked, or nothing was decided.
const (
	Allow Verdict = "allow"
	Ask   Verdict = "ask" // people must agree
	Deny  Verdict = "deny"
	None  Verdict = "none"
)

// Role is what one role says.
type Role struct {
	Role    string  `json:"role"`
	Verdict Verdict `json:"verdict"`
	// Rules are the ids of the rules that decided; none where no rule did.
	Rules   []string         `json:"rules,omitempty"`
	Reasons []message.Reason `json:"reasons,omitempty"`
	Asks    []Asking         `json:"asks,omitempty"`
	Steps   []Step           `json:"steps,omitempty"`
}

// Asking is a rule that asks people, with who must agree: ids of approvers or
// groups, and how many different persons.
type Asking struct {
	Rule      string   `json:"rule"`
	Reason    string   `json:"reason,omitempty"`
	Approvers []string `json:"approvers"`
	Quorum    int      `json:"quorum"`
}

// Step says how one rule was evaluated: whether it applies to the request, its
// value or what is wrong with it, and what it read.
type Step struct {
	Rule    string          `json:"rule"`
	Effect  document.Effect `json:"effect"`
	Applies bool            `json:"applies"`
	Value   bool            `json:"value"`
	Error   string          `json:"error,omitempty"`
	Why     string          `json:"why,omitempty"`
}

// Decision is what all roles say: deny if one denies, ask if people must agree.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	User    string  `json:"user,omitempty"`
	Roles   []Role  `json:"roles"`
}

// Of returns what one role says.
func (d Decision) Of(role string) Role {
	for _, r := range d.Roles {
		if r.Role == role {
			return r
		}
	}
	return Role{Role: role, Verdict: None}
}

// Filing is one request, with what it means.
type Filing struct {
	Envelope message.Envelope
	Hash     message.Hash // of the envelope
	Meaning  transaction.Meaning
}

// Bench holds one judge for each role over one document. Its time is that of the
// request that it decides on, which must not go back. It is for one goroutine.
type Bench struct {
	active *document.Active
	now    time.Time
	watch  *clock.Watch
	judges map[string]*judge.Judge
}

// NewBench returns judges that have approved nothing yet.
func NewBench(active *document.Active, start time.Time) *Bench {
	b := &Bench{active: active, now: start, judges: map[string]*judge.Judge{}}
	b.watch = &clock.Watch{Now: func() time.Time { return b.now }}
	b.watch.Read() // the first reading
	for _, role := range roles {
		b.judges[role] = judge.New(role, b.watch)
		b.judges[role].Retain(active)
	}
	return b
}

// at moves the time on.
func (b *Bench) at(now time.Time) error {
	if now.Before(b.now) {
		return fmt.Errorf("request of %s comes after one of %s", now.UTC().Format(time.RFC3339), b.now.UTC().Format(time.RFC3339))
	}
	b.now = now
	return nil
}

// Decide says what each role would say to a request at a time. It puts nothing
// on record: see Record.
func (b *Bench) Decide(ctx context.Context, f Filing, now time.Time) (Decision, error) {
	return b.decide(ctx, f, now, func(ctx context.Context, j *judge.Judge, in judge.Input) (rules.Outcome, error) {
		out, _, err := j.Judge(ctx, b.active, in)
		return out, err
	})
}

// Explain is Decide with what each rule read.
func (b *Bench) Explain(ctx context.Context, f Filing, now time.Time) (Decision, error) {
	return b.decide(ctx, f, now, func(ctx context.Context, j *judge.Judge, in judge.Input) (rules.Outcome, error) {
		return j.Explain(ctx, b.active, in)
	})
}

// ErrExpired says that a document does not count any more at a time: services
// decide nothing then.
var ErrExpired = errors.New("the document has expired by then")

func (b *Bench) decide(ctx context.Context, f Filing, now time.Time,
	ask func(context.Context, *judge.Judge, judge.Input) (rules.Outcome, error),
) (Decision, error) {
	if err := b.at(now); err != nil {
		return Decision{}, err
	}
	if b.active.Expired(now) {
		return Decision{}, ErrExpired
	}
	user, reason := document.VerifyUser(b.active, f.Envelope, f.Meaning, now)
	if reason != nil {
		return stranger(*reason), nil
	}
	d := Decision{User: user.ID, Verdict: Allow}
	in := judge.Input{Meaning: f.Meaning, User: user, Envelope: f.Hash, Now: now}
	for _, role := range roles {
		outcome, err := ask(ctx, b.judges[role], in)
		if err != nil {
			return d, fmt.Errorf("%s: %w", role, err)
		}
		r := b.role(role, outcome)
		d.Roles, d.Verdict = append(d.Roles, r), worse(d.Verdict, r.Verdict)
	}
	return d, nil
}

// stranger is the decision on a request whose user may not ask for it: no role
// comes to its rules.
func stranger(reason message.Reason) Decision {
	d := Decision{Verdict: Deny}
	for _, role := range roles {
		d.Roles = append(d.Roles, Role{Role: role, Verdict: Deny, Reasons: []message.Reason{reason}})
	}
	return d
}

var verdicts = map[rules.Verdict]Verdict{rules.Allow: Allow, rules.Ask: Ask, rules.Deny: Deny}

// effects are what the rules that decide have as their effect.
var effects = map[Verdict]document.Effect{
	Allow: document.EffectAllow, Ask: document.EffectAsk, Deny: document.EffectDeny,
}

func (b *Bench) role(role string, o rules.Outcome) Role {
	r := Role{Role: role, Verdict: verdicts[o.Verdict], Reasons: o.Reasons}
	if r.Verdict == "" {
		r.Verdict = Deny
	}
	for _, ask := range o.Asks {
		r.Asks = append(r.Asks, b.asking(ask))
	}
	failed := slices.ContainsFunc(o.Trace, func(s rules.Step) bool { return s.Err != "" })
	for _, s := range o.Trace {
		r.Steps = append(r.Steps, Step{s.Rule, s.Effect, s.Applies, s.Value, s.Err, s.Why})
		decides := s.Applies && s.Value && s.Effect == effects[r.Verdict]
		if failed {
			decides = s.Err != ""
		}
		if decides {
			r.Rules = append(r.Rules, s.Rule)
		}
	}
	b.refuseUnanswerable(&r)
	return r
}

// codeNoApprovers is the approval service's reason where a rule asks nobody.
const codeNoApprovers = "no_approvers"

// refuseUnanswerable denies where a rule asks people and the document names
// none, as the approval service does.
func (b *Bench) refuseUnanswerable(r *Role) {
	var nobody Role
	for _, a := range r.Asks {
		if a.Quorum < 1 || len(b.active.Voters(a.Approvers)) == 0 {
			nobody.Rules = append(nobody.Rules, a.Rule)
			nobody.Reasons = append(nobody.Reasons, message.Reason{
				Code: codeNoApprovers, Detail: "rule " + a.Rule + " asks people, but the policy names none",
			})
		}
	}
	if nobody.Rules != nil {
		r.Verdict, r.Rules, r.Reasons = Deny, nobody.Rules, append(nobody.Reasons, r.Reasons...)
	}
}

// asking fills in whom the section approval asks where the rule names nobody.
func (b *Bench) asking(a rules.Asking) Asking {
	out := Asking{a.Rule, a.Reason, a.Approvers, a.Quorum}
	if len(out.Approvers) == 0 {
		out.Approvers = b.active.Approval.Approvers
	}
	if out.Quorum == 0 {
		out.Quorum = b.active.Approval.Quorum
	}
	return out
}

// severity orders the verdicts.
var severity = map[Verdict]int{Allow: 0, Ask: 1, Deny: 2}

func worse(a, b Verdict) Verdict {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

// Record puts on a role's record that it approved a request at a time, whatever
// its rules say.
func (b *Bench) Record(role string, f Filing, user string, now time.Time) error {
	if err := b.at(now); err != nil {
		return err
	}
	event, err := ledger.EventOf(f.Meaning, f.Hash, user)
	if errors.Is(err, ledger.ErrEffects) {
		return nil // no role keeps it either
	}
	if err != nil {
		return err
	}
	body, err := ledger.New(b.watch).Record(event, b.watch.Read())
	if err != nil {
		return err
	}
	return b.judges[role].Replay(body)
}
