package rules

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
)

// condition is the checked tree of a rule's condition.
type condition struct {
	set  *Set
	rule *document.Rule
	ast  *ast.AST

	loops   map[int64]ast.Expr // by use of the variables of all, exists and the like: what they run over
	faults  []error
	strange []string // texts that the document does not know
}

// verify finds at load what would make the rule mean something else, or
// nothing: names that the document does not have, accounts in a form that
// never matches, comparisons that are never true.
func (c *condition) verify() []error {
	c.learnLoops()
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.StructKind:
			c.fault(e, "a rule cannot make a %s", e.AsStruct().TypeName())
		case ast.LiteralKind:
			c.account(e)
		case ast.SelectKind:
			c.member(e, e.AsSelect().Operand(), e.AsSelect().FieldName())
		case ast.CallKind:
			c.call(e, e.AsCall())
		}
	}))
	return c.faults
}

func (c *condition) fault(e ast.Expr, format string, args ...any) {
	where := c.ast.SourceInfo().GetStartLocation(e.ID())
	c.faults = append(c.faults, at(where.Line(), where.Column(), bounded(fmt.Sprintf(format, args...))))
}

// account refuses a literal that looks like an account or asset of eip155 and
// never matches one, since those are compared in lower case.
func (c *condition) account(e ast.Expr) {
	s, ok := e.AsLiteral().(types.String)
	if ok && strings.HasPrefix(strings.ToLower(string(s)), "eip155:") && string(s) != strings.ToLower(string(s)) {
		c.fault(e, "%q never matches: accounts and assets of eip155 are in lower case", string(s))
	}
}

// member refuses an argument of a call that no function of the document has: to
// ask for it is an error, or, with has, never true.
func (c *condition) member(e, of ast.Expr, name string) {
	if m := c.meaning(of); m == argumentName {
		c.told(e, m, name)
	}
}

func (c *condition) call(e ast.Expr, call ast.CallExpr) {
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals, operators.In:
		c.comparison(e, call)
	case operators.Index:
		if name, ok := stringLiteral(call.Args()[1]); ok {
			c.member(call.Args()[1], call.Args()[0], name)
		}
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		c.order(e, call)
	case "amount":
		c.amount(call.Args())
	case "units":
		c.units(call.Args())
	case overloads.StartsWith, overloads.EndsWith, overloads.Contains, overloads.Matches:
		c.within(call)
	case "signal.fee", "signal.unusual", "signal.nonce_gap":
		c.threshold(e, call)
	}
	f, ok := c.set.env.functions[call.FunctionName()]
	if !ok {
		return
	}
	c.set.history = c.set.history || f.History
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	c.reach(f, args)
	if f.Name == "member" {
		c.members(args)
	}
	for i, arg := range args {
		c.argument(f.Name, f.Args[i], arg)
	}
}

func (c *condition) amount(args []ast.Expr) {
	if n, ok := literalOf[types.Int](args[0]); ok && n < 0 {
		c.fault(args[0], "%d is no amount: amounts are not below zero", n)
	}
	if text, ok := stringLiteral(args[0]); ok {
		if _, err := parseAmount(text); err != nil {
			c.fault(args[0], "%v", err)
		}
	}
}

// units refuses more decimals than the asset has.
func (c *condition) units(args []ast.Expr) {
	id, isLiteral := stringLiteral(args[0])
	number, hasNumber := stringLiteral(args[1])
	if a := c.set.book.assets[id]; isLiteral && hasNumber && a != nil {
		if _, err := baseUnits(number, a.Decimals); err != nil {
			c.fault(args[1], "units: %v", err)
		}
	}
}

// members keeps a group in which no user is for a warning, where a user is looked for
// in it.
func (c *condition) members(args []ast.Expr) {
	id, ok := stringLiteral(args[0])
	if group := c.set.book.groups[id]; ok && group != nil && c.meaning(args[1]) == userName && !c.set.book.hasUser(group) {
		c.unsure(fmt.Sprintf("no user is in group %q", bounded(id)))
	}
}

// argument checks what a function takes beyond its type.
func (c *condition) argument(function string, a Argument, e ast.Expr) {
	switch a.Form {
	case Any, Sum, Unsigned, Whole, Real:
		return // its type says it all
	case Window:
		c.window(function, e)
		return
	case Account, Address, AssetID:
		c.party(function, a, e)
		return
	}
	text, ok := stringLiteral(e)
	if !ok {
		c.fault(e, "%s: %s must be %s", function, a.Name, a.Form)
		return
	}
	err := c.name(a.Form, text)
	if err == nil && a.Form == ListName {
		err = c.set.book.ofEntries(function, text)
	}
	if err != nil {
		c.fault(e, "%s: %v", function, err)
	}
}

func (c *condition) name(form Form, text string) error {
	b := c.set.book
	switch form {
	case ListName:
		return b.checkList(text)
	case GroupName:
		if b.groups[text] == nil {
			return fmt.Errorf("there is no group %q", bounded(text))
		}
	case AssetName:
		if b.assets[text] == nil {
			return fmt.Errorf("there is no asset %q", bounded(text))
		}
	case AssetID:
		if !strings.Contains(text, "/") {
			return fmt.Errorf("%q is no CAIP-19 asset; write asset(%q) for one of the document", bounded(text), bounded(text))
		}
		if err := document.CheckAsset(text); err != nil && !otherCase(text) {
			return err
		}
		b.literal[text] = true
	case Scope, CountScope, Habitual:
		return checkScope(form, text)
	case Zone:
		return b.addZone(text)
	}
	return nil
}

func (b *book) checkList(id string) error {
	l, ok := b.lists[id]
	switch {
	case !ok:
		return errNoList(id)
	case l.file != nil && l.files == nil:
		return fmt.Errorf("the file of list %q is not at hand", id)
	}
	return nil
}

func checkScope(form Form, text string) error {
	switch text {
	case ledger.ScopeUser, ledger.ScopeWallet:
		return nil
	case ledger.ScopeAccount:
		if form != Habitual {
			return nil
		}
	case ledger.ScopeAsset:
		if form == Scope {
			return nil
		}
	}
	return fmt.Errorf("scope %q is not %s", bounded(text), form)
}

// addZone loads a time zone for good. "Local" would be the machine's own.
func (b *book) addZone(name string) error {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name == "" {
		return fmt.Errorf("there is no time zone %q", bounded(name))
	}
	b.zones[name] = zone
	return nil
}

// window checks a window of time. It must be duration("...") so that it is
// known now.
func (c *condition) window(function string, e ast.Expr) {
	text, ok := durationText(e)
	if !ok {
		c.fault(e, "%s: the window must be %s", function, Window)
		return
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 { // CEL refuses what is none
		c.fault(e, "%s: the window %q is not above 0", function, bounded(text))
	}
}

// durationText returns what stands in duration("...").
func durationText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.TypeConvertDuration || len(e.AsCall().Args()) != 1 {
		return "", false
	}
	return stringLiteral(e.AsCall().Args()[0])
}

func stringLiteral(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
