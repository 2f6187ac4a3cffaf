package faulty_test

import (
	"math/big"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// The development policy lets a wallet move 100 ether in 24 hours, and what is
// above 1 ether needs a person. A transfer of 0.9 ether counts with the highest
// fee that it allows, so that exactly spendable of them may be signed.
const (
	transferValue = 900_000_000_000_000_000
	transferFee   = 21_000 * 1_000_000_000
)

// large is more than may be moved without people.
const large = "1000000000000000001"

func walletLimit() *big.Int {
	return new(big.Int).Mul(big.NewInt(100), big.NewInt(1_000_000_000_000_000_000))
}

func spendable() int64 {
	limit := walletLimit()
	return limit.Div(limit, big.NewInt(transferValue+transferFee)).Int64()
}

// risk is what transfers can have moved, whether they were signed or not.
type risk struct {
	mu  sync.Mutex
	wei big.Int
}

// add counts one transfer with its fee.
func (r *risk) add(value string) {
	wei, ok := new(big.Int).SetString(value, 10)
	if !ok {
		panic("not an amount: " + value) // it is written in a test
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wei.Add(&r.wei, wei.Add(wei, big.NewInt(transferFee)))
}

func (r *risk) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wei.SetInt64(0)
}

// over reports whether that is more than a wallet may move.
func (r *risk) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wei.Cmp(walletLimit()) > 0
}

// useNewWallet makes a wallet with an account, of which nothing has been moved
// yet, and has later transfers use it.
func (w *world) useNewWallet() {
	w.Helper()
	w.wallet = w.create(message.KindWalletCreate, "", walletPayload(w.User))["wallet"]
	account := w.create(message.KindAccountCreate, w.wallet, accountPayload("m/44'/60'/0'/0/0"))
	w.account, w.address = account["account"], account["address"]
	w.asked.reset()
}

// checkRoom ends a series whose transfers do not fit its wallet's limit: their
// ends would show the limit, and not what breaks.
func (w *world) checkRoom(o outcome) {
	w.Helper()
	if w.asked.over() {
		w.Fatalf("%s: the harness asks for more than the wallet's limit of 24 hours (rule over-24-hours-limit, %v wei): let a series ask for less",
			o.name, walletLimit())
	}
}

// TestSeriesFitTheLimit: as many requests as a series can have, each of the
// largest amount that is sent, are within the limit of the series' wallet.
func TestSeriesFitTheLimit(t *testing.T) {
	t.Parallel()
	var r risk
	for range mostStatements() * mostMisses { // to break one statement takes so many at most
		r.add(large)
	}
	if r.over() {
		t.Errorf("%d statements with %d requests each do not fit a wallet's limit of 24 hours", mostStatements(), mostMisses)
	}
}
