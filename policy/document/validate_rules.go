package document

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/message"
)

// Bounds of rules. Reasons and conditions are in bytes.
const (
	MaxRules  = 1000
	MaxWhen   = 4096
	maxReason = 200
)

// rules checks everything but the conditions, which the rules' own package
// compiles.
func (v *validator) rules() {
	r := v.doc.Rules
	if n := len(r.Authorization) + len(r.Fraud) + len(r.Approval); n > MaxRules {
		v.fault("rules: %d of them, more than %d", n, MaxRules)
	}
	for _, role := range message.PolicyRoles() {
		ids := map[string]bool{}
		for _, rule := range r.Of(role) {
			where := fmt.Sprintf("rules: %s: %q", role, rule.ID)
			v.id(where, rule.ID, ids)
			v.effect(where, role, rule)
			v.texts(where, rule)
			v.ruleKinds(where, rule.Kinds)
			v.asked(where, rule)
		}
	}
}

func (v *validator) effect(where, role string, r Rule) {
	switch r.Effect {
	case EffectAllow:
	case EffectAsk:
		if role != message.RoleApproval {
			v.fault("%s: only a rule of approval can ask people", where)
		}
	case EffectDeny:
		if r.UnknownCalls {
			v.fault("%s: a rule that denies covers unknown calls without saying so", where)
		}
	default:
		v.fault("%s: effect %q is not allow, ask or deny", where, r.Effect)
	}
}

func (v *validator) texts(where string, r Rule) {
	if strings.TrimSpace(r.When) == "" || len(r.When) > MaxWhen {
		v.fault("%s: when is missing or longer than %d bytes", where, MaxWhen)
	}
	if len(r.Reason) > maxReason || !printable(r.Reason) {
		v.fault("%s: reason is longer than %d bytes or not printable", where, maxReason)
	}
}

func (v *validator) ruleKinds(where string, kinds []message.Kind) {
	v.kinds(where, kinds)
	for i, k := range kinds {
		if slices.Contains(kinds[:i], k) {
			v.fault("%s: kind %s stands twice", where, k)
		}
	}
}

// asked checks whom a rule asks.
func (v *validator) asked(where string, r Rule) {
	named := len(r.Approvers) > 0 || r.Quorum != 0
	section := v.doc.Approval
	switch {
	case r.Effect != EffectAsk && named:
		v.fault("%s: only a rule that asks has approvers and a quorum", where)
	case r.Effect != EffectAsk:
	case !named && (len(section.Approvers) == 0 || section.Quorum == 0):
		v.fault("%s: it asks, but neither it nor the section approval has approvers and a quorum", where)
	case named && (len(r.Approvers) == 0 || r.Quorum == 0):
		v.fault("%s: approvers and quorum go together", where)
	case named:
		v.ruleQuorum(where, r)
	}
}

func (v *validator) ruleQuorum(where string, r Rule) {
	known, seen := len(v.faults), map[string]bool{}
	for _, id := range r.Approvers {
		group := slices.ContainsFunc(v.doc.Groups, func(g Group) bool { return g.ID == id })
		v.named(where, "approver or group", id, group || v.hasApprover(id), seen)
	}
	persons := map[string]bool{}
	for _, id := range v.doc.expand(r.Approvers) {
		i := slices.IndexFunc(v.doc.Approvers, func(a Approver) bool { return a.ID == id })
		switch {
		case i >= 0:
			persons[v.doc.Approvers[i].person()] = true
		case !slices.Contains(r.Approvers, id):
			v.fault("%s: %q of a group is no approver", where, id)
		}
	}
	if len(v.faults) > known {
		return // how many persons it asks shows once the names are right
	}
	if r.Quorum < 1 || r.Quorum > len(persons) {
		v.fault("%s: quorum %d is not between 1 and the %d persons whom it asks", where, r.Quorum, len(persons))
	}
}
