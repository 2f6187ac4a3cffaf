package rules

import "slices"

// How many cases of one question, and of all about one document, are gone through
// before it stays without an answer: nobody makes a check take long.
const (
	patience      = 200
	patienceInAll = 50_000
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
	p := &proof{users: users, left: min(patience, patienceInAll-c.cases)}
	begin := p.left
	out := p.never(formulas, nil)
	c.cases += begin - p.left
	return out
}

func (p *proof) never(todo []formula, known []*atom) bool {
	if p.left--; p.left < 0 {
		return false
	}
	var choices []formula
	known = slices.Clone(known)
	for len(todo) > 0 {
		f := todo[0]
		todo = todo[1:]
		switch {
		case f.atom != nil:
			known = append(known, f.atom)
		case f.all:
			todo = append(slices.Clone(f.parts), todo...)
		default:
			choices = append(choices, f)
		}
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

// contradict says that no value of some term fits all that is said of it.
func (p *proof) contradict(known []*atom) bool {
	of := map[string][]*atom{}
	for _, a := range known {
		of[a.term] = append(of[a.term], a)
	}
	for term, atoms := range of {
		if !slices.ContainsFunc(p.values(term, atoms), func(v value) bool { return fits(v, atoms) }) {
			return true
		}
	}
	return false
}

// values are those of a term, one at least of each kind that the atoms tell apart.
func (p *proof) values(term string, atoms []*atom) (out []value) {
	if term == "user.id" && p.users != nil {
		for _, id := range p.users {
			out = append(out, value{s: id})
		}
		return out
	}
	other := "?" // longer than any text, and so none of them
	for _, a := range atoms {
		for _, v := range a.bound {
			out = append(out, v)
			other += v.s
		}
	}
	if len(out) == 0 || out[0].n == nil {
		out = append(out, value{s: other})
	}
	return out
}

func fits(v value, atoms []*atom) bool {
	return !slices.ContainsFunc(atoms, func(a *atom) bool {
		outside := v.n != nil && (a.span.least != nil && v.n.Cmp(a.span.least) < 0 || a.span.most != nil && v.n.Cmp(a.span.most) > 0)
		return outside || !a.holds(v)
	})
}
