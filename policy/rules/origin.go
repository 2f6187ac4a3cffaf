package rules

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/countersign/countersign/transaction/ethereum"
)

// origin is where a value comes from whose type shows only when it is read.
type origin struct {
	typed bool            // out of typed data, where addresses and integers are texts
	types []ethereum.Type // those of the arguments of its name; none: it is not known
}

// origin follows a value to typed.message, or to the argument of a call.
func (c *condition) origin(e ast.Expr) origin {
	switch e.Kind() {
	case ast.IdentKind:
		if over, ok := c.loops[e.ID()]; ok {
			return c.origin(over).element()
		}
		return origin{typed: e.AsIdent() == "typed.message"}
	case ast.SelectKind:
		return c.partOf(e.AsSelect().Operand(), e.AsSelect().FieldName())
	case ast.CallKind:
		if call := e.AsCall(); call.FunctionName() == operators.Index {
			if name, ok := stringLiteral(call.Args()[1]); ok {
				return c.partOf(call.Args()[0], name)
			}
			return c.origin(call.Args()[0]).element()
		}
	case ast.ComprehensionKind:
		if added := collected(e.AsComprehension().LoopStep()); added != nil {
			return c.origin(added)
		}
	}
	return origin{}
}

func (c *condition) partOf(e ast.Expr, name string) origin {
	if c.meaning(e) == argumentName {
		return origin{types: c.set.book.args[name]}
	}
	from := c.origin(e)
	var parts []ethereum.Type
	for _, t := range from.types {
		if part, ok := t.Parts[name]; ok {
			parts = append(parts, part)
		}
	}
	return origin{from.typed, parts}
}

// element is what one of a list is. What was put into a list by map or filter stands
// for its elements already.
func (o origin) element() origin {
	var out []ethereum.Type
	for _, t := range o.types {
		if t.Elem != nil {
			t = *t.Elem
		}
		out = append(out, t)
	}
	return origin{o.typed, out}
}

// kinds are the kinds of the value, or of all that is in it. None: it is not known.
func (o origin) kinds() map[string]bool {
	out := map[string]bool{}
	var add func(t ethereum.Type)
	add = func(t ethereum.Type) {
		switch {
		case t.Elem != nil:
			add(*t.Elem)
		case t.Parts != nil:
			for _, part := range t.Parts {
				add(part)
			}
		default:
			out[t.Kind] = true
		}
	}
	for _, t := range o.types {
		add(t)
	}
	return out
}

// bare says that the value is an address without its chain: of typed data, that it
// may be one.
func (o origin) bare() bool {
	kinds := o.kinds()
	return o.typed || kinds[ethereum.TypeAddress] && !kinds[ethereum.TypeString]
}
