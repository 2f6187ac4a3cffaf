package exposure_test

import (
	"errors"
	"math/big"
	"testing"

	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

func n(s string) *big.Int {
	v, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return v
}

const most = "115792089237316195423570985008687907853269984665640564039457584007913129639935"

func TestOf(t *testing.T) {
	got, err := exposure.Of(transaction.Effects{
		Moves: []transaction.Move{
			{Asset: "b", Amount: n(most)}, {Asset: "b", Amount: n(most)}, {Asset: "a", Amount: n("5")}, {Asset: "c", Amount: n("0")},
		},
		Allowances: []transaction.Allowance{{Asset: "d", Amount: n(most)}, {Asset: "a", Amount: n("7")}},
		Fee:        n("30"), FeeAsset: "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ asset, amount string }{
		{"a", "42"}, {"b", new(big.Int).Mul(n(most), big.NewInt(2)).String()}, {"c", "0"}, {"d", most},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i, w := range want {
		if got[i].Asset != w.asset || got[i].Amount.String() != w.amount {
			t.Errorf("%d: got %s of %s", i, got[i].Amount, got[i].Asset)
		}
	}
}

func TestOfLeavesItsInputAlone(t *testing.T) {
	amount := n("5")
	e := transaction.Effects{Moves: []transaction.Move{{Asset: "a", Amount: amount}, {Asset: "a", Amount: amount}}}
	for range 2 {
		got, err := exposure.Of(e)
		if err != nil || got[0].Amount.Int64() != 10 || amount.Int64() != 5 {
			t.Fatalf("got %v %v, input is %v", got, err, amount)
		}
	}
}

func TestOfRefuses(t *testing.T) {
	for name, e := range map[string]transaction.Effects{
		"fail/negative-move":      {Moves: []transaction.Move{{Asset: "a", Amount: n("-1")}}},
		"fail/nil-move":           {Moves: []transaction.Move{{Asset: "a"}}},
		"fail/no-asset":           {Moves: []transaction.Move{{Amount: n("1")}}},
		"fail/negative-allowance": {Allowances: []transaction.Allowance{{Asset: "a", Amount: n("-1")}}},
		"fail/negative-fee":       {Fee: n("-1"), FeeAsset: "a"},
		"fail/fee-without-asset":  {Fee: n("1")},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := exposure.Of(e); !errors.Is(err, exposure.ErrEffects) || got != nil {
				t.Fatalf("got %v %v", got, err)
			}
		})
	}
}
