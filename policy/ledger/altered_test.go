package ledger_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

// TestAttackApprovedAgainAsAnother: an approved request is decided again while
// somebody shows another row of its account, so that it moves something else.
// What it moved before still counts, however often that is done, and the same
// again counts once.
func TestAttackApprovedAgainAsAnother(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	approve := func(asset string) {
		m.pass(time.Minute)
		e := ledger.Event{
			Envelope: message.Hash{7}, Kind: message.KindEthereumTransaction, User: "u", Wallet: "w", Account: "a",
			Expires: m.wall.Add(time.Hour),
			Amounts: []exposure.Amount{{Asset: asset, Amount: big.NewInt(90)}},
			Moves:   []ledger.Movement{{Account: destination(1, 1), Asset: asset, Amount: big.NewInt(90)}},
		}
		if err := l.Replay(record(t, e, m.wall)); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() int64 {
		other := ledger.Event{Envelope: message.Hash{8}, User: "u", Wallet: "w", Account: "a"}
		return l.View(other, m.read()).Sum(ledger.ScopeWallet, "w", "eth", 24*time.Hour).Int64()
	}
	approve("eth")
	approve("eth") // again: once
	if got := sum(); got != 90 {
		t.Fatalf("%d after the same again", got)
	}
	approve("other")
	if got := sum(); got != 90 {
		t.Fatalf("%d after it was decided as another", got)
	}
	l.Mark()
	approve("third")
	l.Undo()
	if got := sum(); got != 90 {
		t.Fatalf("%d after that was taken back", got)
	}
}
