// Package rules decides a request by the rules of a policy document: CEL
// conditions over typed variables, compiled and checked when the document is
// loaded, evaluated once per request.
//
// It trusts the document to be verified and the facts to be computed by the
// caller from the signed bytes. It never skips a rule that fails (it denies),
// never lets one rule hide another, reads no clock, no file and no network, and
// changes nothing.
package rules

import (
	"context"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction"
)

// Reason codes of rules; they are stable. A signal that fired has the code
// signal_<name>, see Signals.
const (
	// CodeFailed: a rule could not be evaluated, which denies.
	CodeFailed = "rule_failed"
	// CodeDenies: a rule denies.
	CodeDenies = "rule_denies"
	// CodeAsks: a rule asks people.
	CodeAsks = "rule_asks"
	// CodeNoRule: no rule allows the request.
	CodeNoRule = "no_rule_allows"
	// CodeUnknownCall: the request does something that is not understood, and
	// rules that would allow it do not cover that.
	CodeUnknownCall = "unknown_call"
)

// Files answers whether an account (CAIP-10, of eip155 in lower case) stands
// in the list file with a SHA-256 digest (hex).
type Files interface {
	Has(sha256 string, account string) bool
}

// History answers what was approved before, as ledger.View does. All of it
// leaves out the request's own envelope; windows reach back from the time of
// the facts. Scopes are those of the package ledger, ids are those of the user,
// wallet and account, the asset itself, and the destination (CAIP-10).
type History interface {
	Totals
	Destinations
	Comparisons
}

// Totals are what history.* reads.
type Totals interface {
	// Sum is how much of an asset was approved within the window.
	Sum(scope, id, asset string, window time.Duration) *big.Int
	// Count is how many requests were; asset "" means of any.
	Count(scope, id, asset string, window time.Duration) int
}

// Destinations tells known destinations from new ones, for the signals.
type Destinations interface {
	// FirstUse says that nothing was approved for the destination before.
	FirstUse(destination string) bool
	// Lookalike returns an account used before that the destination resembles
	// and is not.
	Lookalike(destination string) (known string, ok bool)
}

// Comparisons hold the request against earlier ones, for the signals.
type Comparisons interface {
	// Duplicates is how many requests of the same content were approved within
	// the window.
	Duplicates(window time.Duration) int
	// Habit compares an amount with the earlier ones of the scope (user or
	// wallet of this request).
	Habit(scope, asset string, amount *big.Int) ledger.Habit
	// Nonce compares this request's nonce with the account's earlier ones.
	Nonce() ledger.Nonce
}

// Facts are what rules are evaluated over.
type Facts struct {
	Meaning transaction.Meaning
	// User is who asks; its zero value, where nobody is known, makes user.*
	// fail.
	User document.User
	Now  time.Time
	// History may be nil, which makes history.* and the signals that need it
	// fail.
	History History
}

// Verdict is what the rules of a role say together.
type Verdict string

// The verdicts.
const (
	Allow Verdict = "allow"
	Ask   Verdict = "ask" // people must agree
	Deny  Verdict = "deny"
)

// Asking is one rule that asks people. Approvers and Quorum are as in the rule:
// empty and 0 mean those of the section approval.
type Asking struct {
	Rule, Reason string
	Approvers    []string
	Quorum       int
}

// Step says how one rule was evaluated.
type Step struct {
	Rule   string
	Effect document.Effect
	// Applies is false where the rule's kinds, or calls that are not
	// understood, keep it from being asked.
	Applies bool
	Value   bool
	// Err says why the condition has no value.
	Err string
	// Why gives what the condition read, in words; only of Explain.
	Why string
}

// Outcome is what the rules of a role say about a request. Reasons stand in
// the order of their weight: the deciding rules first, then what is not
// understood, then the signals that fired.
type Outcome struct {
	Verdict Verdict
	Reasons []message.Reason
	Asks    []Asking
	Trace   []Step
}

// Evaluate asks every rule that applies and combines them: a rule that fails
// denies, deny wins over ask, ask over allow, and without any of them the
// request is denied. It never panics. It is safe for concurrent use if the
// history is.
func (s *Set) Evaluate(ctx context.Context, f Facts) Outcome { return s.evaluate(ctx, f, false) }

// Explain is Evaluate with the values that each rule read.
func (s *Set) Explain(ctx context.Context, f Facts) Outcome { return s.evaluate(ctx, f, true) }

// UsesHistory says that some rule asks for history or for a signal that needs
// it.
func (s *Set) UsesHistory() bool { return s.history }

// Warning is something in a document that is most likely not meant.
type Warning struct {
	Role, Rule   string
	Code, Detail string
}
