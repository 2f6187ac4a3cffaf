package rules

import "slices"

// How many steps one question, and all about one document, may take before it stays
// without an answer: nobody makes a check take long. A step is one value, or one part of
// a condition, that is looked at.
const (
	patience      = 200_000
	patienceInAll = 10_000_000
)

// proof asks whether formulas can be true together. It takes parts that it does not
// understand for whatever may be, so that "never" is certain; "may be" is not.
type proof struct {
	users []string // all that user.id can be; nil: it is not known
	left  int
}

// never says that no request makes all of the formulas true, also where terms fail:
// formulas that are true with some terms unknown are true whatever those are.
func (c *checker) never(users []string, formulas ...formula) bool {
	p := &proof{users: users, left: min(patience, patienceInAll-c.steps)}
	begin := p.left
	out := p.never(formulas, nil)
	c.steps += begin - p.left
	return out
}

// take takes steps, and says whether there were as many.
func (p *proof) take(steps int) bool {
	p.left -= steps
	return p.left >= 0
}

func (p *proof) never(todo []formula, known []*atom) bool {
	if !p.take(1 + len(todo) + len(known)) {
		return false
	}
	var choices []formula
	known = slices.Clone(known)
	for _, f := range todo {
		f.split(&known, &choices)
	}
	if p.contradict(known) {
		return true
	}
	if len(choices) == 0 {
		return false
	}
	for _, part := range choices[0].parts {
		if !p.never(append([]formula{part}, choices[1:]...), known) {
			return false
		}
	}
	return true
}

// split takes a formula apart into what must hold and what leaves a choice.
func (f formula) split(known *[]*atom, choices *[]formula) {
	switch {
	case f.atom != nil:
		*known = append(*known, f.atom)
	case f.all:
		for _, part := range f.parts {
			part.split(known, choices)
		}
	default:
		*choices = append(*choices, f)
	}
}

// contradict says that no value of some term fits all that is said of it.
func (p *proof) contradict(known []*atom) bool {
	if !p.take(len(known)) {
		return false
	}
	var terms []string // in one order, so that the same is found each time
	of := map[string][]*atom{}
	for _, a := range known {
		if of[a.term] == nil {
			terms = append(terms, a.term)
		}
		of[a.term] = append(of[a.term], a)
	}
	for _, term := range terms {
		if !p.possible(term, of[term]) {
			return true
		}
	}
	return false
}

// possible says that some value of a term fits all that is said of it, or that to look
// would take too long.
func (p *proof) possible(term string, atoms []*atom) bool {
	isUser := term == "user.id" && p.users != nil
	many := 1
	for _, a := range atoms {
		many += len(a.bound) + len(a.texts)
	}
	if isUser {
		many = len(p.users)
	}
	if !p.take(many * len(atoms)) {
		return true
	}
	values := valuesOf(atoms)
	if isUser {
		values = asTexts(p.users)
	}
	return slices.ContainsFunc(values, func(v value) bool { return fits(v, atoms) })
}

func asTexts(list []string) (out []value) {
	for _, text := range list {
		out = append(out, value{s: text})
	}
	return out
}

// valuesOf are those of a term, one at least of each kind that the atoms tell apart.
func valuesOf(atoms []*atom) (out []value) {
	other := ""
	for _, a := range atoms {
		out = append(out, a.bound...)
		for text := range a.texts {
			out = append(out, value{s: text})
			other = max(other, text)
		}
	}
	if len(out) == 0 || out[0].n == nil {
		out = append(out, value{s: other + "?"}) // stands behind all texts, and so is none of them
	}
	return out
}

func fits(v value, atoms []*atom) bool {
	return !slices.ContainsFunc(atoms, func(a *atom) bool {
		outside := v.n != nil && (a.span.least != nil && v.n.Cmp(a.span.least) < 0 || a.span.most != nil && v.n.Cmp(a.span.most) > 0)
		return outside || !a.holds(v)
	})
}
