package rules_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

// bookOf200 is a document as a bank would write it: most rules are about
// transactions, many ask for lists, history or signals.
func bookOf200() *document.Document {
	conditions := []string{
		`tx.value > units("eth", "%d")`,
		`tx.moves.exists(m, m.asset == asset("usdc") && m.amount > units("usdc", "%d000"))`,
		`history.sum("wallet", asset("eth"), duration("24h")) + amount_of(asset("eth")) > units("eth", "%d00")`,
		`tx.destinations.exists(d, listed("blocked", d)) && tx.nonce > %du`,
		`now.getHours("Europe/Zurich") < 6 && amount_of(asset("usdc")) > units("usdc", "%d")`,
		`user.id == "user-%d" && !member("treasury", user.id)`,
		`tx.allowances.exists(a, a.unlimited && !listed("partners", a.spender)) || tx.gas_limit > 3%d000000u`,
		`tx.selector in ["0xa9059cbb", "0x095ea7b3", "0x%08x"] && tx.data_size > 4096`,
		`signal.fee(amount("1"), amount("90000000%05d"))`,
		`"treasury" in user.groups && tx.cost > units("eth", "%d")`,
	}
	doc := &document.Document{
		Users:  []document.User{{ID: "ada"}},
		Groups: []document.Group{{ID: "treasury", Members: []string{"ada"}}},
		Assets: []document.Asset{{ID: "eth", Asset: eth, Decimals: 18}, {ID: "usdc", Asset: usdc, Decimals: 6}},
		Lists: []document.List{
			{ID: "blocked", Entries: []document.Entry{{Account: "eip155:1:0x00000000000000000000000000000000000000ee"}}},
			{ID: "partners", Entries: []document.Entry{{Account: bob, Label: "Bob"}}},
		},
	}
	for i := range 199 {
		doc.Users = append(doc.Users, document.User{ID: fmt.Sprintf("user-%d", i+10)})
		doc.Rules.Fraud = append(doc.Rules.Fraud, document.Rule{
			ID: fmt.Sprintf("rule-%d", i), Effect: document.EffectDeny, Reason: "too much",
			Kinds: []message.Kind{message.KindEthereumTransaction},
			When:  fmt.Sprintf(conditions[i%len(conditions)], i+10),
		})
	}
	doc.Rules.Fraud = append(doc.Rules.Fraud, document.Rule{ID: "small", Effect: document.EffectAllow, When: `tx.value < units("eth", "5")`,
		Kinds: []message.Kind{message.KindEthereumTransaction}})
	return doc
}

const (
	eth   = "eip155:1/slip44:60"
	usdc  = "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
	alice = "eip155:1:0xaaaa0000000000000000000000000000000000a1"
	bob   = "eip155:1:0xb0b0000000000000000000000000000000000b0b"
)

func number(n uint64) *uint64 { return &n }

// transfer is the facts of a transfer of USDC by ada.
func transfer() rules.Facts {
	fee, call := big.NewInt(2_100_000_000_000_000), transaction.Call{
		To: usdcContract, Selector: []byte{0xa9, 0x05, 0x9c, 0xbb}, Function: "transfer(address,uint256)",
		Value: new(big.Int), Data: transferData(2_500_000), Understood: true,
	}
	return rules.Facts{
		User: document.User{ID: "ada"}, Now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), History: &fakeHistory{},
		Meaning: transaction.Meaning{
			Statement: message.Statement{ID: "0197e5c2-0000-7000-8000-000000000001", Kind: message.KindEthereumTransaction},
			Wallet:    "w1", Account: "a1",
			AccountDescriptor: &message.AccountDescriptor{Owner: "ada", Chain: "eip155:1", Address: "0xAAAA0000000000000000000000000000000000A1"},
			Effects: transaction.Effects{
				Moves: []transaction.Move{
					{Asset: eth, From: alice, To: usdcContract, Amount: new(big.Int)},
					{Asset: usdc, From: alice, To: bob, Amount: big.NewInt(2_500_000)},
				},
				Fee: fee, FeeAsset: eth,
				Details: &transaction.Details{
					Form: "eip1559", Chain: "eip155:1", From: alice, To: usdcContract, Value: new(big.Int), Nonce: number(7),
					GasLimit: 70_000, FeePerGas: big.NewInt(30_000_000_000), PriorityFeePerGas: big.NewInt(1_000_000_000),
					Data: call.Data, Calls: []transaction.Call{call},
				},
			},
		},
	}
}

const usdcContract = "eip155:1:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"

func compile(tb testing.TB, doc *document.Document, role string) *rules.Set {
	tb.Helper()
	set, err := rules.Compile(doc, role, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func BenchmarkEvaluate200Rules(b *testing.B) {
	set, facts := compile(b, bookOf200(), "fraud"), transfer()
	if out := set.Evaluate(b.Context(), facts); out.Verdict != rules.Allow {
		b.Fatalf("%+v", out)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		set.Evaluate(b.Context(), facts)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

func BenchmarkCompile200Rules(b *testing.B) {
	doc := bookOf200()
	b.ReportAllocs()
	for b.Loop() {
		compile(b, doc, "fraud")
	}
}
