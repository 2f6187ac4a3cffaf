package trial

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// Recorded is one request as it lies in the database, with what became of it.
// Nothing in it is verified here but the user's signature.
type Recorded struct {
	ID        string
	Body      []byte // the envelope
	Submitted time.Time
	// Status is that of the result; empty while there is none.
	Status message.Status
	// Replies are the last decision of each role that has decided.
	Replies map[string]message.Approval
}

// Change is one request, with what was decided and what the draft decides.
type Change struct {
	Request   string       `json:"request"`
	Kind      message.Kind `json:"kind"`
	User      string       `json:"user,omitempty"`
	Submitted time.Time    `json:"submitted"`
	From      Verdict      `json:"from"`
	To        Verdict      `json:"to"`
	// Why says what has decided: of the draft, or where that lets the request
	// pass, of the past.
	Why []message.RoleReason `json:"why"`
	// Rules are those of the draft that decide, as role/rule.
	Rules []string `json:"rules,omitempty"`
}

// Simulation is what a draft would have decided in a period.
type Simulation struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Decided int       `json:"decided"`
	// Undecided were not decided by rules: they are open, expired, cancelled, or
	// were refused for what no document says.
	Undecided int `json:"undecided"`
	// Unreadable mean nothing to this release.
	Unreadable int `json:"unreadable"`
	// Earlier requests, from EarlierSince on, were taken into account.
	Earlier      int       `json:"earlier"`
	EarlierSince time.Time `json:"earlier_since"`
	Changes      []Change  `json:"changes"`
	// Verdicts counts what the draft decides, Moves what changes, as "allow to
	// deny".
	Verdicts map[Verdict]int `json:"verdicts"`
	Moves    map[string]int  `json:"moves"`
}

// Simulator decides recorded requests again under a draft.
type Simulator struct {
	interpreter transaction.Interpreter
	bench       *Bench
	out         Simulation
}

// maxAccounts bounds the decoded account descriptors that are remembered.
const maxAccounts = 4096

// NewSimulator returns a simulator of the period. The descriptors are those that
// are stored.
func NewSimulator(active *document.Active, in transaction.Interpreter, since, until time.Time) *Simulator {
	in.Accounts = transaction.NewAccounts(maxAccounts)
	begin := beginning(active, since)
	return &Simulator{
		interpreter: in, bench: NewBench(active, begin),
		out: Simulation{
			Since: since.UTC(), Until: until.UTC(), EarlierSince: begin.UTC(), Changes: []Change{},
			Verdicts: map[Verdict]int{}, Moves: map[string]int{},
		},
	}
}

// beginning is from when requests bear on those from since on: as far before as
// the rules of any role look back, and ledger.Lookback at least. No request is
// older than 1970.
func beginning(active *document.Active, since time.Time) time.Time {
	window := ledger.Lookback
	for _, role := range roles {
		if set, err := rules.Compile(active.Document, role, active.Files()); err == nil { // else nothing can be decided
			window = max(window, set.Window())
		}
	}
	begin := since.Truncate(time.Second).Add(-window).Truncate(time.Second) // the ledger counts in whole seconds
	if begin.Unix() > 0 {
		return begin
	}
	return time.Unix(min(0, since.Unix()), 0)
}

// Begin is the time from which on Run must be given requests.
func (s *Simulator) Begin() time.Time { return s.out.EarlierSince }

// Run decides the requests, which come in the order of their time, from Begin on.
func (s *Simulator) Run(ctx context.Context, requests iter.Seq2[Recorded, error]) (Simulation, error) {
	for r, err := range requests {
		if err != nil {
			return s.out, err
		}
		if err := s.one(ctx, r); err != nil {
			return s.out, fmt.Errorf("request %s: %w", r.ID, err)
		}
	}
	return s.out, nil
}

// Explain decides one request as of the time when it was submitted, after those
// that were approved before.
func (s *Simulator) Explain(ctx context.Context, before iter.Seq2[Recorded, error], r Recorded) (Decision, Filing, error) {
	if _, err := s.Run(ctx, before); err != nil {
		return Decision{}, Filing{}, err
	}
	f, err := Read(ctx, s.interpreter, r)
	if err != nil {
		return Decision{}, f, fmt.Errorf("request %s: %w", r.ID, err)
	}
	d, err := s.bench.Explain(ctx, f, r.Submitted)
	return d, f, err
}

func (s *Simulator) one(ctx context.Context, r Recorded) error {
	f, err := Read(ctx, s.interpreter, r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		if !r.Submitted.Before(s.out.Since) {
			s.out.Unreadable++
		}
		return nil
	case administrative(f.Meaning.Statement):
		return nil
	case r.Submitted.Before(s.out.Since):
		s.out.Earlier++
		return s.remember(r, f)
	}
	return s.decide(ctx, r, f)
}

