// Package policies makes the policy documents that the benchmark compares and
// decides with.
//
// It is part of the benchmark alone: a document that it makes is for a
// development deployment, and lets its load through.
package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/policy/document"
)

// user is whom the template's rules let pay; the load's user takes the place.
const user = "tom"

// change is one condition of the template that would not let the load through, in
// each role that has the rule, with what stands in its place: as much to evaluate,
// with another bound or unit.
type change struct{ rule, from, to string }

// changes keep every rule and every signal of the treasury template. What they
// change are bounds: a benchmark runs at any hour, pays thousands of times an
// hour, and each of its wallets pays its one receiver for the first time.
var changes = []change{
	{"weekend", `getDayOfWeek("Europe/Zurich") in [0, 6]`, `getFullYear("Europe/Zurich") in [2000, 2006]`},
	{"closed", "in [7, 8,", "in [0, 1, 2, 3, 4, 5, 6, 19, 20, 21, 22, 23, 7, 8,"},
	{"fee-out-of-range", `"0.0000000001"`, `"0"`},
	{"user-hour", ">= 20", ">= 1000000000"},
	{"many", ">= 20", ">= 1000000000"},
	{"wallet-day-eth", `units("eth", "1000")`, `units("eth", "1000000")`},
	{"first-use", "signal.first_use()", `signal.first_use() && amount_of(asset("eth")) > units("eth", "2")`},
}

// Treasury returns the treasury template with the load's receiver among the
// suppliers, its deployment's services, and its user in place of the template's.
func Treasury(template []byte, simple *document.Document, version int, receiver string) ([]byte, error) {
	doc, err := document.Parse(template)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	doc.Version, doc.Deployment, doc.Expires, doc.Services = version, simple.Deployment, simple.Expires, simple.Services
	if err := replaceUser(doc, simple.Users[0]); err != nil {
		return nil, err
	}
	for i := range doc.Lists {
		if len(doc.Lists[i].Entries) > 0 {
			doc.Lists[i].Entries = append(doc.Lists[i].Entries, document.Entry{
				Account: receiver, Label: "benchmark", Since: doc.Lists[i].Entries[0].Since,
			})
		}
	}
	for _, c := range changes {
		if err := c.apply(doc); err != nil {
			return nil, err
		}
	}
	return yaml.Marshal(doc)
}

// replaceUser puts the load's user where the template's stood.
func replaceUser(doc *document.Document, real document.User) error {
	found := false
	for i := range doc.Users {
		if doc.Users[i].ID == user {
			doc.Users[i], found = real, true
		}
	}
	if !found {
		return fmt.Errorf("template has no user %q", user)
	}
	for _, group := range doc.Groups {
		rename(group.Members, real.ID)
	}
	for _, grant := range doc.Grants {
		rename(grant.Users, real.ID)
	}
	return nil
}

func rename(ids []string, to string) {
	for i, id := range ids {
		if id == user {
			ids[i] = to
		}
	}
}

// errTemplate says that the template has changed under the benchmark.
var errTemplate = errors.New("the template's rule is not the one that the benchmark knows")

func (c change) apply(doc *document.Document) error {
	found := false
	for _, list := range [][]document.Rule{doc.Rules.Authorization, doc.Rules.Fraud, doc.Rules.Approval} {
		for i := range list {
			if list[i].ID != c.rule {
				continue
			}
			if !strings.Contains(list[i].When, c.from) {
				return fmt.Errorf("%s: %w", c.rule, errTemplate)
			}
			list[i].When, found = strings.Replace(list[i].When, c.from, c.to, 1), true
		}
	}
	if !found {
		return fmt.Errorf("%s: %w", c.rule, errTemplate)
	}
	return nil
}

// Simple returns the simplest document with the persons, services and grants of
// another one: in each role one rule allows what is granted, and there are no
// lists, assets or limits.
func Simple(of *document.Document, version int) ([]byte, error) {
	doc := *of
	doc.Version, doc.Lists, doc.Assets, doc.Calls = version, nil, nil, nil
	rule := document.Rule{ID: "granted", Effect: document.EffectAllow, When: "true"}
	for _, grant := range of.Grants {
		for _, kind := range grant.Kinds {
			if !slices.Contains(rule.Kinds, kind) {
				rule.Kinds = append(rule.Kinds, kind)
			}
		}
	}
	one := []document.Rule{rule}
	doc.Rules = document.Rules{Authorization: one, Fraud: one, Approval: one}
	return yaml.Marshal(&doc)
}
