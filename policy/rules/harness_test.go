package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// transactions are the kinds of a rule about transactions.
var transactions = []message.Kind{message.KindEthereumTransaction}

// allow, ask and deny are rules with a condition; their id is the condition.
func allow(when string) document.Rule {
	return document.Rule{ID: when, Effect: document.EffectAllow, When: when}
}

func ask(when string) document.Rule {
	return document.Rule{ID: when, Effect: document.EffectAsk, When: when, Reason: "people"}
}

func deny(when string) document.Rule {
	return document.Rule{ID: when, Effect: document.EffectDeny, When: when, Reason: "never"}
}

// documentOf is a document with some of everything and the rules of approval.
func documentOf(list ...document.Rule) *document.Document {
	list = slices.Clone(list)
	for i := range list {
		for slices.ContainsFunc(list[:i], func(r document.Rule) bool { return r.ID == list[i].ID }) {
			list[i].ID += "'"
		}
	}
	doc := bookOf200()
	doc.Rules = document.Rules{Approval: list}
	doc.Calls = []document.Call{
		{Function: "transfer(address to, uint256 value)"},
		{Contract: usdcContract, Function: "approve(address spender, uint256 value)"},
		{Function: "act(uint256 kind, uint256 amount)"},
	}
	return doc
}

// decide puts facts to rules of the approval role.
func decide(t *testing.T, facts rules.Facts, list ...document.Rule) rules.Outcome {
	t.Helper()
	return compile(t, documentOf(list...), message.RoleApproval).Explain(t.Context(), facts)
}

// value is what a condition says, or its error.
func value(t *testing.T, facts rules.Facts, when string) string {
	t.Helper()
	r := allow(when)
	r.UnknownCalls = true
	step := decide(t, facts, r).Trace[0]
	switch {
	case step.Err != "":
		return "error: " + step.Err
	case step.Value:
		return "true"
	}
	return "false"
}

func codes(reasons []message.Reason) (out []string) {
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

func hasReason(reasons []message.Reason, code, part string) bool {
	return slices.ContainsFunc(reasons, func(r message.Reason) bool { return r.Code == code && strings.Contains(r.Detail, part) })
}

// creation is a request that has no transaction.
func creation() rules.Facts {
	f := transfer()
	f.Meaning = transaction.Meaning{
		Statement:    message.Statement{Kind: message.KindWalletCreate},
		Wallet:       "w2",
		WalletCreate: &message.WalletCreate{Owner: "ada"},
	}
	return f
}

// signedText is a message to be signed.
func signedText(text []byte) rules.Facts {
	f := transfer()
	f.Meaning.Statement.Kind = message.KindEthereumMessage
	f.Meaning.Effects = transaction.Effects{
		Message: text,
		Details: &transaction.Details{Form: "eip191", Chain: "eip155:1", From: alice},
	}
	return f
}

// permit is typed data that lets a spender take USDC.
func permit() rules.Facts {
	f := transfer()
	f.Meaning.Statement.Kind = message.KindEthereumTypedData
	f.Meaning.Effects = transaction.Effects{
		Allowances: []transaction.Allowance{{Asset: usdc, Owner: alice, Spender: bob, Amount: maxUint256}},
		Details: &transaction.Details{Form: "eip712", Chain: "eip155:1", From: alice, Typed: &transaction.Typed{
			PrimaryType: "Permit", Name: "USD Coin", Version: "2", Contract: "eip155:1:0x" + strings.ToUpper(usdcContract[11:]),
			Message: []byte(`{"value":"115792089237316195423570985008687907853269984665640564039457584007913129639935","deadline":1800000000,"low":-5,"part":1.5,"list":[1,2],"inner":{"flag":true,"none":null}}`),
		}},
	}
	return f
}
