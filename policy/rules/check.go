package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// Codes of warnings; they are stable.
const (
	WarnFaulty         = "rules_faulty"       // they do not compile
	WarnNoAllow        = "section_denies_all" // no rule allows or asks
	WarnAllowsAll      = "allows_everything"
	WarnAlwaysTrue     = "always_true"
	WarnAlwaysFalse    = "always_false"
	WarnUnreachable    = "unreachable"
	WarnDuplicate      = "duplicate_condition"
	WarnAbsorbed       = "absorbed_error"
	WarnKinds          = "not_of_all_kinds"
	WarnUnused         = "unused"
	WarnUnusedApprover = "approvers_ignored" // of a rule that does not ask
	WarnGranted        = "granted_in_vain"   // no rule of a role lets the kind through
	WarnUnknown        = "not_in_document"   // a user, chain or asset
	WarnLongWindow     = "long_window"       // longer than longWindow
	WarnLeftOut        = "request_left_out"  // a sum of the past is bounded without the request
)

// longWindow is the longest window that is not warned of: a year, leap years
// included.
const longWindow = 366 * 24 * time.Hour

// Check returns what in the rules of all roles is most likely not meant, in
// the order of the document. None of it keeps the document from counting.
func Check(doc *document.Document, files Files) []Warning {
	c := &checker{doc: doc, mentioned: map[string]bool{}}
	for _, role := range message.PolicyRoles() {
		set, err := Compile(doc, role, files)
		if err != nil {
			c.warn(role, "", WarnFaulty, "%v", err)
			c.faulty = true
			continue
		}
		c.section(role, set)
	}
	if c.open == len(message.PolicyRoles()) {
		c.warn("", "", WarnAllowsAll, "every role allows every request that a grant lets through, whatever it does; write rules with a condition, or that deny")
	}
	if !c.faulty {
		c.unused()
	}
	return c.warnings
}

type checker struct {
	doc       *document.Document
	warnings  []Warning
	mentioned map[string]bool // string literals of all conditions
	faulty    bool
	open      int // sections that allow all that is granted
	steps     int // that questions took
}

func (c *checker) warn(role, rule, code, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{role, rule, code, fmt.Sprintf(format, args...)})
}

func (c *checker) section(role string, set *Set) {
	if !slices.ContainsFunc(set.rules, func(r *rule) bool { return r.Effect != document.EffectDeny }) {
		c.warn(role, "", WarnNoAllow, "no rule allows anything, so every request is denied; add a rule that allows")
	}
	views := make([]view, len(set.rules))
	for i, r := range set.rules {
		views[i] = c.view(set, r)
		c.single(role, views[i])
		for _, earlier := range views[:i] {
			c.pair(role, earlier, views[i])
			c.pair(role, views[i], earlier)
		}
		ast.PreOrderVisit(r.source.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
			if text, ok := stringLiteral(e); ok {
				c.mentioned[text] = true
			}
		}))
		for _, id := range r.Approvers {
			c.mentioned[id] = true
		}
	}
	for i := range views {
		c.duplicates(role, views, i)
	}
	if c.allowsGranted(views) {
		c.open++
	}
	c.granted(role, set)
	if set.Window() > longWindow {
		c.warn(role, "", WarnLongWindow, "its rules look back %s; what was approved in that time stays in memory, some 105 MiB a million; "+
			"name a shorter window if that is enough", shortDuration(set.Window()))
	}
}

// allowsGranted says whether in a section the rules together allow every kind that is
// granted to every user of the document, and none denies, asks or fails.
func (c *checker) allowsGranted(views []view) bool {
	refused := map[message.Kind][]formula{} // all of them must hold
	for _, v := range views {
		if v.Effect != document.EffectAllow || v.fails {
			return false
		}
		kinds := v.Kinds
		if len(kinds) == 0 {
			kinds = ruledKinds()
		}
		for _, kind := range kinds {
			refused[kind] = append(refused[kind], v.no)
		}
	}
	var users []string
	for _, u := range c.doc.Users {
		users = append(users, u.ID)
	}
	for _, g := range c.doc.Grants {
		if slices.ContainsFunc(g.Kinds, func(k message.Kind) bool { return !c.never(users, refused[k]...) }) {
			return false
		}
	}
	return len(c.doc.Grants) > 0
}

