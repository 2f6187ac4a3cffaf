package trial

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// A document that ends soon leaves no time for the next one, and one that ends
// late is one that nobody looks at again.
const (
	soon = 30 * 24 * time.Hour
	late = 400 * 24 * time.Hour
)

// Codes of warnings beside those of rules.Check.
const (
	// WarnExpiresSoon: the document ends within 30 days.
	WarnExpiresSoon = "expires_soon"
	// WarnExpiresLate: the document ends in more than 400 days.
	WarnExpiresLate = "expires_late"
	// WarnThawAhead: a thaw_all keeps somebody from freezing anything for a time.
	WarnThawAhead = "thaws_ahead"
)

// Report is what is to be said of a document.
type Report struct {
	// Faults keep the services from taking the document.
	Faults []error
	// Warnings are what is most likely not meant.
	Warnings []rules.Warning
}

// Deployment is what a document is for; the zero value stands for one that is
// not known.
type Deployment struct {
	Genesis message.Genesis
	ID      message.Hash
}

// Check looks at a document that was parsed, with the files of its lists: what
// it says, the types of its rules, and what is most likely not meant. Of an
// unknown deployment it takes the id and the required roles for granted.
func Check(doc *document.Document, files map[string]*document.ListFile, d Deployment, now time.Time) Report {
	var faults faults
	faults.add(validate(doc, d)...)
	if !doc.Expires.IsZero() && !now.Before(doc.Expires.Time) {
		faults.add(fmt.Errorf("the document expired at %s", doc.Expires.Format(time.RFC3339)))
	}
	active := &document.Active{Document: doc}
	if err := active.Attach(files); err != nil {
		faults.add(each(err)...)
	}
	faults.add(Conditions(doc, active.Files())...)
	if len(faults) > 0 {
		return Report{Faults: faults}
	}
	warnings := append(expiry(doc, now), thawsAhead(doc, now)...)
	return Report{Warnings: append(warnings, rules.Check(doc, active.Files())...)}
}

// Conditions returns what is wrong with the conditions of a document's rules, and
// with what they name. What the document's own validation finds is not among it.
func Conditions(doc *document.Document, files document.Lists) []error {
	var found faults
	for _, role := range roles {
		_, err := rules.Compile(doc, role, files)
		for _, fault := range each(err) {
			if !errors.As(fault, new(rules.DocumentError)) {
				found.add(fault)
			}
		}
	}
	return found
}

// faults are told once each: all roles find what is wrong in what they share.
type faults []error

func (f *faults) add(more ...error) {
	for _, fault := range more {
		same := func(other error) bool { return other.Error() == fault.Error() }
		if !slices.ContainsFunc(*f, same) {
			*f = append(*f, fault)
		}
	}
}

// thawsAhead warns of what is taken back before it is frozen.
func thawsAhead(doc *document.Document, now time.Time) (out []rules.Warning) {
	for _, t := range doc.ThawAll {
		if t.Until.After(now) {
			out = append(out, rules.Warning{Code: WarnThawAhead, Detail: fmt.Sprintf(
				"thaw_all: %s can freeze nothing until %s; choose an until that has passed", t.By, t.Until.Format(time.RFC3339))})
		}
	}
	return out
}

// validate checks everything that a document says of itself.
func validate(doc *document.Document, d Deployment) []error {
	if d.ID.IsZero() {
		stood, err := standInGenesis()
		if err != nil {
			return []error{err}
		}
		var faults []error
		if _, err := message.ParseHash(doc.Deployment); err != nil {
			faults = append(faults, fmt.Errorf("deployment: %w", err))
		}
		changed := *doc
		changed.Deployment = stood.ID.String()
		return append(faults, each(changed.Validate(stood.Genesis))...)
	}
	return each(doc.Validate(d.Genesis))
}

// standInGenesis is a genesis document with the usual roles.
func standInGenesis() (Deployment, error) {
	seed := message.Sum([]byte("countersign trial genesis"))
	admin, err := message.NewJWK(standIn("genesis admin").Public())
	if err != nil {
		return Deployment{}, err
	}
	g := message.Genesis{
		Version: message.Version, Name: "trial", Mode: message.ModeDevelopment, Nonce: seed[:16], Threshold: 1,
		Admins: []message.Admin{{Name: "trial", Key: admin}}, Roles: roles, AttestationRoots: []string{},
	}
	raw, err := message.Encode(g)
	if err != nil {
		return Deployment{}, err
	}
	return Deployment{Genesis: g, ID: message.Sum(raw)}, nil
}

// each takes errors.Join apart, so that every fault stands alone. An error with
// words of its own around others is one fault.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok || err.Error() != errors.Join(joined.Unwrap()...).Error():
		return []error{err}
	}
	var out []error
	for _, one := range joined.Unwrap() {
		out = append(out, each(one)...)
	}
	return out
}

func expiry(doc *document.Document, now time.Time) []rules.Warning {
	left := doc.Expires.Sub(now)
	warn := func(code, detail string) []rules.Warning {
		return []rules.Warning{{Code: code, Detail: fmt.Sprintf("the document ends at %s, %s", doc.Expires.Format(time.RFC3339), detail)}}
	}
	switch {
	case left < soon:
		return warn(WarnExpiresSoon, "in less than 30 days: nothing is decided from then on")
	case left > late:
		return warn(WarnExpiresLate, "in more than 400 days: it might stay longer than anybody means it to")
	}
	return nil
}
