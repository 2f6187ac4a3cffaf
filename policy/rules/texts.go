package rules

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"

	"github.com/countersign/countersign/transaction/ethereum"
)

// anchor is how a pattern begins that matches from the start on.
var anchor = regexp.MustCompile(`^(?:\(\?i\))?(?:\^|\\A)(?:\((?:\?:)?)*`)

// within refuses parts of texts and patterns that no account, asset or selector has.
func (c *condition) within(call ast.CallExpr) {
	args := call.Args() // of the text and the part, as matches(text, part) has them
	if call.IsMemberFunction() {
		args = []ast.Expr{call.Target(), args[0]}
	}
	m := c.meaning(args[0])
	if !slices.Contains([]meaning{accountName, contractName, assetName, selectorText}, m) {
		return
	}
	for _, literal := range c.literals(args[1]) {
		text, ok := stringLiteral(literal)
		if !ok {
			continue
		}
		begins := call.FunctionName() == overloads.StartsWith
		if call.FunctionName() == overloads.Matches {
			begins = anchor.MatchString(text)
			c.pattern(literal, text)
		} else if text != strings.ToLower(text) {
			c.fault(literal, "%q never matches: accounts, assets and selectors are in lower case", bounded(text))
		}
		if begins && (m == accountName || m == assetName) && strings.HasPrefix(anchor.ReplaceAllString(text, ""), "0x") {
			c.fault(literal, "%q never matches: accounts are CAIP-10 and begin with their chain, such as eip155:1:0x, and so do assets", bounded(text))
		}
		if call.FunctionName() == overloads.StartsWith && m == selectorText && !strings.HasPrefix(text, "0x"[:min(2, len(text))]) {
			c.fault(literal, "%q never matches: a selector begins with 0x", bounded(text))
		}
	}
}

// pattern refuses a regular expression that asks for a capital.
func (c *condition) pattern(literal ast.Expr, text string) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err == nil && capital(parsed) {
		c.fault(literal, "%q asks for a capital, which never matches: accounts, assets and selectors are in lower case", bounded(text))
	}
}

// capital says whether some part of a regular expression matches capitals and no
// small letter.
func capital(r *syntax.Regexp) bool {
	switch r.Op {
	case syntax.OpLiteral:
		return r.Flags&syntax.FoldCase == 0 && slices.ContainsFunc(r.Rune, func(c rune) bool { return c >= 'A' && c <= 'Z' })
	case syntax.OpCharClass:
		return reaches(r.Rune, 'A', 'Z') && !reaches(r.Rune, 'a', 'z')
	}
	return slices.ContainsFunc(r.Sub, capital)
}

// reaches says whether a class, as pairs of runes, has one between two.
func reaches(class []rune, low, high rune) bool {
	for i := 0; i+1 < len(class); i += 2 {
		if class[i] <= high && class[i+1] >= low {
			return true
		}
	}
	return false
}

// party checks an account, address or asset that a function is given: what is known
// at load to be none, or to be one without its chain.
func (c *condition) party(function string, a Argument, e ast.Expr) {
	for _, literal := range c.literals(e) {
		if text, ok := stringLiteral(literal); ok {
			c.partyLiteral(function, a.Form, literal, text)
		}
	}
	fits := map[Form][]meaning{
		Account: {accountName, contractName}, Address: {contractName}, AssetID: {assetName},
	}[a.Form]
	if m := c.meaning(e); m != notKnown && m != freeText && !slices.Contains(fits, m) {
		c.fault(e, "%s: %s must be %s", function, a.Name, a.Form)
	}
	if a.Form == Address || !loose(c.ast.GetType(e.ID())) || !c.origin(e).bare() {
		return
	}
	if a.Form == Account {
		c.fault(e, "%s: addresses in typed.message and args have no chain: write account(...) around it", function)
		return
	}
	c.fault(e, "%s: %s must be %s; an address in typed.message and args is none", function, a.Name, a.Form)
}

func (c *condition) partyLiteral(function string, form Form, literal ast.Expr, text string) {
	switch form {
	case Account:
		c.told(literal, accountName, text)
	case AssetID:
		if err := c.name(form, text); err != nil {
			c.fault(literal, "%s: %v", function, err)
		}
		c.known(assetName, text)
	case Address:
		if _, err := ethereum.ReadAddress(text); err != nil {
			c.fault(literal, "%s: %q: %v", function, bounded(text), err)
		}
	}
}

// ofEntries refuses to ask a list for what only entries in the document have.
func (b *book) ofEntries(function, id string) error {
	if l := b.lists[id]; l != nil && l.file != nil && (function == "labelled" || function == "entry_age") {
		return fmt.Errorf("list %q is a file: it has no labels and no `since`; write the entries into the document, or ask listed(...)", id)
	}
	return nil
}
