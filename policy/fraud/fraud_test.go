package fraud_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

func TestDecideSmallTransfer(t *testing.T) {
	w := newWorld(t, nil)
	d := w.decide(t, w.request(deploymenttest.Transfer{To: recipient, Value: "1"}, start))
	w.want(d)
	if len(d.Records) != 1 {
		t.Fatalf("%d records", len(d.Records))
	}
}

// TestKindsThatMoveNothing: they are on record where rules may count requests,
// and use no limit up.
func TestKindsThatMoveNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*document.Document)
		want int // records
	}{
		"without-history": {deploymenttest.NoLimits, 0},
		"with-history":    {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.edit)
			for _, d := range []struct {
				kind    message.Kind
				wallet  string
				payload any
			}{
				{message.KindWalletCreate, "", message.WalletCreate{Owner: "alice", SeedType: "raw", Source: "software"}},
				{message.KindAccountCreate, w.wallet, message.AccountCreate{Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0"}},
			} {
				got := w.decide(t, w.kind(d.kind, d.wallet, "", d.payload, start))
				w.want(got)
				if len(got.Records) != tt.want {
					t.Fatalf("%d records", len(got.Records))
				}
			}
		})
	}
}

func TestMessages(t *testing.T) {
	for _, text := range []string{"hello", ""} {
		payload := map[string]string{"text": text}
		w := newWorld(t, nil)
		w.want(w.decide(t, w.kind(message.KindEthereumMessage, w.wallet, w.account, payload, start)))
		w = newWorld(t, func(doc *document.Document) { deploymenttest.DenyMessages(doc) })
		w.want(w.decide(t, w.kind(message.KindEthereumMessage, w.wallet, w.account, payload, start)), deploymenttest.RuleMessages)
	}
}

// TestAttackDenyListedDestination: also inside a token's calls, and the token
// itself, whatever the case of the address.
func TestAttackDenyListedDestination(t *testing.T) {
	checksum := "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
	bad := strings.ToLower(checksum)
	deny := func(account string) func(*document.Document) {
		return func(doc *document.Document) { deploymenttest.Deny(doc, account) }
	}
	for name, tt := range map[string]struct {
		deny string
		call deploymenttest.Transfer
	}{
		"fail/native":        {bad, deploymenttest.Transfer{To: checksum, Value: "1"}},
		"fail/native-lower":  {bad, deploymenttest.Transfer{To: bad, Value: "1"}},
		"fail/zero-value":    {bad, deploymenttest.Transfer{To: bad, Value: "0"}},
		"fail/transfer":      {bad, deploymenttest.Transfer{To: token, Value: "0", Data: call(transferSelector, bad, "1")}},
		"fail/approve":       {bad, deploymenttest.Transfer{To: token, Value: "0", Data: call(approveSelector, bad, "1")}},
		"fail/transfer-from": {bad, deploymenttest.Transfer{To: token, Value: "0", Data: call(transferFromSelector, recipient, bad, "1")}},
		"fail/from-denied":   {bad, deploymenttest.Transfer{To: token, Value: "0", Data: call(transferFromSelector, bad, recipient, "1")}},
		"fail/token":         {token, deploymenttest.Transfer{To: token, Value: "0", Data: call(transferSelector, recipient, "1")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, deny("eip155:1:"+tt.deny))
			w.want(w.decide(t, w.request(tt.call, start)), deploymenttest.RuleDenied)
			// The same call is fine where the address is denied on another
			// chain only.
			w = newWorld(t, deny("eip155:10:"+tt.deny))
			w.want(w.decide(t, w.request(tt.call, start)))
		})
	}
	w := newWorld(t, deny("eip155:1:"+bad))
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: bad, Value: "0", Data: "0x12345678"}, start)),
		deploymenttest.RuleDenied)
}

func TestAttackUnknownCall(t *testing.T) {
	w := newWorld(t, nil)
	for name, p := range map[string]deploymenttest.Transfer{
		"selector":       {To: recipient, Value: "0", Data: "0x12345678"},
		"one-byte":       {To: recipient, Value: "0", Data: "0x00"},
		"with-value":     {To: recipient, Value: "1", Data: "0x12345678"},
		"trailing-bytes": {To: token, Value: "0", Data: call(transferSelector, recipient, "1") + "00"},
		"missing-bytes":  {To: token, Value: "0", Data: call(transferSelector, recipient)},
		"dirty-address":  {To: token, Value: "0", Data: call(transferSelector, "0x1000000000000000000000000000000000000000000000aa", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.want(w.decide(t, w.request(p, start)), rules.CodeNoRule, rules.CodeUnknownCall)
		})
	}
}

