package rules_test

import (
	"fmt"
	"maps"
	"math/big"
	"strings"
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

// TestAssetsThatNoEffectNames: a literal that is of the right form, and no
// request's asset, is refused when the document is loaded.
func TestAssetsThatNoEffectNames(t *testing.T) {
	const contract = "0x00000000000000000000000000000000000000aa"
	for asset, want := range map[string]string{
		"eip155:137/slip44:966":               "the native coin of every eip155 chain is slip44:60",
		"eip155:1/erc1155:" + contract:        "each item of an erc1155 contract is an asset of its own",
		"eip155:1/erc777:" + contract:         "erc20, erc721 or erc1155",
		"eip155:1/erc20:0xaa":                 "is not a CAIP-19 asset",
		"eip155:137/slip44:60":                "",
		"eip155:1/erc721:" + contract:         "",
		"eip155:1/erc1155:" + contract + "/7": "",
	} {
		for _, when := range []string{
			`tx.moves.exists(m, m.asset == "` + asset + `")`, `tx.amounts.all(a, a.asset in [asset("eth"), "` + asset + `"])`,
			`amount_of("` + asset + `") > 5`, `amount_to(tx.to, "` + asset + `") > 5`, `history.sum("wallet", "` + asset + `", duration("1h")) > 5`,
		} {
			_, err := rules.Compile(documentOf(deny(when)), message.RoleApproval, nil)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
	}
}

// TestAmountTo: what one destination gets and may take of an asset is added up,
// in whatever parts and spelling it stands.
func TestAmountTo(t *testing.T) {
	f := transfer()
	e := &f.Meaning.Effects
	e.Moves = append(e.Moves,
		transaction.Move{Asset: usdc, From: alice, To: "eip155:1:0x" + strings.ToUpper(bob[11:]), Amount: big.NewInt(500_000)},
		transaction.Move{Asset: usdc, From: alice, To: near, Amount: big.NewInt(7)},
		transaction.Move{Asset: usdc, From: alice, Amount: big.NewInt(9)},
		transaction.Move{Asset: eth, From: alice, To: bob, Amount: big.NewInt(11)})
	e.Allowances = []transaction.Allowance{{Asset: usdc, Owner: alice, Spender: bob, Amount: big.NewInt(1_000_000)}}
	for when, want := range map[string]string{
		`amount_to("` + bob + `", asset("usdc")) == units("usdc", "4")`:                  "true",
		`amount_to("` + near + `", asset("usdc")) == amount(7)`:                          "true",
		`amount_to("` + bob + `", asset("eth")) == amount(11)`:                           "true",
		`amount_to("` + twin + `", asset("usdc")) == amount(0)`:                          "true",
		`tx.moves.exists(m, m.to == "" && amount_to(m.to, asset("usdc")) == amount(9))`:  "true",
		`tx.moves.exists(m, m.amount > units("usdc", "2.5"))`:                            "false", // no move alone is above
		`tx.moves.exists(m, amount_to(m.to, asset("usdc")) > units("usdc", "3.999999"))`: "true",
		`tx.moves.exists(m, amount_to(m.to, asset("usdc")) > units("usdc", "4"))`:        "false",
	} {
		if got := value(t, f, when); got != want {
			t.Errorf("%s: %s", when, got)
		}
	}
	if got := value(t, creation(), `amount_to("`+bob+`", asset("usdc")) == amount(0)`); got != "error: the request has no amounts" {
		t.Errorf("of a request that moves nothing: %s", got)
	}
	e.Moves[2].Amount = nil
	if got := value(t, f, `amount_to("`+bob+`", asset("usdc")) == amount(0)`); !strings.HasPrefix(got, "error: effects cannot be counted") {
		t.Errorf("of what cannot be added up: %s", got)
	}
}

// habits notes which amounts are compared with the past.
type habits struct {
	*fakeHistory
	asked map[string]string
}

func (h habits) Habit(_, asset string, n *big.Int) ledger.Habit {
	h.asked[asset] = n.String()
	return ledger.Habit{}
}

// TestUnusualLeavesTheFeeOut: a payment of tokens is no payment of ether, however
// high its fee, and a payment of ether is as high as what it pays.
func TestUnusualLeavesTheFeeOut(t *testing.T) {
	tokens, ether := transfer(), transfer()
	ether.Meaning.Effects.Moves = []transaction.Move{{Asset: eth, From: alice, To: bob, Amount: big.NewInt(5)}}
	for name, c := range map[string]struct {
		facts rules.Facts
		want  map[string]string
	}{
		"tokens": {tokens, map[string]string{usdc: "2500000"}},
		"ether":  {ether, map[string]string{eth: "5"}},
		"permit": {permit(), map[string]string{usdc: maxUint256.String()}},
	} {
		h := habits{&fakeHistory{}, map[string]string{}}
		c.facts.History = h
		if got := value(t, c.facts, `signal.unusual("wallet", 6.0)`); got != "false" || !maps.Equal(h.asked, c.want) {
			t.Errorf("%s: %s, compared %v, want %v", name, got, h.asked, c.want)
		}
	}
}