// Read interprets a recorded request.
func Read(ctx context.Context, in transaction.Interpreter, r Recorded) (Filing, error) {
	var env message.Envelope
	if err := message.Decode(r.Body, &env); err != nil {
		return Filing{}, err
	}
	return Interpret(ctx, in, env)
}

// administrative requests move nothing, and dry runs count nothing: they are not
// compared.
func administrative(s message.Statement) bool {
	switch s.Kind {
	case message.KindPolicyUpdate, message.KindWalletFreeze, message.KindUserFreeze:
		return true
	}
	return s.DryRun
}

// remember puts on record what the roles approved before the period.
func (s *Simulator) remember(r Recorded, f Filing) error {
	user := s.user(f, r.Submitted)
	for _, role := range roles {
		if !approved(r, role) {
			continue
		}
		if err := s.bench.Record(role, f, user, r.Submitted); err != nil {
			return err
		}
	}
	return nil
}

// user names who asked, as far as the draft knows; whether the signature holds
// was for the services to say then.
func (s *Simulator) user(f Filing, at time.Time) string {
	user, reason := document.VerifyUser(s.bench.active, f.Envelope, f.Meaning, at)
	if reason != nil {
		return ""
	}
	return user.ID
}

func approved(r Recorded, role string) bool { return r.Replies[role].Decision == message.Approve }

// decide compares one request of the period, and puts on record what each role
// would have approved: what it lets pass, and what it asks people about if these
// agreed.
func (s *Simulator) decide(ctx context.Context, r Recorded, f Filing) error {
	d, err := s.bench.Decide(ctx, f, r.Submitted)
	if err != nil {
		return err
	}
	for _, role := range d.Roles {
		if role.Verdict == Allow || (role.Verdict == Ask && approved(r, role.Role)) {
			if err := s.bench.Record(role.Role, f, d.User, r.Submitted); err != nil {
				return err
			}
		}
	}
	before := r.verdict()
	if before == None {
		s.out.Undecided++
		return nil
	}
	s.out.Decided++
	s.out.Verdicts[d.Verdict]++
	if before != d.Verdict {
		s.out.Moves[string(before)+" to "+string(d.Verdict)]++
		s.out.Changes = append(s.out.Changes, change(r, f, before, d))
	}
	return nil
}

func change(r Recorded, f Filing, before Verdict, d Decision) Change {
	c := Change{
		Request: r.ID, Kind: f.Meaning.Statement.Kind, User: d.User, Submitted: r.Submitted.UTC(),
		From: before, To: d.Verdict, Why: []message.RoleReason{},
	}
	for _, role := range d.Roles {
		if role.Verdict != d.Verdict {
			continue
		}
		for _, rule := range role.Rules {
			c.Rules = append(c.Rules, role.Role+"/"+rule)
		}
		if d.Verdict != Allow {
			c.Why = append(c.Why, reasonsOf(role.Role, role.Reasons)...)
		}
	}
	if d.Verdict == Allow {
		for _, role := range roles {
			c.Why = append(c.Why, reasonsOf(role, r.Replies[role].Reasons)...)
		}
	}
	return c
}

func reasonsOf(role string, reasons []message.Reason) (out []message.RoleReason) {
	for _, reason := range reasons {
		out = append(out, message.RoleReason{Role: role, Reason: reason})
	}
	return out
}

// verdict is what the rules of that time said, as far as it can be told: deny if
// a role has refused because of them, ask if people were asked, and none if the
// request was not decided by rules.
func (r Recorded) verdict() Verdict {
	out := Allow
	for _, role := range roles {
		v := verdictOf(r.Replies[role])
		if v == Deny {
			return Deny
		}
		if v == None || out == None {
			out = None
			continue
		}
		out = worse(out, v)
	}
	return out
}

// codePeople is the approval service's reason where a person has rejected: the
// rules had asked.
const codePeople = "rejected_by_approver"

// notOfRules are reasons of rejections that no rule and no grant has made.
var notOfRules = []string{
	"expired", "frozen", "unknown_generation", "history_broken", "decider_failed", "invalid_envelope", "envelope_altered",
	"unknown_wallet", "descriptor_mismatch", "unknown_kind", "invalid_payload", "not_interpretable", "signature_early",
}

func verdictOf(a message.Approval) Verdict {
	has := func(codes ...string) bool {
		return slices.ContainsFunc(a.Reasons, func(r message.Reason) bool { return slices.Contains(codes, r.Code) })
	}
	switch {
	case a.Decision == message.Approve && len(a.Evidence) > 0:
		return Ask // people voted
	case a.Decision == message.Approve:
		return Allow
	case a.Decision == message.Reject && has(codePeople):
		return Ask
	case a.Decision == message.Reject && !has(notOfRules...):
		return Deny
	}
	return None
}
