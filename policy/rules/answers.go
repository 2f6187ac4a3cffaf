package rules

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// dear is the least cost of a function whose answers are kept: one that looks
	// at the past, or at all that a request touches.
	dear = 50
	// maxArgs is how many arguments such a function takes at most.
	maxArgs = 3
)

// question is a call of a function that is dear.
type question struct {
	function *Function
	args     [maxArgs]ref.Val
}

// answers are those that one evaluation has got: many rules ask the same. They
// neither change nor does it cost a rule less to ask again. An error is not kept,
// since CEL writes into it where it came from.
type answers map[question]ref.Val

// of calls a function, unless it was called before with the same arguments.
func (a *answers) of(e *evaluation, f *Function, args []ref.Val) ref.Val {
	asked, ok := questionOf(f, args)
	if !ok {
		return f.call(e, args)
	}
	if v, known := (*a)[asked]; known {
		return v
	}
	v := f.call(e, args)
	if types.IsUnknownOrError(v) {
		return v
	}
	if *a == nil {
		*a = answers{}
	}
	(*a)[asked] = v
	return v
}

// questionOf returns what a call asks; not ok: it is cheap to call again, or its
// arguments do not compare by what they say.
func questionOf(f *Function, args []ref.Val) (q question, ok bool) {
	if f.Cost < dear || len(args) > maxArgs {
		return q, false
	}
	for _, a := range args {
		switch a.(type) {
		case types.String, types.Duration, types.Double, types.Int, types.Uint:
		default:
			return q, false
		}
	}
	q.function = f
	copy(q.args[:], args)
	return q, true
}
