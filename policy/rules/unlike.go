package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/countersign/countersign/transaction/ethereum"
)

// unlike refuses to compare a value of typed data or of a call's arguments with one
// that it never equals: CEL knows the type of neither before they are read.
func (c *condition) unlike(e ast.Expr, call ast.CallExpr) {
	of := ast.MapEntry.Value
	if call.FunctionName() == operators.In {
		of = ast.MapEntry.Key
	}
	args := call.Args()
	for i, arg := range args {
		for _, a := range c.elements(arg, of) {
			if !loose(c.ast.GetType(a.ID())) {
				continue
			}
			for _, b := range c.elements(args[1-i], of) {
				if why := c.differs(c.origin(a), b); why != "" {
					c.fault(e, "%s", why)
					return
				}
			}
		}
	}
}

// differs says why a value is never one out of an origin; empty where it may be.
func (c *condition) differs(from origin, b ast.Expr) string {
	t := c.ast.GetType(b.ID())
	switch m := c.meaning(b); {
	case (m == accountName || m == contractName) && from.bare():
		return "addresses in typed.message and args have no chain: write account(...) around it"
	case m == assetName && from.bare():
		return "addresses in typed.message and args are no assets: write that of the asset's contract, \"0x...\""
	case ofNumbers(t):
		return "the type of one side is not known: write amount(...) or int(...) around it"
	case isOf(t, types.OpaqueKind):
		return from.noAmount()
	case isOf(t, types.StringKind):
		return from.noText(b)
	case isOf(t, types.BoolKind):
		return from.no("true or false", ethereum.TypeBool)
	}
	return ""
}

// no says that none of the declared types is one of some kinds.
func (o origin) no(what string, kinds ...string) string {
	declared := o.kinds()
	if len(declared) == 0 || slices.ContainsFunc(kinds, func(k string) bool { return declared[k] }) {
		return ""
	}
	return fmt.Sprintf("it is never %s: by calls the argument is of type %s", what, strings.Join(sorted(declared), ", "))
}

func (o origin) noAmount() string {
	switch {
	case o.typed:
		return "numbers in typed.message are texts: write amount(...) around it"
	case len(o.types) == 0:
		return "the type of one side is not known: write amount(...) around it"
	}
	return o.no("an amount", ethereum.TypeInteger)
}

var (
	addressForm = regexp.MustCompile(`^0x[0-9a-f]{40}$`)
	bytesForm   = regexp.MustCompile(`^0x(?:[0-9a-f]{2})*$`)
)

// noText says why a text is never one out of an origin.
func (o origin) noText(b ast.Expr) string {
	if why := o.no("a text", ethereum.TypeString, ethereum.TypeAddress, ethereum.TypeBytes); why != "" {
		return why + "; write amount(...) around the other side"
	}
	text, ok := stringLiteral(b)
	declared := o.kinds()
	switch {
	case !ok || declared[ethereum.TypeString]:
		return ""
	case strings.HasPrefix(text, "eip155:") && isAccount(text) && o.bare():
		return fmt.Sprintf("%q never matches: addresses in typed.message and args have no chain; write account(...) around the other side", bounded(text))
	case len(declared) == 0, declared[ethereum.TypeAddress] && addressForm.MatchString(text), declared[ethereum.TypeBytes] && bytesForm.MatchString(text):
		return ""
	}
	return fmt.Sprintf("%q never matches: addresses are 0x and 40 hex digits, bytes 0x and hex, in lower case", bounded(text))
}

func sorted(set map[string]bool) (out []string) {
	for name := range set {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// loose says whether a value's type, or that of something in it, shows only when
// it is read.
func loose(t *types.Type) bool {
	return t.Kind() == types.DynKind || t.Kind() != types.TypeKind && slices.ContainsFunc(t.Parameters(), loose)
}

func ofNumbers(t *types.Type) bool {
	return isOf(t, types.IntKind) || isOf(t, types.UintKind) || isOf(t, types.DoubleKind)
}

// isOf says whether a value is of a kind, or a list or map has one in it.
func isOf(t *types.Type, kind types.Kind) bool {
	return t.Kind() == kind || slices.ContainsFunc(t.Parameters(), func(p *types.Type) bool { return isOf(p, kind) })
}
