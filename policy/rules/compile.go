package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/interpreter"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// Set is the rules of one role, ready to decide. It is not changed once it is
// compiled.
type Set struct {
	env     *environment
	role    string
	rules   []*rule
	book    *book
	history bool
	window  time.Duration // how far back any rule looks
}

type rule struct {
	*document.Rule
	program cel.Program
	checked *cel.Ast
	source  *condition
}

// Compile compiles the rules of a role ("authorization", "fraud", "approval")
// and returns all their faults at once. Files may be nil where no rule asks for
// a list whose entries stand in a file.
func Compile(doc *document.Document, role string, files Files) (*Set, error) {
	env, err := theEnvironment()
	if err != nil {
		return nil, err
	}
	s := &Set{env: env, role: role}
	var faults []error
	s.book, faults = newBook(doc, files)
	ids := map[string]bool{}
	for i := range doc.Rules.Of(role) {
		definition := &doc.Rules.Of(role)[i]
		if ids[definition.ID] {
			faults = append(faults, DocumentError{fmt.Errorf("%s: rule %q stands twice", role, bounded(definition.ID))})
		}
		ids[definition.ID] = true
		r, wrong := s.compile(definition)
		for _, fault := range wrong {
			faults = append(faults, faultOf(role, definition.ID, fault))
		}
		s.rules = append(s.rules, r)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// DocumentError is a fault of a rule that document.Validate finds as well.
type DocumentError struct{ error }

// Unwrap returns what is wrong.
func (e DocumentError) Unwrap() error { return e.error }

func faultOf(role, rule string, fault error) error {
	err := fmt.Errorf("%s: rule %q: %w", role, bounded(rule), fault)
	if errors.As(fault, new(DocumentError)) {
		return DocumentError{err}
	}
	return err
}

// compile checks one rule and makes it ready.
func (s *Set) compile(definition *document.Rule) (*rule, []error) {
	switch definition.Effect {
	case document.EffectAllow, document.EffectDeny:
	case document.EffectAsk:
		if s.role != message.RoleApproval {
			return nil, []error{DocumentError{errors.New("only the approval role can ask people")}}
		}
	default:
		return nil, []error{DocumentError{fmt.Errorf("effect %q is not allow, ask or deny", bounded(string(definition.Effect)))}}
	}
	checked, faults := s.check(definition.When)
	if len(faults) > 0 {
		return nil, faults
	}
	c := &condition{set: s, rule: definition, ast: checked.NativeRep()}
	if faults := c.verify(); len(faults) > 0 {
		return nil, faults
	}
	if err := s.bound(checked); err != nil {
		return nil, []error{err}
	}
	program, err := s.program(checked)
	if err != nil {
		return nil, []error{err}
	}
	return &rule{Rule: definition, program: program, checked: checked, source: c}, nil
}

// check parses a condition and checks its types.
func (s *Set) check(text string) (*cel.Ast, []error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, []error{DocumentError{errCondition}}
	case len(text) > document.MaxWhen:
		return nil, []error{DocumentError{fmt.Errorf("the condition is longer than %d bytes", document.MaxWhen)}}
	}
	checked, issues := s.env.Compile(text)
	if err := issues.Err(); err != nil {
		var faults []error
		for _, issue := range issues.Errors() {
			faults = append(faults, at(issue.Location.Line(), issue.Location.Column(), bounded(s.plain(issue.Message))))
		}
		if len(faults) == 0 {
			faults = append(faults, err)
		}
		return nil, faults
	}
	if s.comments(text) {
		return nil, []error{errors.New("// begins a comment, which may hide what stands behind it (YAML's >- makes one line of several): write it above the rule, with #")}
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, []error{fmt.Errorf("the condition is %s, not true or false", s.plain(checked.OutputType().String()))}
	}
	return checked, nil
}

// comments says whether a condition that compiles has a comment. With each "/"
// set apart, what began one are two operators in a row, which nothing parses;
// inside a string it is still a string.
func (s *Set) comments(text string) bool {
	if !strings.Contains(text, "//") {
		return false
	}
	_, issues := s.env.Parse(strings.ReplaceAll(text, "/", "/ "))
	return issues.Err() != nil
}

// at says where in the condition something is, counted from 1. What is wrong with
// the whole has no place.
func at(line, column int, text string) error {
	if line < 1 {
		return errors.New(text)
	}
	return fmt.Errorf("line %d, column %d of the condition: %s", line, column+1, text)
}

// overload is how CEL says that types do not fit.
var overload = regexp.MustCompile(`found no matching overload for '([^']*)' applied to '([^']*)'`)

// plain leaves out of CEL's messages what says nothing to the author, and says what is
// taken instead.
func (s *Set) plain(text string) string {
	text, _, _ = strings.Cut(text, " expecting {")
	if text == "invalid duration argument" {
		return text + ": write hours, minutes or seconds, such as 720h for 30 days, and at most 2562047h47m16s"
	}
	text = strings.NewReplacer(" (in container '')", "", "Syntax error: ", "", "<EOF>", "end of the condition").Replace(text)
	return overload.ReplaceAllStringFunc(text, func(found string) string {
		parts := overload.FindStringSubmatch(found)
		name, given := strings.Trim(parts[1], "_"), strings.TrimSuffix(celTypes.Replace(parts[2]), ".()")
		if of, receiver := s.askedOf(name, given); of != receiver {
			return name + " is asked of a " + of + ", not of a " + receiver
		}
		return name + " does not take " + given + s.taken(name, given)
	})
}

// celTypes are the names of CEL's types as conditions have them.
var celTypes = strings.NewReplacer("google.protobuf.Timestamp", "timestamp", "google.protobuf.Duration", "duration")

// askedOf is the type that stands before a function of ours, as now in now.getHours(), and
// the one that was given; alike where nothing is wrong with it.
func (s *Set) askedOf(name, given string) (of, receiver string) {
	f := s.env.functions[name]
	receiver, _, _ = strings.Cut(given, ".(")
	if f == nil || !f.member || receiver == "dyn" || strings.HasPrefix(given, "(") {
		return "", ""
	}
	return celTypes.Replace(f.Args[0].Type.String()), receiver
}

// taken says what a function or operator takes.
func (s *Set) taken(name, given string) (said string) {
	if f := s.env.functions[name]; f != nil {
		return f.taken(given)
	}
	types := strings.Split(strings.Trim(given, "()"), ", ")
	switch {
	case slices.Contains(types, "amount"):
		return "; amounts are counted with amounts, or with whole numbers on the right, and compared by == with amount(...)"
	case slices.Contains(types, "uint") && slices.Contains(types, "int"):
		return "; 3u is an unsigned number and 3 is not: write both sides alike"
	case slices.Contains(types, "double") && slices.Contains(types, "int"):
		return "; 3.0 is a number with a point and 3 is not: write both sides alike"
	}
	return ""
}

// taken says what the arguments must be whose types were not.
func (f *Function) taken(given string) (said string) {
	types := strings.Split(strings.Trim(given, "()"), ", ")
	for i, a := range f.Args {
		fits := len(types) == len(f.Args) && types[i] == celTypes.Replace(a.Type.String())
		if a.Form != Any && !fits {
			said += "; " + a.Name + " must be " + string(a.Form)
		}
	}
	return said
}

// program plans a condition. What does not depend on the request, such as
// units("eth", "1.5"), is computed here once.
func (s *Set) program(checked *cel.Ast, more ...cel.ProgramOption) (cel.Program, error) {
	fold := &evaluation{set: s, facts: &Facts{}}
	options := []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.CostTracking(&costs{functions: s.env.functions}),
		cel.CustomDecoratorV2(fold.constant),
	}
	return s.env.Program(checked, append(options, more...)...)
}

// folded are the functions whose value depends on their arguments and the
// document alone.
var folded = map[string]bool{"asset": true, "units": true, "amount": true}

// constant replaces a call of a folded function with literal arguments by its
// value.
func (e *evaluation) constant(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || !folded[call.Function()] {
		return i, nil
	}
	for _, arg := range call.Args() {
		if _, literal := arg.(interpreter.InterpretableConst); !literal {
			return i, nil
		}
	}
	return interpreter.NewConstValue(call.ID(), call.Eval(e)), nil
}
