package deploymenttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// The rules of the default policy, by which tests tell which of them decided.
// Those that end with "-" are followed by the name of an asset.
const (
	RuleOnce     = "over-transaction-limit-"
	RuleDaily    = "over-24-hours-limit-"
	RuleNoLimit  = "no-limit"
	RuleDenied   = "deny-listed"
	RuleMessages = "messages-not-allowed"
	RuleAbove    = "above-threshold-"
	RuleNoAsk    = "no-threshold"
	RuleUnknown  = "not-understood"
	RuleAlways   = "kind-needs-people"
	RuleAllow    = "otherwise"
)

// deniedList is the list that Deny fills.
const deniedList = "denied"

// moving are the kinds that can put an amount at risk.
var moving = []message.Kind{message.KindEthereumTransaction, message.KindEthereumTypedData}

// defaultRules are those of Deployment.Document.
func defaultRules(doc *document.Document) {
	allow := document.Rule{ID: RuleAllow, Effect: document.EffectAllow, When: "true"}
	doc.Rules.Authorization = []document.Rule{allow}
	doc.Rules.Fraud = []document.Rule{allow}
	doc.Rules.Approval = []document.Rule{allow}
	doc.Assets = []document.Asset{
		{ID: "ether", Asset: Ether, Decimals: 18},
		{ID: "token", Asset: Token, Decimals: 6},
	}
	Limit(doc, Ether, "100000000000000000000", "1000000000000000000000")
	Limit(doc, Token, "1000000000000", "10000000000000")
	AskAbove(doc, Ether, "1000000000000000000")
	AskAbove(doc, Token, "1000000000")
	setRule(&doc.Rules.Approval, document.Rule{
		ID: RuleUnknown, Effect: document.EffectAsk, Kinds: moving, UnknownCalls: true,
		When: "size(tx.unknown) > 0 || size(tx.moves) + size(tx.allowances) == 0", Reason: "it has effects that cannot be told",
	})
}

// Limit has the fraud rules deny more than so much of an asset (CAIP-19) in one
// transaction, and in 24 hours of a wallet, in base units. An asset without
// limits is denied.
func Limit(doc *document.Document, asset, once, daily string) {
	name := nameOf(doc, asset)
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleOnce + name, Effect: document.EffectDeny, Kinds: moving,
		When:   fmt.Sprintf(`tx.amounts.exists(a, a.asset == asset(%q) && a.amount > amount(%q))`, name, once),
		Reason: "the limit per transaction is " + once,
	})
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleDaily + name, Effect: document.EffectDeny, Kinds: moving,
		When: fmt.Sprintf(`tx.amounts.exists(a, a.asset == asset(%q) && `+
			`history.sum("wallet", asset(%q), duration("24h")) + a.amount > amount(%q))`, name, name, daily),
		Reason: "the limit of 24 hours is " + daily,
	})
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleNoLimit, Effect: document.EffectDeny, Kinds: moving,
		When: notAmong(doc.Rules.Fraud, RuleOnce), Reason: "the asset has no limit",
	})
}

// NoLimits takes the limits of all assets away, which are denied then.
func NoLimits(doc *document.Document) {
	doc.Rules.Fraud = slices.DeleteFunc(doc.Rules.Fraud, func(r document.Rule) bool {
		return strings.HasPrefix(r.ID, RuleOnce) || strings.HasPrefix(r.ID, RuleDaily)
	})
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleNoLimit, Effect: document.EffectDeny, Kinds: moving,
		When: notAmong(doc.Rules.Fraud, RuleOnce), Reason: "the asset has no limit",
	})
}

// Deny has the fraud rules deny whatever touches these accounts (CAIP-10).
func Deny(doc *document.Document, accounts ...string) {
	i := slices.IndexFunc(doc.Lists, func(l document.List) bool { return l.ID == deniedList })
	if i < 0 {
		i = len(doc.Lists)
		doc.Lists = append(doc.Lists, document.List{ID: deniedList})
	}
	for _, account := range accounts {
		doc.Lists[i].Entries = append(doc.Lists[i].Entries, document.Entry{Account: account})
	}
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleDenied, Effect: document.EffectDeny, Kinds: moving,
		When: fmt.Sprintf(`tx.destinations.exists(d, listed(%[1]q, d)) || tx.moves.exists(m, listed(%[1]q, m.from)) || `+
			`tx.allowances.exists(a, listed(%[1]q, a.owner))`, deniedList),
		Reason: "an account is on the deny list",
	})
}

// DenyMessages has the fraud rules deny messages.
func DenyMessages(doc *document.Document) {
	setRule(&doc.Rules.Fraud, document.Rule{
		ID: RuleMessages, Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumMessage},
		When: "true", Reason: "messages are not signed",
	})
}

// AskAbove has the approval rules ask people above so much of an asset
// (CAIP-19), in base units. Of an asset without a threshold they are always
// asked.
func AskAbove(doc *document.Document, asset, amount string) {
	name := nameOf(doc, asset)
	setRule(&doc.Rules.Approval, document.Rule{
		ID: RuleAbove + name, Effect: document.EffectAsk, Kinds: moving,
		When:   fmt.Sprintf(`amount_of(asset(%q)) > amount(%q)`, name, amount),
		Reason: "it is above " + amount, UnknownCalls: true,
	})
	setRule(&doc.Rules.Approval, document.Rule{
		ID: RuleNoAsk, Effect: document.EffectAsk, Kinds: moving,
		When: notAmong(doc.Rules.Approval, RuleAbove), Reason: "the asset has no threshold", UnknownCalls: true,
	})
}

// AskAlways has the approval rules ask people about every request of these
// kinds.
func AskAlways(doc *document.Document, kinds ...message.Kind) {
	setRule(&doc.Rules.Approval, document.Rule{
		ID: RuleAlways, Effect: document.EffectAsk, Kinds: kinds, When: "true",
		Reason: "such requests always need people", UnknownCalls: true,
	})
}

// setRule puts a rule before the last one, which allows, or in the place of the
// one with its id.
func setRule(section *[]document.Rule, rule document.Rule) {
	i := slices.IndexFunc(*section, func(r document.Rule) bool { return r.ID == rule.ID })
	if i >= 0 {
		(*section)[i] = rule
		return
	}
	*section = slices.Insert(*section, max(0, len(*section)-1), rule)
}

// notAmong is the condition that an asset is at risk which no rule with this
// beginning is about.
func notAmong(section []document.Rule, beginning string) string {
	var known []string
	for _, r := range section {
		if name, ok := strings.CutPrefix(r.ID, beginning); ok {
			known = append(known, fmt.Sprintf("asset(%q)", name))
		}
	}
	return "!tx.amounts.all(a, a.asset in [" + strings.Join(known, ", ") + "])"
}

// nameOf returns the document's name for an asset, which it gets if it has none.
func nameOf(doc *document.Document, asset string) string {
	for _, a := range doc.Assets {
		if a.Asset == asset {
			return a.ID
		}
	}
	name := fmt.Sprintf("asset%d", len(doc.Assets))
	doc.Assets = append(doc.Assets, document.Asset{ID: name, Asset: asset})
	return name
}
