package ledger_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction"
)

func meaning(effects transaction.Effects) transaction.Meaning {
	return transaction.Meaning{
		Statement: message.Statement{Kind: message.KindEthereumTransaction, Expires: message.At(start)},
		Wallet:    "w", Account: "a", Effects: effects,
		AccountDescriptor: &message.AccountDescriptor{Chain: "eip155:1", Address: "0xAB"},
	}
}

func details(to string, value int64, data, nonce string) *transaction.Details {
	n := uint64(len(nonce))
	return &transaction.Details{
		Chain: "eip155:1", To: to, Value: big.NewInt(value), Data: []byte(data), Nonce: &n, FeePerGas: big.NewInt(9),
	}
}

func TestEventOf(t *testing.T) {
	e, err := ledger.EventOf(meaning(transaction.Effects{
		Moves:      []transaction.Move{{Asset: "eth", From: "me", To: "eip155:1:0xAA", Amount: big.NewInt(5)}, {Asset: "eth", Amount: big.NewInt(1)}},
		Allowances: []transaction.Allowance{{Asset: "token", Owner: "me", Spender: "spender", Amount: big.NewInt(6)}},
		Unknown:    []transaction.UnknownCall{{To: "eip155:1:0xaa"}, {To: "called"}, {}},
		Fee:        big.NewInt(2), FeeAsset: "eth",
		Details: &transaction.Details{Chain: "eip155:1", Calls: []transaction.Call{{To: "called"}, {To: "inner"}}},
	}), message.Hash{1}, "ann")
	if err != nil {
		t.Fatal(err)
	}
	const want = "[{eth 8} {token 6}] [{eip155:1:0xaa eth 5} {spender token 6} {called  <nil>} {inner  <nil>}]"
	if got := fmt.Sprint(e.Amounts, e.Moves); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if e.Envelope != (message.Hash{1}) || e.User != "ann" || e.Wallet != "w" || e.Account != "eip155:1:0xab" || e.Kind != message.KindEthereumTransaction ||
		!e.Expires.Equal(start) || e.Chain != "eip155:1" {
		t.Errorf("got %+v", e)
	}
	if _, err := ledger.EventOf(meaning(transaction.Effects{Moves: []transaction.Move{{Asset: "eth"}}}), message.Hash{1}, "ann"); err == nil {
		t.Error("a move without amount is taken")
	}
}

// TestEventContent: the same destination, value and data, whatever else differs.
func TestEventContent(t *testing.T) {
	content := func(d *transaction.Details) message.Hash {
		e, err := ledger.EventOf(meaning(transaction.Effects{Details: d}), message.Hash{1}, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return e.Content
	}
	plain := content(details("to", 1, "data", ""))
	if again := details("to", 1, "data", "another nonce"); content(again) != plain {
		t.Error("the nonce is part of the content")
	}
	for name, d := range map[string]*transaction.Details{
		"to":    details("other", 1, "data", ""),
		"value": details("to", 2, "data", ""),
		"data":  details("to", 1, "dat", ""),
	} {
		if content(d) == plain {
			t.Errorf("%s is no part of the content", name)
		}
	}
}
