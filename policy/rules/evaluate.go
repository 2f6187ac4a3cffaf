package rules

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
)

// evaluation is one request put to one set: what was read is kept, so that
// 200 rules ask once.
type evaluation struct {
	set   *Set
	facts *Facts
	slots []ref.Val // by variable

	answers     answers
	looked      map[string]bool // assets that the past was looked up of
	counted     bool
	exposure    []exposure.Amount
	exposureErr error
	reached     []string
	gained      map[gain]*big.Int

	fired []message.Reason
	reads *reads // of Explain
	spent uint64
}

func (s *Set) evaluate(ctx context.Context, f Facts, explain bool) (out Outcome) {
	defer func() {
		if r := recover(); r != nil {
			out = Outcome{Verdict: Deny, Reasons: []message.Reason{{Code: CodeFailed, Detail: "the rules could not be evaluated"}}}
		}
	}()
	e := &evaluation{set: s, facts: &f, slots: make([]ref.Val, len(s.env.variables))}
	if explain {
		e.reads = &reads{}
	}
	unknown := e.notUnderstood()
	trace := make([]Step, len(s.rules))
	for i, r := range s.rules {
		trace[i] = e.step(ctx, r, len(unknown) > 0)
	}
	return e.combine(trace, unknown)
}

// step asks one rule.
func (e *evaluation) step(ctx context.Context, r *rule, unknown bool) Step {
	step := Step{Rule: r.ID, Effect: r.Effect}
	switch {
	case len(r.Kinds) > 0 && !slices.Contains(r.Kinds, e.statement().Kind):
		step.Why = e.why("the rule is about other kinds")
		return step
	case unknown && r.Effect == document.EffectAllow && !r.UnknownCalls:
		step.Why = e.why("the rule does not cover what is not understood (unknown_calls)")
		return step
	}
	step.Applies = true
	value, err := e.value(ctx, r)
	if err != nil {
		step.Err = bounded(err.Error())
	}
	step.Value = value
	if e.reads != nil {
		step.Why = e.reads.words()
	}
	return step
}

func (e *evaluation) why(words string) string {
	if e.reads == nil {
		return ""
	}
	return words
}

// value evaluates a condition. The evaluator turns a panic into an error.
func (e *evaluation) value(ctx context.Context, r *rule) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("cancelled: %w", err)
	}
	if e.spent > maxTotalCost {
		return false, fmt.Errorf("the rules together cost more than %d", maxTotalCost)
	}
	if e.reads != nil {
		e.reads.reset()
	}
	out, spent, err := r.program.Eval(e)
	if cost := spent.ActualCost(); cost != nil {
		e.spent += *cost
	}
	if err != nil {
		if out == nil && strings.HasPrefix(err.Error(), "internal error") { // a panic, whose text is nobody's business
			return false, errors.New("it broke off")
		}
		return false, err
	}
	value, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the condition is %s, not true or false", out.Type().TypeName())
	}
	return bool(value), nil
}

// combine makes the verdict: a failure denies, deny wins over ask, ask over
// allow. It does not depend on the order of the rules.
func (e *evaluation) combine(trace []Step, unknown []message.Reason) Outcome {
	out := Outcome{Verdict: Deny, Trace: trace}
	allowed := false
	var failed, denied, asked []message.Reason
	if _, err := e.exposed(); err != nil {
		failed = append(failed, message.Reason{Code: CodeFailed, Detail: bounded(err.Error())})
	}
	for i, step := range trace {
		r := e.set.rules[i]
		switch {
		case step.Err != "":
			failed = append(failed, r.reason(CodeFailed, "could not be evaluated: "+step.Err))
		case !step.Value:
		case r.Effect == document.EffectDeny:
			denied = append(denied, r.reason(CodeDenies, r.Reason))
		case r.Effect == document.EffectAsk && len(unknown) > 0 && !r.UnknownCalls:
			denied = append(denied, unknown...)
			denied = append(denied, r.reason(CodeUnknownCall, "it asks people, but not about what is not understood"))
		case r.Effect == document.EffectAsk:
			asked = append(asked, r.reason(CodeAsks, r.Reason))
			out.Asks = append(out.Asks, Asking{Rule: r.ID, Reason: r.Reason, Approvers: r.Approvers, Quorum: r.Quorum})
		default:
			allowed = true
		}
	}
	out.Reasons = append(failed, denied...)
	switch {
	case len(out.Reasons) > 0:
		out.Asks = nil
	case len(asked) > 0:
		out.Verdict, out.Reasons = Ask, asked
	case allowed:
		out.Verdict = Allow
	default:
		out.Reasons = append([]message.Reason{{Code: CodeNoRule, Detail: "no rule of " + e.set.role + " allows this " + string(e.statement().Kind)}}, unknown...)
	}
	out.Reasons = append(out.Reasons, e.fired...)
	return out
}

func (r *rule) reason(code, text string) message.Reason {
	detail := "rule " + r.ID
	if text != "" {
		detail += ": " + text
	}
	return message.Reason{Code: code, Detail: bounded(detail)}
}

// notUnderstood says what of the request nobody can tell the effects of.
func (e *evaluation) notUnderstood() (out []message.Reason) {
	say := func(format string, args ...any) {
		out = append(out, message.Reason{Code: CodeUnknownCall, Detail: bounded(fmt.Sprintf(format, args...))})
	}
	effects := &e.facts.Meaning.Effects
	for _, u := range effects.Unknown {
		switch d := effects.Details; {
		case effects.Message != nil:
			say("a message of %d bytes that could be the hash of anything is not understood", u.Size)
			continue
		case u.To == "" && d != nil && d.Typed != nil:
			say("typed data of type %s is not understood", d.Typed.PrimaryType)
			continue
		case u.To == "":
			say("a contract creation of %d bytes is not understood", u.Size)
			continue
		}
		say("a call of %s with selector 0x%x and %d bytes is not understood", u.To, u.Selector, u.Size)
	}
	for _, m := range effects.Moves {
		if m.To == "" {
			say("the destination of a move of %s cannot be told", m.Asset)
		}
	}
	for _, a := range effects.Allowances {
		if a.Spender == "" {
			say("the spender of an allowance of %s cannot be told", a.Asset)
		}
	}
	if e.signs() && effects.Message == nil && len(effects.Moves)+len(effects.Allowances)+len(effects.Unknown) == 0 {
		say("it has no effects that are understood")
	}
	return out
}

// Parent implements cel.Activation.
func (e *evaluation) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation: a variable is computed when a
// condition first reads it.
func (e *evaluation) ResolveName(name string) (any, bool) {
	i, ok := e.set.env.index[name]
	if !ok {
		return nil, false
	}
	v := e.slots[i]
	if v == nil {
		v = e.set.env.variables[i].read(e)
		e.slots[i] = v
	}
	if e.reads != nil {
		e.reads.add(name, e.inWords(v, e.nativeAsset(name)))
	}
	return v, true
}

func (e *evaluation) variable(name string) ref.Val {
	v, _ := e.ResolveName(name)
	return v.(ref.Val)
}

// maxDetail is how many bytes of a reason's text the runtime keeps.
const maxDetail = 300

// bounded shortens a text to what a reason can hold.
func bounded(s string) string { return message.Cut(s, maxDetail) }
