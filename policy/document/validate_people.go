package document

import "strings"

// people refuses two ids of users or approvers that differ in case only. The same
// id is the same person, who agrees to nothing of their own and is counted once:
// two spellings would pass for one person to whoever reads the document, and for
// two here. Ids are ASCII, whose lower case is what Unicode folds it to.
func (v *validator) people() {
	spelled := map[string]string{}
	check := func(what, id string) {
		folded := strings.ToLower(id)
		other, known := spelled[folded]
		switch {
		case !known:
			spelled[folded] = id
		case other != id:
			v.fault("%s %q: the id differs from %q in case only", what, id, other)
		}
	}
	for _, u := range v.doc.Users {
		check("user", u.ID)
	}
	for _, a := range v.doc.Approvers {
		check("approver", a.ID)
	}
}
