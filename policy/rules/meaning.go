package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// meaning is what a text that conditions read stands for. It tells which texts no
// request has there.
type meaning int

const (
	notKnown meaning = iota
	freeText
	kindName
	userName
	groupName
	recordID
	accountName
	contractName // an account, or its address alone
	assetName
	chainName
	formName
	selectorText
	functionName
	argumentName
)

// meanings are those of variables and of the fields of elements; of a list, that
// of what is in it.
var meanings = map[string]meaning{
	"request.kind": kindName,
	"user.id":      userName, "user.groups": groupName, "wallet.owner": userName,
	"wallet.id": recordID, "account.id": recordID,
	"account.address": accountName, "account.chain": chainName,
	"tx.form": formName, "tx.chain": chainName, "tx.from": accountName, "tx.to": accountName,
	"typed.contract": contractName,
	"tx.selector":    selectorText, "tx.destinations": accountName, "tx.message": freeText,
	"Move.asset": assetName, "Move.from": accountName, "Move.to": accountName,
	"Allowance.asset": assetName, "Allowance.owner": accountName, "Allowance.spender": accountName,
	"Call.to": accountName, "Call.selector": selectorText, "Call.function": functionName,
	"Call.args":    argumentName, // its keys
	"Amount.asset": assetName,
}

// meaning is what an expression stands for, or what is in its list.
func (c *condition) meaning(e ast.Expr) meaning {
	switch e.Kind() {
	case ast.IdentKind:
		if m, ok := meanings[e.AsIdent()]; ok {
			return m
		}
		if over, ok := c.loops[e.ID()]; ok {
			return c.meaning(over)
		}
	case ast.SelectKind:
		return meanings[c.ast.GetType(e.AsSelect().Operand().ID()).TypeName()+"."+e.AsSelect().FieldName()]
	case ast.CallKind:
		switch call := e.AsCall(); call.FunctionName() {
		case operators.Index:
			return c.element(call.Args()[0])
		case operators.Conditional:
			return c.common(call.Args()[1], call.Args()[2])
		case "account":
			return accountName
		case "asset":
			return assetName
		}
	case ast.ComprehensionKind:
		if added := collected(e.AsComprehension().LoopStep()); added != nil {
			return c.meaning(added)
		}
	}
	return notKnown
}

// common is what both of two values stand for.
func (c *condition) common(a, b ast.Expr) meaning {
	if m := c.meaning(a); m == c.meaning(b) {
		return m
	}
	return notKnown
}

// element is what one of a list stands for. What stands in a map is of its own kind.
func (c *condition) element(of ast.Expr) meaning {
	if m := c.meaning(of); m != argumentName {
		return m
	}
	return notKnown
}

var (
	// mixed are selectors and addresses, in any case.
	mixed        = regexp.MustCompile(`^0[xX](?:[0-9a-fA-F]{8}|[0-9a-fA-F]{40})$`)
	selectorForm = regexp.MustCompile(`^0x(?:[0-9a-f]{2}){0,4}$`)
	chainForm    = regexp.MustCompile(`^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$`)
)

// forms are those of what is signed.
var forms = []string{"legacy", "eip2930", "eip1559", "eip191", "eip712"}

// never says why no request has a text there; empty where one may.
func (b *book) never(m meaning, text string) string {
	capitals := mixed.MatchString(text) && text != strings.ToLower(text)
	switch {
	case m == freeText:
	case m == kindName:
		return noKind(text)
	case text == "": // what is not there
	case m == groupName && b.groups[text] == nil:
		return fmt.Sprintf("there is no group %q", bounded(text))
	case m == functionName && !b.signed[text]:
		return fmt.Sprintf("no function %q is declared under calls", bounded(text))
	case m == argumentName && b.args[text] == nil:
		return fmt.Sprintf("no function under calls has an argument %q", bounded(text))
	case (m == notKnown || m == selectorText) && capitals:
		return fmt.Sprintf("%q never matches: selectors and addresses are in lower case", text)
	case m == selectorText && !selectorForm.MatchString(text):
		return fmt.Sprintf("%q never matches: a selector is 0x and 8 hex digits", bounded(text))
	case m == contractName && addressForm.MatchString(text):
		return fmt.Sprintf("%q alone is a contract of a domain without a chain: write typed.contract in [\"eip155:1:%s\", ...], and the address too if that is meant", text, text)
	case (m == accountName || m == contractName) && !document.CanonicalAccount(text) && !otherCase(text):
		return fmt.Sprintf("%q never matches: accounts are CAIP-10, such as eip155:1:0x and 40 hex digits in lower case", bounded(text))
	case m == assetName && !strings.Contains(text, "/"):
		return fmt.Sprintf("%q never matches: assets are CAIP-19; write asset(%q) for one of the document", bounded(text), bounded(text))
	case m == assetName && !otherCase(text) && document.CheckAsset(text) != nil:
		return document.CheckAsset(text).Error()
	case m == chainName && !chainForm.MatchString(text):
		return fmt.Sprintf("%q never matches: chains are CAIP-2, such as eip155:1", bounded(text))
	case m == formName && !slices.Contains(forms, text):
		return fmt.Sprintf("%q never matches: there are the forms %s", bounded(text), strings.Join(forms, ", "))
	case m == recordID && !isHash(text):
		return fmt.Sprintf("%q never matches: an id is 64 lower-case hex digits", bounded(text))
	}
	return ""
}

func noKind(text string) string {
	switch {
	case slices.Contains(ruledKinds(), message.Kind(text)):
		return ""
	case slices.Contains(allKinds(), message.Kind(text)):
		return fmt.Sprintf("%q never matches: no rule is asked about a freeze", text)
	}
	return fmt.Sprintf("there is no kind %q", bounded(text))
}

func isHash(text string) bool {
	_, err := message.ParseHash(text)
	return err == nil
}

// otherCase says that a text is told as one of eip155 that has capitals.
func otherCase(text string) bool {
	lower := strings.ToLower(text)
	return strings.HasPrefix(lower, "eip155:") && text != lower
}

// unnamed says what a text may well not be meant to be: of the right form, and
// nothing that the document knows.
func (b *book) unnamed(m meaning, text string) string {
	switch {
	case m == groupName && b.groups[text] != nil && !b.hasUser(b.groups[text]):
		return fmt.Sprintf("no user is in group %q", bounded(text))
	case m == userName && text != "" && !b.users[text]:
		return fmt.Sprintf("the document has no user %q", bounded(text))
	case m == assetName && strings.Contains(text, "/") && b.named[text] == nil:
		return fmt.Sprintf("%q is none of the document's assets", bounded(text))
	case m == chainName && chainForm.MatchString(text) && !b.chains[text]:
		return fmt.Sprintf("no asset, list or call of the document is of chain %q", bounded(text))
	}
	return ""
}

// hasUser says whether one of a group's members is a user.
func (b *book) hasUser(group map[string]bool) bool {
	for id := range group {
		if b.users[id] {
			return true
		}
	}
	return false
}
