package rules_test

import (
	"math/big"
	"time"

	"github.com/countersign/countersign/policy/ledger"
)

// fakeHistory answers with what its fields say.
type fakeHistory struct {
	sums       map[string]int64 // by scope:id:asset
	counts     map[string]int   // by scope:id:asset
	used       map[string]bool  // destinations
	lookalikes map[string]string
	duplicates int
	habit      ledger.Habit
	nonce      ledger.Nonce
	windows    []time.Duration
	calls      int
	panics     bool
}

func (h *fakeHistory) asked(window time.Duration) {
	h.calls++
	if h.panics {
		panic("the history is broken")
	}
	if len(h.windows) < 100 {
		h.windows = append(h.windows, window)
	}
}

func (h *fakeHistory) Sum(scope, id, asset string, window time.Duration) *big.Int {
	h.asked(window)
	return big.NewInt(h.sums[scope+"/"+id+"/"+asset])
}

func (h *fakeHistory) Count(scope, id, asset string, window time.Duration) int {
	h.asked(window)
	return h.counts[scope+"/"+id+"/"+asset]
}

func (h *fakeHistory) FirstUse(destination string) bool {
	h.asked(0)
	return !h.used[destination]
}

func (h *fakeHistory) Lookalike(destination string) (string, bool) {
	h.asked(0)
	known, ok := h.lookalikes[destination]
	return known, ok
}

func (h *fakeHistory) Duplicates(window time.Duration) int {
	h.asked(window)
	return h.duplicates
}

func (h *fakeHistory) Habit(string, string, *big.Int) ledger.Habit {
	h.asked(0)
	return h.habit
}

func (h *fakeHistory) Nonce() ledger.Nonce {
	h.asked(0)
	return h.nonce
}