// TestAttackEffectsNobodyCanTell: a chain that says too little is not trusted
// to be harmless.
func TestAttackEffectsNobodyCanTell(t *testing.T) {
	w := newWorld(t, nil)
	for name, edit := range map[string]func(*transaction.Meaning){
		"no-effects":     func(m *transaction.Meaning) { m.Effects = transaction.Effects{} },
		"only-a-fee":     func(m *transaction.Meaning) { m.Effects.Moves = nil },
		"no-destination": func(m *transaction.Meaning) { m.Effects.Moves[0].To = "" },
		"no-spender": func(m *transaction.Meaning) {
			m.Effects.Allowances = []transaction.Allowance{{Asset: deploymenttest.Ether, Amount: big.NewInt(1)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			q := w.request(deploymenttest.Transfer{To: recipient, Value: "1"}, start)
			edit(&q.Meaning)
			w.want(w.decide(t, q), rules.CodeNoRule, rules.CodeUnknownCall)
		})
	}
	for name, tt := range map[string]struct {
		edit func(*transaction.Meaning)
		want error
	}{
		"no-transaction":  {func(m *transaction.Meaning) { m.Transaction = nil }, judge.ErrMeaning},
		"negative-amount": {func(m *transaction.Meaning) { m.Effects.Moves[0].Amount = big.NewInt(-1) }, exposure.ErrEffects},
	} {
		q := w.request(deploymenttest.Transfer{To: recipient, Value: "1"}, start)
		tt.edit(&q.Meaning)
		if d, err := fraud.New(nil).Decide(context.Background(), q); !errors.Is(err, tt.want) || d.Verdict != 0 {
			t.Fatalf("%s: got %+v %v", name, d, err)
		}
	}
}

func TestAttackAssetWithoutLimit(t *testing.T) {
	w := newWorld(t, nil)
	other := "0xdac17f958d2ee523a2206206994597c13d831ec7"
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: other, Value: "0", Data: call(transferSelector, recipient, "1")}, start)),
		deploymenttest.RuleNoLimit)
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: other, Value: "0", Data: call(transferSelector, recipient, "0")}, start)),
		deploymenttest.RuleNoLimit)

	// A token transfer also costs a fee: without a limit for ether, nothing.
	w = newWorld(t, limits([3]string{deploymenttest.Token, "10", "10"}))
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: token, Value: "0", Data: call(transferSelector, recipient, "1")}, start)),
		deploymenttest.RuleNoLimit)

	// A rule that allows another wallet does not allow this one.
	w = newWorld(t, func(doc *document.Document) {
		last := len(doc.Rules.Fraud) - 1
		doc.Rules.Fraud[last].When = `wallet.id == "` + message.Sum([]byte("other")).String() + `"`
	})
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: recipient, Value: "1"}, start)), rules.CodeNoRule)
}

// TestAttackFeeLeftOut: the limit counts value and highest fee together.
func TestAttackFeeLeftOut(t *testing.T) {
	const limit = "1000000000000000000"
	w := newWorld(t, limits([3]string{deploymenttest.Ether, limit, limit}))
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: recipient, Value: limit}, start)),
		onceEther, dailyEther)
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: recipient, Value: "999790000000000001"}, start)),
		onceEther, dailyEther)
	w.want(w.decide(t, w.request(deploymenttest.Transfer{To: recipient, Value: "999790000000000000"}, start))) // limit - fee
	w.want(w.decide(t, w.bare(1, start)), dailyEther)
}

// TestAttackAllowanceNotCounted: an allowance counts as if it were spent.
func TestAttackAllowanceNotCounted(t *testing.T) {
	w := newWorld(t, limits(
		[3]string{deploymenttest.Ether, most, most}, [3]string{deploymenttest.Token, "100", "150"}))
	ask := func(selector, amount string) deploymenttest.Transfer {
		return deploymenttest.Transfer{To: token, Value: "0", Data: call(selector, recipient, amount)}
	}
	w.want(w.decide(t, w.request(ask(approveSelector, most), start)), onceToken, dailyToken)
	w.want(w.decide(t, w.request(ask(approveSelector, "101"), start)), onceToken)
	w.want(w.decide(t, w.request(ask(approveSelector, "100"), start)))
	w.want(w.decide(t, w.request(ask(transferSelector, "51"), start)), dailyToken)
	w.want(w.decide(t, w.request(ask(transferSelector, "50"), start)))
	w.want(w.decide(t, w.request(ask(approveSelector, "1"), start)), dailyToken)
}

// TestAttackAmountOverflow: sums of the largest amounts are sums, not
// remainders.
func TestAttackAmountOverflow(t *testing.T) {
	w := newWorld(t, limits(
		[3]string{deploymenttest.Ether, most, most}, [3]string{deploymenttest.Token, most, most}))
	ask := func(amount string) deploymenttest.Transfer {
		return deploymenttest.Transfer{To: token, Value: "0", Data: call(transferSelector, recipient, amount)}
	}
	w.want(w.decide(t, w.request(ask(most), start)))
	w.want(w.decide(t, w.request(ask("1"), start)), dailyToken)
	w.want(w.decide(t, w.request(ask(most), start)), dailyToken)
	w.want(w.decide(t, w.request(ask("0"), start)))

	q := w.request(ask("1"), start)
	largest, _ := new(big.Int).SetString(most, 10)
	for range 3 {
		q.Meaning.Effects.Moves = append(q.Meaning.Effects.Moves,
			transaction.Move{Asset: deploymenttest.Ether, From: w.address, To: "eip155:1:" + recipient, Amount: largest})
	}
	w.want(w.decide(t, q), onceEther, dailyEther, dailyToken)
}

// TestLimitsBothHold: of a wallet's own limit and the one for any wallet, the
// lower wins; another wallet's own is none of its business.
func TestLimitsBothHold(t *testing.T) {
	for name, tt := range map[string]struct {
		own  string
		mine bool
		want []string
	}{
		"own-lower": {"5", true, []string{"own-limit", onceEther}},
		"any-lower": {"100", true, []string{onceEther}},
		"other":     {"5", false, []string{onceEther}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			wallet := w.wallet
			if !tt.mine {
				wallet = w.records.AddWallet(deploymenttest.User)
			}
			w.active = w.d.Active(func(doc *document.Document) {
				limits([3]string{deploymenttest.Ether, "10", "1000"})(doc)
				doc.Rules.Fraud = append([]document.Rule{{
					ID: "own-limit", Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction},
					When: `wallet.id == "` + wallet + `" && amount_of(asset("ether")) > ` + tt.own,
				}}, doc.Rules.Fraud...)
			})
			w.want(w.decide(t, w.bare(11, start)), tt.want...)
			w.want(w.decide(t, w.bare(5, start)))
		})
	}
}
