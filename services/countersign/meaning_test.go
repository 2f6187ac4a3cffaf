package main

import (
	"math/big"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
)

// TestDescribeDetails: who votes sees every call, what is handed over by
// delegation, and typed data with nothing hidden in it.
func TestDescribeDetails(t *testing.T) {
	m := transaction.Meaning{Account: "acc", Wallet: "wal"}
	m.Effects.Details = &transaction.Details{
		Calls: []transaction.Call{
			{To: "eip155:1:0xa", Function: "execute(address,uint256,bytes)", Understood: true},
			{To: "eip155:1:0xb", Selector: []byte{1, 2, 3, 4}, Depth: 1, Delegate: true},
		},
		Typed: &transaction.Typed{PrimaryType: "Permit", Name: "a\nb", Version: "1", Contract: "eip155:1:0xc", Message: []byte("{\"a\":\"x\u202ey\U000e0001\"}")},
	}
	want := []string{
		"call execute(address,uint256,bytes) of eip155:1:0xa",
		"  DELEGATE everything that the caller has to selector 01020304 of eip155:1:0xb",
		`sign the typed data Permit of "a\nb", version "1", for contract "eip155:1:0xc", with account acc of wallet wal: {"a":"x\u202ey\udb40\udc01"}`,
	}
	if got := describe(m); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	unknown := transaction.Effects{Unknown: []transaction.UnknownCall{{To: "eip155:1:0xc", Selector: []byte{1, 2, 3, 4}, Value: new(big.Int), Size: 5}}}
	if got := describeUnknown(unknown); len(got) != 1 || !strings.HasPrefix(got[0], "UNKNOWN CALL") {
		t.Errorf("got %q", got)
	}
	unknown.Details = &transaction.Details{Typed: &transaction.Typed{}}
	if got := describeUnknown(unknown); len(got) != 1 || got[0] != `UNKNOWN TYPED DATA for "eip155:1:0xc", type hash 01020304...: nobody can tell what it allows` {
		t.Errorf("got %q", got)
	}
}
