package faulty_test

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// mix is how many transfers of which kind a run sends: small ones of 1 wei,
// which are all to be signed, and others of 0.9 ether, of which the wallet's
// limit allows some.
type mix struct{ small, big int }

// mixOf is that of the short run and of the long one: small ones are most of the
// latter.
func mixOf() mix {
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		return mix{small: 1800, big: 200}
	}
	return mix{small: 60, big: 120}
}

// room reports whether the small ones, and those of a warm-up, fit beside as many
// big ones as the limit allows, so that none of either stands in another's way.
func (m mix) room() bool {
	used := new(big.Int).Mul(big.NewInt(spendable()), big.NewInt(transferValue+transferFee))
	used.Add(used, new(big.Int).Mul(big.NewInt(int64(m.small+warmUps*clients)), big.NewInt(1+transferFee)))
	return used.Cmp(walletLimit()) <= 0 && int64(m.big) > spendable()
}

// TestKilledUnderLoad: services are killed at random, all the time, while many
// requests are under way: every request ends, small transfers are all signed, and
// exactly as many big ones as the wallet's limit allows.
func TestKilledUnderLoad(t *testing.T) {
	killing := 5 * time.Second
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		killing = time.Minute
	}
	t.Parallel()
	w := newWorld(t, message.RoleFraud)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	kills := make(chan int)
	go func() { kills <- w.killAtRandom(killing) }()
	w.mixed(ctx, "services are killed at random", mixOf())
	if n := <-kills; n < 3 {
		t.Errorf("only %d services were killed", n)
	}
}

// mixed sends a mix, the kinds beside each other, and expects that of each as
// many are signed as may be, and nothing is lost.
func (w *world) mixed(ctx context.Context, what string, m mix) {
	w.Helper()
	if !m.room() {
		w.Fatalf("%+v does not fit the wallet's limit", m)
	}
	var signed, rejected [2]int64
	var kinds sync.WaitGroup
	kinds.Go(func() { signed[0], rejected[0] = w.transfersBy(ctx, smallClients, m.small, "1") })
	kinds.Go(func() {
		signed[1], rejected[1] = w.transfersBy(ctx, clients-smallClients, m.big, fmt.Sprint(transferValue))
	})
	kinds.Wait()
	if signed[0] != int64(m.small) || rejected[0] != 0 {
		w.Errorf("%s: %d signed and %d rejected of %d small transfers", what, signed[0], rejected[0], m.small)
	}
	if want := spendable(); signed[1] != want || signed[1]+rejected[1] != int64(m.big) {
		w.Errorf("%s: %d signed and %d rejected of %d big transfers; the limit allows %d", what, signed[1], rejected[1], m.big, want)
	}
	page.load.add(what, m.small+m.big, signed[0]+signed[1], rejected[0]+rejected[1], w.checkNothingLost())
}

// clients is how many send transfers at once; smallClients of them small ones
// where there are two kinds.
const clients, smallClients = 32, 24

// transfers sends requests from many clients at once and counts their ends.
func (w *world) transfers(ctx context.Context, requests int, value string) (int64, int64) {
	return w.transfersBy(ctx, clients, requests, value)
}

func (w *world) transfersBy(ctx context.Context, by, requests int, value string) (int64, int64) {
	var signed, rejected atomic.Int64
	var clients sync.WaitGroup
	todo := make(chan int)
	run := transfer(recipient, value)
	for range by {
		clients.Go(func() {
			for range todo {
				r, err := run(ctx, w)
				switch {
				case err != nil:
					w.Error(err)
				case r.Status == message.StatusSigned:
					signed.Add(1)
				case r.Status == message.StatusRejected:
					rejected.Add(1)
				default:
					w.Errorf("a request ended as %s", r.Status)
				}
			}
		})
	}
	for i := range requests {
		todo <- i
	}
	close(todo)
	clients.Wait()
	return signed.Load(), rejected.Load()
}

// killAtRandom kills one service after another and returns how many.
func (w *world) killAtRandom(during time.Duration) (n int) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(during); time.Now().Before(end); <-tick.C {
		if pid := w.PIDs()[services[rand.IntN(len(services))]]; pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}
