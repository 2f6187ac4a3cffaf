// Package judge applies one role's section of the policy document to one
// request: what the rules say, on what this role has approved before, and what
// is to be recorded should the request be approved. The deciders work with it,
// and so do the commands that try a document out before it is live, so that
// both come to the same decision by the same code.
//
// A judge whose approvals are kept no longer than its rules look back (Retain)
// fails, and is to be told of all of them again, where later rules look further.
//
// It trusts the policy document, the meaning that its own service computed and
// the role's own records. Whose the request is, and that its signature and grant
// hold, was verified before: see document.VerifyUser. It reads no database, it
// never counts what was not replayed to it, and where it fails nothing is
// allowed.
package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// CodeAllows is the reason code of an approval: the rule that allows. Those of
// package rules come besides.
const CodeAllows = "rule_allows"

// ErrForgotten says that the rules look further back than what was kept of the
// past: all records must be replayed again. See Retain.
var ErrForgotten = errors.New("the rules look further back than what is in memory")

// ErrMeaning says that no chain has decoded what is to be signed.
var ErrMeaning = errors.New("the request's transaction was not decoded")

// Input is what a role judges on.
type Input struct {
	Meaning transaction.Meaning
	// User is whose the request is.
	User     document.User
	Envelope message.Hash
	Now      time.Time
}

// Judge judges for one role. Its state is the fold of the role's records. It is
// safe for concurrent use.
type Judge struct {
	role  string
	watch *clock.Watch

	mu     sync.Mutex
	ledger *ledger.Ledger
	keep   time.Duration // how long the ledger keeps approvals; 0: nobody has said yet
	sets   []compiled    // newest last
}

// compiled is a document's section, ready for use.
type compiled struct {
	active *document.Active
	set    *rules.Set
}

// keptSets is how many documents' rules are kept: the active one's and, while a
// newer one is being activated, that one's.
const keptSets = 2

// New returns a judge with an empty history. The watch judges how old approvals
// are; nil is the system's.
func New(role string, watch *clock.Watch) *Judge {
	if watch == nil {
		watch = &clock.Watch{}
	}
	watch.Read() // from now on a jump is one
	return &Judge{role: role, watch: watch, ledger: ledger.New(watch)}
}

// Replay counts one approval of the past.
func (j *Judge) Replay(body []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledger.Replay(body)
}

// Mark begins what may be taken back.
func (j *Judge) Mark() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.Mark()
}

// Undo takes back what was replayed since Mark.
func (j *Judge) Undo() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.Undo()
}

// Keep says that what was replayed since Mark counts for good.
func (j *Judge) Keep() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.Keep()
}

// Retain has what no rule of a document looks back on be forgotten, and reports
// whether the rest is there. If not, Judge fails until Forget was called and all
// records were replayed. Without a document, nil, the least is kept, unless there
// was one before. Nothing is ever forgotten where Retain is not called.
func (j *Judge) Retain(active *document.Active) (complete bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if active == nil {
		j.keep = max(j.keep, ledger.LeastRetention)
		j.ledger.Retain(j.keep)
		return true
	}
	set, err := j.setOf(active)
	if err != nil {
		return true // nothing is decided by such rules
	}
	j.keep = max(set.Window(), ledger.LeastRetention)
	j.ledger.Retain(j.keep)
	return j.ledger.Complete(set.Window())
}

// Forget forgets what was replayed. How long approvals are kept stays.
func (j *Judge) Forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger = ledger.New(j.watch)
	if j.keep > 0 {
		j.ledger.Retain(j.keep)
	}
}

// Judge applies the role's rules of a document. Unless they deny, the records
// are what must be replayed, and kept, before the request may be approved: it
// counts from then on. Where they ask people, that is when these have agreed.
func (j *Judge) Judge(ctx context.Context, active *document.Active, in Input) (rules.Outcome, [][]byte, error) {
	return j.judge(ctx, active, in, (*rules.Set).Evaluate)
}

// Explain is Judge for people to read: the outcome tells of every rule what it
// came to, and why.
func (j *Judge) Explain(ctx context.Context, active *document.Active, in Input) (rules.Outcome, error) {
	out, _, err := j.judge(ctx, active, in, (*rules.Set).Explain)
	return out, err
}

type evaluate func(*rules.Set, context.Context, rules.Facts) rules.Outcome