// granted warns of kinds that a grant gives and no rule of the role lets through.
func (c *checker) granted(role string, set *Set) {
	warned := map[message.Kind]bool{}
	for _, g := range c.doc.Grants {
		for _, kind := range g.Kinds {
			lets := func(r *rule) bool {
				return r.Effect != document.EffectDeny && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, kind))
			}
			if !warned[kind] && !slices.ContainsFunc(set.rules, lets) {
				warned[kind] = true
				c.warn(role, "", WarnGranted, "%s is granted, and no rule allows or asks about it; add one, or take the grant back", kind)
			}
		}
	}
}

// view is a rule as Check compares it: its condition in one form, and what it says
// where it is true, and where it is not.
type view struct {
	*rule
	whole    string
	yes, no  formula
	fails    bool    // it may
	constant ref.Val // nil where it depends on the request
}

func (c *checker) view(s *Set, r *rule) view {
	root := r.source.ast.Expr()
	v := view{
		rule: r, whole: r.source.text(root), constant: s.constantOf(r),
		yes: r.source.formula(root, true), no: r.source.formula(root, false),
	}
	// A value that does not hang on the request is there even where a part fails; what a
	// condition reads that looks at the kind is not known.
	v.fails = v.constant != types.True && (!r.source.certain(root) || r.source.looksAtKind())
	switch {
	case v.constant == types.True, v.constant == nil && !v.fails && c.never(nil, v.no):
		v.constant, v.yes, v.no = types.True, formula{all: true}, formula{}
	case v.constant == types.False, c.never(nil, v.yes):
		v.constant, v.yes, v.no = types.False, formula{}, formula{all: true}
	}
	return v
}

// allowsAll says that the rule allows whatever it is about.
func (v view) allowsAll() bool { return v.Effect == document.EffectAllow && v.constant == types.True }

// text writes an expression in one form, whatever its spaces and brackets.
func (c *condition) text(e ast.Expr) string {
	text, err := cel.ExprToString(e, c.ast.SourceInfo())
	if err != nil {
		return fmt.Sprintf("%s#%d", c.rule.When, e.ID()) // like nothing else
	}
	return text
}

// constantOf evaluates a condition with everything unknown: what has a value
// even so, has it always.
func (s *Set) constantOf(r *rule) ref.Val {
	program, err := s.program(r.checked, cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval))
	if err != nil {
		return nil
	}
	vars, err := s.env.PartialVars(map[string]any{})
	if err != nil {
		return nil
	}
	unknown := types.NewUnknown(1, types.NewAttributeTrail("request"))
	calls := map[string]functions.LateBoundOp{}
	for name := range s.env.functions {
		calls[name] = func(string, ...ref.Val) ref.Val { return unknown }
	}
	input, err := cel.FunctionVars(vars, calls)
	if err != nil {
		return nil
	}
	value, _, err := program.Eval(input)
	if err != nil || types.IsUnknown(value) {
		return nil
	}
	return value
}

// single warns of what one rule says by itself.
func (c *checker) single(role string, v view) {
	switch {
	case v.allowsAll() && len(v.Kinds) == 0:
		c.warn(role, v.ID, WarnAllowsAll, "it allows every request that no other rule stops; name kinds, or a condition")
	case v.allowsAll() && v.UnknownCalls && slices.ContainsFunc(v.Kinds, func(k message.Kind) bool { return slices.Contains(kindsOf(OfSigned), k) }):
		c.warn(role, v.ID, WarnAllowsAll, "it allows every request of its kinds that no other rule stops, also what is not understood; name a condition, or leave out unknown_calls")
	case v.constant == types.True && v.whole != "true":
		c.warn(role, v.ID, WarnAlwaysTrue, "the condition is true whatever the request; write true if that is meant")
	case v.constant == types.False:
		c.warn(role, v.ID, WarnAlwaysFalse, "the condition is never true; correct it, or remove the rule")
	}
	if v.Effect != document.EffectAsk && len(v.Approvers)+v.Quorum > 0 {
		c.warn(role, v.ID, WarnUnusedApprover, "approvers and quorum are of rules that ask; remove them")
	}
	c.kinds(role, v)
	if sum := v.source.leavesOut(); sum != "" {
		c.warn(role, v.ID, WarnLeftOut, "it bounds %s, which never contains the request itself: this rule lets one of any amount pass; add %s",
			sum, map[bool]string{true: "amount_to(...)", false: "amount_of(...)"}[sum == "history.sum_to"])
	}
	for _, found := range v.source.strange {
		c.warn(role, v.ID, WarnUnknown, "%s; correct it, or put it into the document", found)
	}
	for _, found := range v.source.absorbed() {
		c.warn(role, v.ID, WarnAbsorbed, "%s", found)
	}
}

