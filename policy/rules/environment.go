package rules

import (
	"fmt"
	"sync"
	// Named zones do not depend on what the machine has.
	_ "time/tzdata"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Bounds of one condition's text. A condition is written by a person; these
// keep a hostile one from taking time before it is even understood.
const (
	maxText    = 4096 // characters
	maxNodes   = 2000 // of the expression, macros expanded
	maxNesting = 64   // brackets in brackets
	maxLoops   = 4    // all, exists and the like inside of, or applied to, one another
	maxRegex   = 1000 // instructions of a compiled regular expression
)

// environment is what every condition is compiled in. It does not depend on
// the document and is not changed once it is made.
type environment struct {
	*cel.Env
	variables []Variable
	index     map[string]int
	functions map[string]*Function
}

// theEnvironment is made once: it takes some milliseconds.
var theEnvironment = sync.OnceValues(newEnvironment)

func newEnvironment() (*environment, error) {
	e := &environment{variables: variables(), index: map[string]int{}, functions: map[string]*Function{}}
	p, err := newProvider()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(p), cel.CustomTypeAdapter(p),
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: replaced()})),
		cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true), cel.EnableMacroCallTracking(),
		cel.ParserExpressionSizeLimit(maxText), cel.ParserRecursionLimit(maxNesting), cel.ExpressionNodeLimit(maxNodes),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(maxLoops)),
	}
	for i, v := range e.variables {
		e.index[v.Name] = i
		options = append(options, cel.Variable(v.Name, v.Type))
	}
	for _, f := range allFunctions() {
		e.functions[f.Name] = &f
		options = append(options, f.declare())
	}
	options = append(options, amountOperators()...)
	if e.Env, err = cel.NewCustomEnv(options...); err != nil {
		return nil, fmt.Errorf("declaring what rules may use: %w", err)
	}
	return e, nil
}

// replaced are the functions of CEL that ours stand in for, and
// getMilliseconds, which nobody needs.
func replaced() []*env.Function {
	out := []*env.Function{env.NewFunction(overloads.TimeGetMilliseconds)}
	for _, f := range timeFunctions() {
		out = append(out, env.NewFunction(f.Name))
	}
	return out
}

// declare tells CEL of a function whose implementation each evaluation brings,
// because it reads the document and the request.
func (f *Function) declare() cel.EnvOption {
	all := make([]*cel.Type, len(f.Args))
	for i, a := range f.Args {
		all[i] = a.Type
	}
	if !f.member {
		return cel.Function(f.Name, cel.Overload(f.Name, all, f.Result, cel.LateFunctionBinding()))
	}
	return cel.Function(f.Name,
		cel.MemberOverload(f.Name+"_utc", all[:1], f.Result, cel.LateFunctionBinding()),
		cel.MemberOverload(f.Name+"_zone", all, f.Result, cel.LateFunctionBinding()))
}

// amountOperators let amounts stand in sums and comparisons, on the right an
// int or uint too. The operators find Add, Compare and so on by the type. CEL
// has == and != for two of one type only, so that those need amount(5).
func amountOperators() []cel.EnvOption {
	var options []cel.EnvOption
	for operator, result := range map[string]*cel.Type{
		operators.Add: amountType, operators.Subtract: amountType, operators.Multiply: amountType,
		operators.Divide: amountType, operators.Modulo: amountType,
		operators.Less: cel.BoolType, operators.LessEquals: cel.BoolType,
		operators.Greater: cel.BoolType, operators.GreaterEquals: cel.BoolType,
	} {
		var opts []cel.FunctionOpt
		for _, right := range []*cel.Type{amountType, cel.IntType, cel.UintType} {
			id := fmt.Sprintf("amount_%s_%s", operator, right.TypeName())
			opts = append(opts, cel.Overload(id, []*cel.Type{amountType, right}, result))
		}
		options = append(options, cel.Function(operator, opts...))
	}
	return append(options,
		cel.Function("amount",
			cel.Overload("string_to_amount", []*cel.Type{cel.StringType}, amountType, cel.UnaryBinding(toAmount)),
			cel.Overload("int_to_amount", []*cel.Type{cel.IntType}, amountType, cel.UnaryBinding(toAmount)),
			cel.Overload("uint_to_amount", []*cel.Type{cel.UintType}, amountType, cel.UnaryBinding(toAmount)),
			cel.Overload("amount_to_amount", []*cel.Type{amountType}, amountType, cel.UnaryBinding(toAmount))),
		cel.Function(overloads.TypeConvertString,
			cel.Overload("amount_to_string", []*cel.Type{amountType}, cel.StringType, cel.UnaryBinding(func(v ref.Val) ref.Val {
				return v.ConvertToType(types.StringType)
			}))),
	)
}

// toAmount implements amount(...).
func toAmount(v ref.Val) ref.Val {
	if s, ok := v.(types.String); ok {
		n, err := parseAmount(string(s))
		if err != nil {
			return types.WrapErr(err)
		}
		return newAmount(n)
	}
	n, err := operand(v)
	if err != nil {
		return types.WrapErr(err)
	}
	return newAmount(n)
}
