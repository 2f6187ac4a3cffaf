package ledger_test

import (
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/transaction"
)

// TestAttackManyEffects: what has more effects than are kept of a request is no
// event, whoever has read it.
func TestAttackManyEffects(t *testing.T) {
	for name, add := range map[string]func(*transaction.Effects, int){
		"moves": func(e *transaction.Effects, i int) {
			e.Moves = append(e.Moves, transaction.Move{Asset: "eth", To: destination(1, i), Amount: big.NewInt(1)})
		},
		"allowances": func(e *transaction.Effects, i int) {
			e.Allowances = append(e.Allowances, transaction.Allowance{Asset: fmt.Sprint(i), Spender: "s", Amount: big.NewInt(1)})
		},
		"unknown calls": func(e *transaction.Effects, i int) {
			e.Unknown = append(e.Unknown, transaction.UnknownCall{To: destination(1, i)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var e transaction.Effects
			for i := range transaction.MaxEffects {
				add(&e, i)
			}
			if _, err := ledger.EventOf(meaning(e), message.Hash{1}, "ann"); err != nil {
				t.Fatal(err)
			}
			add(&e, transaction.MaxEffects)
			if _, err := ledger.EventOf(meaning(e), message.Hash{1}, "ann"); !errors.Is(err, ledger.ErrEffects) {
				t.Errorf("one more: %v", err)
			}
		})
	}
}

// TestAttackNamesWithoutEnd: a ledger whose names fill the room that there is for
// them says so, and keeps what it has.
func TestAttackNamesWithoutEnd(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	first := spread(1, m.wall)
	body := record(t, first, m.wall)
	ledger.Narrow(l, 2*len(body))
	var err error
	n := 1
	for ; err == nil && n < 100; n++ {
		err = l.Replay(record(t, spread(n, m.wall), m.wall))
	}
	if !errors.Is(err, ledger.ErrFull) {
		t.Fatalf("record %d: %v", n-1, err)
	}
	v := l.View(spread(100, m.wall), m.read())
	if got := v.Count(ledger.ScopeUser, "u", "", ledger.Lookback); got != n-2 {
		t.Errorf("%d events are there, want %d", got, n-2)
	}
	if v.FirstUse(first.Moves[0].Account) || !v.FirstUse(destination(1, n-1)) {
		t.Error("the first record is gone, or the refused one is there")
	}
}