// kinds warns where a rule reads what some of its requests do not have.
func (c *checker) kinds(role string, v view) {
	if name, lacking := v.source.missing(); len(lacking) > 0 {
		c.warn(role, v.ID, WarnKinds, "it reads %s, which %s does not have: the rule fails there and denies; name only kinds that have it",
			name, strings.Join(lacking, ", "))
	}
}

// pair warns where a rule that denies leaves nothing to one that allows or
// asks, and where one that asks leaves nothing to one that allows.
func (c *checker) pair(role string, strong, weak view) {
	stronger := strong.Effect == document.EffectDeny && weak.Effect != document.EffectDeny ||
		strong.Effect == document.EffectAsk && weak.Effect == document.EffectAllow
	if !stronger || !covers(strong.rule, weak.rule) || weak.constant == types.False {
		return
	}
	if strong.Effect == document.EffectAsk && weak.UnknownCalls && !strong.UnknownCalls {
		return
	}
	if strong.whole == weak.whole || c.never(nil, weak.yes, strong.no) {
		c.warn(role, weak.ID, WarnUnreachable, "rule %s, which says %s, is true whenever this one is, so this one never decides; change or remove one",
			strong.ID, strong.Effect)
	}
}

// duplicates warns of a rule that another one before it covers.
func (c *checker) duplicates(role string, views []view, i int) {
	for _, earlier := range views[:i] {
		if earlier.Effect == views[i].Effect && earlier.whole == views[i].whole && covers(earlier.rule, views[i].rule) &&
			c.asksSame(earlier.rule, views[i].rule) {
			c.warn(role, views[i].ID, WarnDuplicate, "rule %s has the same effect and condition; remove one", earlier.ID)
			return
		}
	}
}

// asksSame says whether two rules ask the same people, and as many of them:
// what others are asked is asked besides.
func (c *checker) asksSame(r, other *rule) bool {
	if r.Effect != document.EffectAsk {
		return true
	}
	people, quorum := c.asked(r)
	others, otherQuorum := c.asked(other)
	return quorum == otherQuorum && slices.Equal(people, others)
}

// asked are the ids that a rule asks, in one order, and how many must agree.
func (c *checker) asked(r *rule) (ids []string, quorum int) {
	ids, quorum = r.Approvers, r.Quorum
	if len(ids) == 0 {
		ids, quorum = c.doc.Approval.Approvers, c.doc.Approval.Quorum
	}
	return slices.Compact(slices.Sorted(slices.Values(ids))), quorum
}

// covers says whether one rule is about every kind that another is about.
func covers(r, other *rule) bool {
	if len(r.Kinds) == 0 {
		return true
	}
	return len(other.Kinds) > 0 && !slices.ContainsFunc(other.Kinds, func(k message.Kind) bool { return !slices.Contains(r.Kinds, k) })
}

// unused warns of names that nothing mentions.
func (c *checker) unused() {
	for _, id := range c.doc.Approval.Approvers {
		c.mentioned[id] = true
	}
	for _, g := range c.doc.Grants {
		for _, id := range g.Users {
			c.mentioned[id] = true
		}
	}
	for _, l := range c.doc.Lists {
		c.use("list", l.ID)
	}
	for _, g := range c.doc.Groups {
		c.use("group", g.ID)
	}
	for _, a := range c.doc.Assets {
		c.use("asset", a.ID)
	}
}

func (c *checker) use(what, id string) {
	if !c.mentioned[id] {
		c.warn("", "", WarnUnused, "%s %s is used by no rule; remove it, or write the rule that it is for", what, id)
	}
}
