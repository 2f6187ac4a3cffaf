package rules_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// TestAttackWhatIsNoCall: a contract creation, typed data and a message that nobody
// understands are among the calls, so that what is asked of all is asked of them.
func TestAttackWhatIsNoCall(t *testing.T) {
	creates := transfer()
	creates.Meaning.Effects.Details.To, creates.Meaning.Effects.Details.Creates = "", true
	creates.Meaning.Effects.Details.Calls = nil
	creates.Meaning.Effects.Unknown = []transaction.UnknownCall{{Value: creates.Meaning.Effects.Fee, Size: 20}}
	typed := permit()
	typed.Meaning.Effects.Allowances = nil
	typed.Meaning.Effects.Unknown = []transaction.UnknownCall{{To: alice, Selector: []byte{1, 2, 3, 4}, Size: 90}}
	text := signedText([]byte(strings.Repeat("x", 32)))
	text.Meaning.Effects.Unknown = []transaction.UnknownCall{{Size: 32}}
	for name, facts := range map[string]rules.Facts{"a creation": creates, "typed data": typed, "a message": text} {
		for when, want := range map[string]string{
			`tx.calls.all(c, listed("partners", c.to))`:                 "false",
			`tx.calls.all(c, c.understood || listed("partners", c.to))`: "false",
			`tx.calls.exists(c, !c.understood)`:                         "true",
			`size(tx.calls) == 1 && tx.calls == tx.unknown`:             "true",
		} {
			if got := value(t, facts, when); got != want {
				t.Errorf("%s: %s is %s", name, when, got)
			}
		}
	}
	call := transfer()
	call.Meaning.Effects.Details.Calls[0].Understood = false
	c := call.Meaning.Effects.Details.Calls[0]
	call.Meaning.Effects.Unknown = []transaction.UnknownCall{{To: c.To, Selector: c.Selector, Size: len(c.Data)}}
	if got := value(t, call, `size(tx.calls) == 1 && tx.calls == tx.unknown && tx.calls[0].args.value == amount(2500000)`); got != "true" {
		t.Errorf("a call that is not understood: %s", got)
	}
	call.Meaning.Effects.Unknown = append(call.Meaning.Effects.Unknown, call.Meaning.Effects.Unknown[0])
	if got := value(t, call, `size(tx.calls) == 2`); got != "true" {
		t.Errorf("two of one form, one of which is a call: %s", got)
	}
}