func (j *Judge) judge(ctx context.Context, active *document.Active, in Input, by evaluate) (rules.Outcome, [][]byte, error) {
	if signs(in.Meaning.Statement.Kind) && in.Meaning.Transaction == nil {
		return rules.Outcome{}, nil, ErrMeaning
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	set, err := j.setOf(active)
	if err != nil {
		return rules.Outcome{}, nil, err
	}
	facts := rules.Facts{Meaning: in.Meaning, User: in.User, Now: in.Now}
	now := j.watch.At(in.Now)
	var event ledger.Event
	if !j.ledger.Complete(set.Window()) {
		return rules.Outcome{}, nil, ErrForgotten
	}
	if j.remembers(set) {
		event, err = ledger.EventOf(in.Meaning, in.Envelope, in.User.ID)
		if errors.Is(err, ledger.ErrEffects) {
			return tooMany(in.Meaning), nil, nil
		}
		if err != nil {
			return rules.Outcome{}, nil, fmt.Errorf("reading what the request does: %w", err)
		}
		facts.History = j.ledger.View(event, now)
	}
	out := by(set, ctx, facts)
	switch out.Verdict {
	case rules.Allow:
		out.Reasons = append([]message.Reason{allowing(out)}, out.Reasons...)
	case rules.Ask:
	default:
		return out, nil, nil
	}
	if !j.counts(set, event, in.Meaning) {
		return out, nil, nil
	}
	body, err := j.ledger.Record(event, now)
	if err != nil {
		return rules.Outcome{}, nil, fmt.Errorf("recording an approval: %w", err)
	}
	return out, [][]byte{body}, nil
}

// tooMany denies a request of which not all that it does could be counted.
func tooMany(m transaction.Meaning) rules.Outcome {
	detail := fmt.Sprintf("it does %d things, and no more than %d are counted", m.Effects.Count(), transaction.MaxEffects)
	return rules.Outcome{Verdict: rules.Deny, Reasons: []message.Reason{{Code: rules.CodeUnknownCall, Detail: detail}}}
}

// remembers says whether the role keeps what it approves: where its rules look at
// that, and fraud always, so that a limit that is written later finds the past.
func (j *Judge) remembers(set *rules.Set) bool {
	return j.role == message.RoleFraud || set.UsesHistory()
}

// counts says whether an approval goes on record. Where no rule counts requests,
// only one that puts an amount at risk does; a dry run never.
func (j *Judge) counts(set *rules.Set, event ledger.Event, m transaction.Meaning) bool {
	return !m.Statement.DryRun && j.remembers(set) && (set.UsesHistory() || len(event.Amounts) > 0)
}

// signs says whether requests of a kind are of a chain, to be signed.
func signs(kind message.Kind) bool {
	switch kind {
	case message.KindWalletCreate, message.KindAccountCreate,
		message.KindPolicyUpdate, message.KindWalletFreeze, message.KindUserFreeze:
		return false
	}
	return true
}

// allowing names the first rule that allowed.
func allowing(out rules.Outcome) message.Reason {
	i := slices.IndexFunc(out.Trace, func(s rules.Step) bool { return s.Value && s.Effect == document.EffectAllow })
	if i < 0 {
		return message.Reason{Code: CodeAllows}
	}
	return message.Reason{Code: CodeAllows, Detail: "rule " + out.Trace[i].Rule}
}

// Check compiles the rules of all roles, each of which would otherwise be left
// to find out by itself that it must deny everything. It is what a policy
// service asks before it activates a document.
func (j *Judge) Check(active *document.Active) error {
	var faults []error
	for _, role := range message.PolicyRoles() {
		if role != j.role {
			_, err := compile(active, role)
			faults = append(faults, err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.setOf(active)
	return errors.Join(append(faults, err)...)
}

// setOf returns the rules of a document; documents never change and follow one
// another seldom.
func (j *Judge) setOf(active *document.Active) (*rules.Set, error) {
	for _, c := range slices.Backward(j.sets) {
		if c.active == active {
			return c.set, nil
		}
	}
	set, err := compile(active, j.role)
	if err != nil {
		return nil, err
	}
	if len(j.sets) == keptSets {
		j.sets = slices.Delete(j.sets, 0, 1)
	}
	j.sets = append(j.sets, compiled{active, set})
	return set, nil
}

func compile(active *document.Active, role string) (*rules.Set, error) {
	if err := complete(active); err != nil {
		return nil, err
	}
	set, err := rules.Compile(active.Document, role, active.Files())
	if err != nil {
		return nil, fmt.Errorf("rules of %s: %w", role, err)
	}
	return set, nil
}

// complete says whether the files of all lists are there: nobody stands in one
// that is not.
func complete(active *document.Active) error {
	for _, l := range active.Lists {
		if l.File != nil && active.Files()[l.File.SHA256] == nil {
			return fmt.Errorf("list %s: %w: file %s is not attached", l.ID, document.ErrListFile, l.File.SHA256)
		}
	}
	return nil
}
