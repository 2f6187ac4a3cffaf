package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// Outcome is what came of one case.
type Outcome struct {
	Name     string   `json:"name"`
	Passed   bool     `json:"passed"`
	Decision Decision `json:"decision"`
	// Faults say what differs from what was expected, or why the case could
	// not be tried.
	Faults []string `json:"faults,omitempty"`
}

// Run tries one case of a file on a document.
func Run(ctx context.Context, doc *document.Document, files map[string]*document.ListFile, cases *Cases, c Case) Outcome {
	out := Outcome{Name: c.Name}
	decision, _, err := Decide(ctx, doc, files, cases, c)
	out.Decision = decision
	if err != nil {
		out.Faults = []string{err.Error()}
		return out
	}
	out.Faults = c.Expect.differences(decision)
	out.Passed = len(out.Faults) == 0
	return out
}

// Decide puts a case's history on record and decides on its request.
func Decide(ctx context.Context, doc *document.Document, files map[string]*document.ListFile, cases *Cases, c Case) (Decision, Filing, error) {
	if err := c.strangers(doc); err != nil {
		return Decision{}, Filing{}, err
	}
	s, err := NewSandbox(doc, files)
	if err != nil {
		return Decision{}, Filing{}, err
	}
	s.names.given = cases.Names
	bench := NewBench(s.Active, c.start())
	nonces := map[string]uint64{} // the next, by account
	for i, earlier := range c.History {
		for range *earlier.Times {
			if err := s.past(ctx, bench, earlier, c.At.Add(-earlier.Ago), nonces); err != nil {
				return Decision{}, Filing{}, fmt.Errorf("history %d: %w", i+1, err)
			}
		}
	}
	f, err := s.File(ctx, c.Request, nonces[c.account()], c.At.Time)
	if err != nil {
		return Decision{}, f, err
	}
	d, err := bench.Explain(ctx, f, c.At.Time)
	return d, f, err
}

// strangers finds users whom the document does not have: a misspelled one would be
// denied for that alone, and in a history count for what no service approves. Who
// means a stranger says so by the reason that is expected.
func (c Case) strangers(doc *document.Document) error {
	var faults []error
	known := func(id string) bool {
		return slices.ContainsFunc(doc.Users, func(u document.User) bool { return u.ID == id })
	}
	for i, earlier := range c.History {
		if !known(earlier.User) {
			faults = append(faults, fmt.Errorf("history %d: the document has no user %q", i+1, earlier.User))
		}
	}
	if !known(c.User) && !slices.Contains(c.Expect.Reasons, document.CodeUnknownKey) {
		faults = append(faults, fmt.Errorf("the document has no user %q; a case about a stranger expects reasons: [%s]", c.User, document.CodeUnknownKey))
	}
	return errors.Join(faults...)
}

// start is the time of the oldest request of a case.
func (c Case) start() time.Time {
	if len(c.History) == 0 {
		return c.At.Time
	}
	return c.At.Add(-c.History[0].Ago)
}

// account names the account that a request is about, for counting its nonces.
func (r Request) account() string {
	return strings.Join([]string{r.Wallet.ID, r.owner(), r.Account.ID, or(r.Account.Chain, defaultChain)}, "\n")
}

// past puts an earlier request on every role's record.
func (s *Sandbox) past(ctx context.Context, bench *Bench, earlier Earlier, at time.Time, nonces map[string]uint64) error {
	account := earlier.account()
	f, err := s.File(ctx, earlier.Request, nonces[account], at)
	if err != nil {
		return err
	}
	if details := f.Meaning.Effects.Details; details != nil && details.Nonce != nil {
		nonces[account] = max(nonces[account], *details.Nonce+1)
	}
	for _, role := range roles {
		if err := bench.Record(role, f, earlier.User, at); err != nil {
			return err
		}
	}
	return nil
}

// differences say in words what is not as expected.
func (e Expectation) differences(d Decision) (out []string) {
	differ := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if d.Verdict != e.Verdict {
		differ("the verdict is %s, not %s", d.Verdict, e.Verdict)
	}
	deciding := d.deciding(e.Role)
	if e.Role != "" && d.Of(e.Role).Verdict != e.Verdict {
		differ("%s says %s, not %s", e.Role, d.Of(e.Role).Verdict, e.Verdict)
	}
	if e.Rule != "" && !slices.ContainsFunc(deciding, func(r Role) bool { return slices.Contains(r.Rules, e.Rule) }) {
		differ("rule %s does not decide; it is %s", e.Rule, strings.Join(ruleNames(deciding), ", "))
	}
	for _, code := range e.Reasons {
		if !slices.Contains(codes(d.Roles), code) {
			differ("%s is not among the reasons: %s", code, strings.Join(codes(d.Roles), ", "))
		}
	}
	return append(out, e.asked(d)...)
}

// asked compares whom a rule asks.
func (e Expectation) asked(d Decision) (out []string) {
	if len(e.Approvers) == 0 && e.Quorum == 0 {
		return nil
	}
	asks := d.Of(message.RoleApproval).Asks
	i := slices.IndexFunc(asks, func(a Asking) bool { return a.Rule == e.Rule })
	if i < 0 {
		return []string{fmt.Sprintf("rule %s asks nobody", e.Rule)}
	}
	if len(e.Approvers) > 0 && !slices.Equal(asks[i].Approvers, e.Approvers) {
		out = append(out, fmt.Sprintf("rule %s asks %s, not %s", e.Rule, strings.Join(asks[i].Approvers, ", "), strings.Join(e.Approvers, ", ")))
	}
	if e.Quorum > 0 && asks[i].Quorum != e.Quorum {
		out = append(out, fmt.Sprintf("rule %s asks %d persons, not %d", e.Rule, asks[i].Quorum, e.Quorum))
	}
	return out
}

// deciding are the roles that make the verdict: those that say the same, or the
// one that is asked for.
func (d Decision) deciding(role string) (out []Role) {
	for _, r := range d.Roles {
		if (role == "" && r.Verdict == d.Verdict) || r.Role == role {
			out = append(out, r)
		}
	}
	return out
}

// ruleNames are the rules that decided, as role/rule.
func ruleNames(of []Role) (out []string) {
	for _, r := range of {
		for _, rule := range r.Rules {
			out = append(out, r.Role+"/"+rule)
		}
	}
	if len(out) == 0 {
		return []string{"no rule"}
	}
	return out
}

// codes are the codes of all reasons.
func codes(of []Role) (out []string) {
	for _, r := range of {
		for _, reason := range r.Reasons {
			if !slices.Contains(out, reason.Code) {
				out = append(out, reason.Code)
			}
		}
	}
	return out
}

// Undecided are the rules of a document, as role/rule, that decide none of the
// cases: nobody has tried them out.
func Undecided(doc *document.Document, outcomes []Outcome) (out []string) {
	decided := map[string]bool{}
	for _, o := range outcomes {
		for _, name := range ruleNames(o.Decision.Roles) {
			decided[name] = true
		}
	}
	for _, role := range roles {
		for _, rule := range doc.Rules.Of(role) {
			if name := role + "/" + rule.ID; !decided[name] {
				out = append(out, name)
			}
		}
	}
	return out
}
