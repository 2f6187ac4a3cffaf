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

// The development policy lets a wallet move 100 ether in 24 hours, and what is
// above 1 ether needs a person. A transfer of 0.9 ether counts with the highest
// fee that it allows, so that exactly spendable of them may be signed.
const (
	transferValue = 900_000_000_000_000_000
	transferFee   = 21_000 * 1_000_000_000
)

func spendable() int64 {
	limit := new(big.Int).Mul(big.NewInt(100), big.NewInt(1_000_000_000_000_000_000))
	return limit.Div(limit, big.NewInt(transferValue+transferFee)).Int64()
}

// TestKilledUnderLoad: services are killed at random, all the time, while many
// requests are under way: every request ends, and exactly as many transfers are
// signed as the wallet's limit allows.
func TestKilledUnderLoad(t *testing.T) {
	requests, killing := 150, 5*time.Second
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		requests, killing = 2000, time.Minute
	}
	t.Parallel()
	w := newWorld(t, message.RoleFraud)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	kills := make(chan int)
	go func() { kills <- w.killAtRandom(killing) }()
	signed, rejected := w.transfers(ctx, requests, fmt.Sprint(transferValue))
	if n := <-kills; n < 3 {
		t.Errorf("only %d services were killed", n)
	}
	if want := spendable(); signed != want || signed+rejected != int64(requests) {
		t.Errorf("%d signed, %d rejected of %d requests; the limit allows %d", signed, rejected, requests, want)
	}
	w.checkNothingLost()
	page.load.add("services are killed at random", requests, signed, rejected, 0)
}

// transfers sends requests from many clients at once and counts their ends.
func (w *world) transfers(ctx context.Context, requests int, value string) (int64, int64) {
	var signed, rejected atomic.Int64
	var clients sync.WaitGroup
	todo := make(chan int)
	run := transfer("0x00000000000000000000000000000000000000a1", value)
	for range 32 {
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
