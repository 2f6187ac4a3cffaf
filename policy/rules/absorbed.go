package rules

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction/ethereum"
)

// kindsOf says which kinds have a variable.
func kindsOf(of Of) []message.Kind {
	transactions := []message.Kind{message.KindEthereumTransaction}
	messages := []message.Kind{message.KindEthereumMessage}
	typed := []message.Kind{message.KindEthereumTypedData}
	signed := slices.Concat(transactions, messages, typed)
	switch of {
	case OfTransactions, OfFees:
		return transactions
	case OfMessages:
		return messages
	case OfTypedData:
		return typed
	case OfSigned:
		return signed
	case OfAccount:
		return append(signed, message.KindAccountCreate)
	case OfWallet:
		return append(signed, message.KindAccountCreate, message.KindWalletCreate, message.KindWalletFreeze)
	}
	return allKinds()
}

func allKinds() []message.Kind {
	return []message.Kind{
		message.KindWalletCreate, message.KindAccountCreate,
		message.KindEthereumTransaction, message.KindEthereumMessage, message.KindEthereumTypedData,
		message.KindPolicyUpdate, message.KindWalletFreeze, message.KindUserFreeze,
	}
}

// ruledKinds are those that rules are asked about: a freeze needs none.
func ruledKinds() []message.Kind {
	return slices.DeleteFunc(allKinds(), func(k message.Kind) bool {
		return k == message.KindWalletFreeze || k == message.KindUserFreeze
	})
}

// missing is the first variable or function of the condition that some kinds of the
// rule do not have, and which.
func (c *condition) missing() (name string, kinds []string) {
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if len(kinds) > 0 {
			return
		}
		switch e.Kind() {
		case ast.IdentKind:
			name, kinds = e.AsIdent(), c.lacking(e.AsIdent())
		case ast.CallKind:
			name, kinds = c.needs(e.AsCall())
		}
	}))
	return name, kinds
}

// lacking are the kinds of the rule that do not have a variable. A condition
// that looks at request.kind knows what it reads.
func (c *condition) lacking(name string) (out []string) {
	index, ok := c.set.env.index[name]
	if !ok || c.looksAtKind() {
		return nil
	}
	kinds := c.rule.Kinds
	if len(kinds) == 0 {
		kinds = ruledKinds()
	}
	having := kindsOf(c.set.env.variables[index].Of)
	if name == "account.address" {
		having = kindsOf(OfSigned)
	}
	for _, k := range kinds {
		if !slices.Contains(having, k) {
			out = append(out, string(k))
		}
	}
	return out
}

func (c *condition) looksAtKind() bool { return strings.Contains(c.rule.When, "request.kind") }

// absorbed finds operands whose error CEL passes over: of a || b and a && b the
// error of a where b alone settles it, and of exists and all the error of one
// element where another settles it. The right operand is not evaluated where
// the left one settles it, and ?: evaluates one branch, so those are guards.
func (c *condition) absorbed() (out []string) {
	say := func(e ast.Expr, why, where string) {
		place := c.ast.SourceInfo().GetStartLocation(e.ID())
		found := at(place.Line(), place.Column(), why+", and "+where+" can hide that; put what decides first, or make it a rule of its own").Error()
		if !slices.Contains(out, found) {
			out = append(out, found)
		}
	}
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			operator, args := e.AsCall().FunctionName(), e.AsCall().Args()
			if (operator == operators.LogicalOr || operator == operators.LogicalAnd) && !inLoop(args[0]) {
				if at, why := c.fails(args[0]); why != "" {
					say(at, why, "what stands behind "+map[string]string{operators.LogicalOr: "||", operators.LogicalAnd: "&&"}[operator])
				}
			}
		case ast.ComprehensionKind:
			step := e.AsComprehension().LoopStep()
			if step.Kind() != ast.CallKind || !slices.Contains([]string{operators.LogicalOr, operators.LogicalAnd}, step.AsCall().FunctionName()) {
				return
			}
			if at, why := c.fails(step.AsCall().Args()[1]); why != "" {
				say(at, why, "another element")
			}
		}
	}))
	return out
}

// inLoop says that an operand is what a macro such as exists counts in.
func inLoop(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && (e.AsIdent() == "@result" || e.AsIdent() == "__result__")
}

// fails returns the first part of an expression that can fail for a request of
// the rule's kinds, and why.
func (c *condition) fails(root ast.Expr) (at ast.Expr, why string) {
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if why != "" {
			return
		}
		if why = c.failsItself(e); why != "" {
			at = e
		}
	}))
	return at, why
}

