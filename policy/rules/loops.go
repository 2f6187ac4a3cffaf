package rules

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// learnLoops notes for each use of a variable of all, exists and the like over what
// it runs. Inner loops are visited after the outer ones, whose names they hide.
func (c *condition) learnLoops() {
	c.loops = map[int64]ast.Expr{}
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.ComprehensionKind {
			return
		}
		loop := e.AsComprehension()
		for _, inside := range []ast.Expr{loop.LoopCondition(), loop.LoopStep()} {
			ast.PreOrderVisit(inside, ast.NewExprVisitor(func(use ast.Expr) {
				if use.Kind() == ast.IdentKind && use.AsIdent() == loop.IterVar() {
					c.loops[use.ID()] = loop.IterRange()
				}
			}))
		}
	}))
}

// collected is what map or filter puts into its list; nil of other loops.
func collected(step ast.Expr) ast.Expr {
	if step.Kind() != ast.CallKind {
		return nil
	}
	switch call := step.AsCall(); call.FunctionName() {
	case operators.Conditional:
		return collected(call.Args()[1])
	case operators.Add:
		if added := call.Args()[1]; added.Kind() == ast.ListKind && added.AsList().Size() == 1 {
			return added.AsList().Elements()[0]
		}
	}
	return nil
}

// literals are those that an expression stands for: itself, the elements of a list,
// the keys of a map, either branch of a condition, what a loop runs over.
func (c *condition) literals(e ast.Expr) (out []ast.Expr) {
	for _, element := range c.elements(e, ast.MapEntry.Key) {
		if element.Kind() == ast.LiteralKind {
			out = append(out, element)
		}
	}
	return out
}

// elements are what an expression stands for, one by one. Of a map that stands in
// the condition they are its keys or its values, as the last argument says.
func (c *condition) elements(e ast.Expr, of func(ast.MapEntry) ast.Expr) (out []ast.Expr) {
	var inside []ast.Expr
	switch e.Kind() {
	case ast.ListKind:
		inside = e.AsList().Elements()
	case ast.MapKind:
		for _, found := range e.AsMap().Entries() {
			inside = append(inside, of(found.AsMapEntry()))
		}
	case ast.CallKind:
		inside = c.branches(e.AsCall())
	case ast.IdentKind:
		if over, ok := c.loops[e.ID()]; ok && (over.Kind() == ast.ListKind || over.Kind() == ast.MapKind) {
			return c.elements(over, ast.MapEntry.Key)
		}
	}
	if inside == nil && e.Kind() != ast.ListKind && e.Kind() != ast.MapKind {
		return []ast.Expr{e}
	}
	for _, element := range inside {
		out = append(out, c.elements(element, of)...)
	}
	return out
}

// branches are the operands that a call gives one of, or all; nil of other calls.
func (c *condition) branches(call ast.CallExpr) []ast.Expr {
	args := call.Args()
	switch call.FunctionName() {
	case operators.Conditional:
		return args[1:]
	case overloads.TypeConvertDyn:
		return args
	case operators.Add:
		if c.ast.GetType(args[0].ID()).Kind() == types.ListKind {
			return args
		}
	}
	return nil
}
