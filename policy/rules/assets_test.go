package rules_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// collection moves so many items of one collection, each of which is an asset.
func collection(items int) rules.Facts {
	f := transfer()
	f.Meaning.Effects.Fee, f.Meaning.Effects.Moves = nil, nil
	for i := range items {
		f.Meaning.Effects.Moves = append(f.Meaning.Effects.Moves, transaction.Move{
			Asset: fmt.Sprintf("eip155:1/erc1155:0x00000000000000000000000000000000000000aa/%d", i),
			From:  alice, To: bob, Amount: big.NewInt(1),
		})
	}
	return f
}

// TestAttackPastOfManyAssets: a request that moves a thousand items does not have
// the role walk through a wallet's past a thousand times, and does not pass for it.
func TestAttackPastOfManyAssets(t *testing.T) {
	const most = 64
	for _, when := range []string{
		`signal.unusual("wallet", 6.0)`,
		`tx.amounts.exists(a, history.sum("wallet", a.asset, duration("24h")) > 5)`,
		`tx.amounts.exists(a, history.count_of("asset", a.asset, duration("24h")) > 5)`,
		`tx.moves.exists(m, history.sum_to(m.to, m.asset, duration("24h")) > 5)`,
	} {
		for items, want := range map[int]rules.Verdict{most: rules.Allow, most + 1: rules.Deny, 1000: rules.Deny} {
			h := &fakeHistory{habit: ledger.Habit{Count: 24, Z: 1, MedianAmount: big.NewInt(1)}}
			out := decide(t, with(collection(items), h), allow(`true`), deny(when), deny(when+` && true`))
			if out.Verdict != want || (want == rules.Deny) != hasReason(out.Reasons, rules.CodeFailed, "more than 64 assets") {
				t.Errorf("%s: %d assets: %s %v", when, items, out.Verdict, out.Reasons)
			}
			if h.calls > 2*most {
				t.Errorf("%s: %d assets: the past was looked up %d times", when, items, h.calls)
			}
		}
	}
}

// TestPastOfTheDocumentsAssets: of the assets that the document names itself the
// past can be looked up as often as its rules ask for.
func TestPastOfTheDocumentsAssets(t *testing.T) {
	var list []document.Rule
	f := collection(100)
	for i, m := range f.Meaning.Effects.Moves {
		asset := fmt.Sprintf("%q", m.Asset)
		if i%2 == 0 {
			asset = fmt.Sprintf("asset(%q)", fmt.Sprint("item", i))
		}
		list = append(list, deny(`history.sum("wallet", `+asset+`, duration("24h")) > 5`))
	}
	doc := documentOf(append(list, allow(`true`))...)
	for i := 0; i < 100; i += 2 {
		doc.Assets = append(doc.Assets, document.Asset{ID: fmt.Sprint("item", i), Asset: f.Meaning.Effects.Moves[i].Asset})
	}
	out := compile(t, doc, message.RoleApproval).Evaluate(t.Context(), with(f, &fakeHistory{}))
	if out.Verdict != rules.Allow {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
}