func (c *condition) failsItself(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return c.identFails(e.AsIdent())
	case ast.SelectKind:
		if !e.AsSelect().IsTestOnly() && c.loose(e.AsSelect().Operand()) {
			return "there may be no " + e.AsSelect().FieldName()
		}
	case ast.CallKind:
		return c.callFails(e.AsCall())
	}
	return ""
}

func (c *condition) identFails(name string) string {
	i, ok := c.set.env.index[name]
	if !ok {
		return ""
	}
	if lacking := c.lacking(name); len(lacking) > 0 {
		return name + " is not of " + lacking[0]
	}
	switch {
	case c.set.env.variables[i].Of == OfFees:
		return "a legacy transaction has no " + name
	case name == "tx.message":
		return "a message may be no text"
	}
	return ""
}

func (c *condition) callFails(call ast.CallExpr) string {
	name := call.FunctionName()
	switch name {
	case "entry_age":
		return "entry_age fails for what is not in the list"
	case operators.Subtract:
		if c.ast.GetType(call.Args()[0].ID()).IsExactType(amountType) {
			return "a difference may be below zero"
		}
	case operators.Divide, operators.Modulo:
		if !isNumber(call.Args()[1]) {
			return "a divisor may be zero"
		}
	case operators.Index:
		return "an index or key may not be there"
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		if slices.ContainsFunc(call.Args(), c.loose) {
			return "a value of unknown type may not compare"
		}
	case "account":
		if kinds := c.origin(call.Args()[0]).kinds(); !kinds[ethereum.TypeAddress] || len(kinds) > 1 {
			return "account(...) fails for what is no address"
		}
	case "amount", overloads.TypeConvertInt, overloads.TypeConvertUint, overloads.TypeConvertDuration, overloads.TypeConvertTimestamp:
		if len(call.Args()) == 1 && call.Args()[0].Kind() != ast.LiteralKind && c.ast.GetType(call.Args()[0].ID()).Kind() != types.IntKind {
			return name + "(...) may not be able to read the text"
		}
	}
	if why := c.formFails(call); why != "" {
		return why
	}
	if name, lacking := c.needs(call); len(lacking) > 0 {
		return name + " is not of " + lacking[0]
	}
	return ""
}

// formFails says that a function may be given what is no account or asset.
func (c *condition) formFails(call ast.CallExpr) string {
	f := c.set.env.functions[call.FunctionName()]
	if f == nil || call.IsMemberFunction() {
		return ""
	}
	for i, arg := range call.Args() {
		form := f.Args[i].Form
		if (form == Account || form == AssetID) && (c.loose(arg) || c.meaning(arg) == contractName) {
			return f.Name + " fails for what is no " + strings.Fields(string(form))[1]
		}
	}
	return ""
}

// read are the variables that functions read: what has none fails there.
var read = map[string]string{
	"account": "tx.chain", "amount_of": "tx.amounts", "amount_to": "tx.amounts",
	"signal.first_use": "tx.destinations", "signal.lookalike": "tx.destinations", "signal.duplicate": "tx.destinations",
	"signal.unusual": "tx.amounts", "signal.listed": "tx.destinations",
	"signal.fee": "tx.fee_per_gas", "signal.gas": "tx.gas_limit",
	"signal.nonce_reused": "tx.nonce", "signal.nonce_replaces": "tx.nonce", "signal.nonce_gap": "tx.nonce",
}

// scoped are the variables that a scope stands for.
var scoped = map[string]string{
	ledger.ScopeUser: "user.id", ledger.ScopeWallet: "wallet.id", ledger.ScopeAccount: "account.address",
}

// needs says what of a function some kinds of the rule do not have, and which.
func (c *condition) needs(call ast.CallExpr) (name string, lacking []string) {
	name = call.FunctionName()
	if variable, ok := read[name]; ok {
		return name, c.lacking(variable)
	}
	f := c.set.env.functions[name]
	if f == nil || len(call.Args()) == 0 || f.Args[0].Name != "scope" {
		return name, nil
	}
	scope, _ := stringLiteral(call.Args()[0])
	return name + " of the " + scope, c.lacking(scoped[scope])
}

// loose says that nothing is known of an expression's type or fields.
func (c *condition) loose(e ast.Expr) bool {
	kind := c.ast.GetType(e.ID()).Kind()
	return kind == types.DynKind || kind == types.MapKind
}

func isNumber(e ast.Expr) bool {
	if e.Kind() != ast.LiteralKind {
		return false
	}
	switch n := e.AsLiteral().(type) {
	case types.Int:
		return n > 0
	case types.Uint:
		return n > 0
	}
	return false
}
