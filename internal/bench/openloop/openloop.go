// Package openloop sends requests at times that do not depend on the answers,
// as many users do who do not know of one another, and measures each from the
// moment at which it was to be sent.
//
// So a service that stalls is charged for every request of the stall. A load
// that waits for an answer before it sends the next request would send none
// meanwhile and count one slow request only (coordinated omission).
package openloop

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Load is how many requests are sent, and how fast: gaps between them are
// exponential, so that their number in a given time is Poisson's.
type Load struct {
	PerSecond float64
	Length    time.Duration
	// Seed gives the same gaps again.
	Seed uint64
}

// Send sends one request and returns when its answer was read.
type Send func(context.Context) error

// Outcome is what became of a load.
type Outcome struct {
	// Latencies are the times from the intended moment to the answer, of failed
	// requests too: to the moment at which they had failed.
	Latencies []time.Duration
	Failed    int
	// Last is the error of one that failed.
	Last error
}

// Run sends the load and returns when each request has its answer. Prepare
// makes the next request before its time has come. Where it is late all the
// same (prepare took too long, or the machine was busy) the request is sent at
// once, and the delay counts.
func (l Load) Run(ctx context.Context, prepare func() (Send, error)) (Outcome, error) {
	var (
		r    run
		due  time.Duration
		gaps = rand.New(rand.NewPCG(l.Seed, l.Seed))
	)
	defer r.wait.Wait()
	start := time.Now()
	for {
		due += time.Duration(gaps.ExpFloat64() / l.PerSecond * float64(time.Second))
		if due >= l.Length {
			break
		}
		send, err := prepare()
		if err != nil {
			return Outcome{}, err
		}
		intended := start.Add(due)
		if err := sleepUntil(ctx, intended); err != nil {
			return Outcome{}, err
		}
		r.wait.Go(func() { r.one(ctx, send, intended) })
	}
	r.wait.Wait()
	return r.outcome, nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type run struct {
	wait    sync.WaitGroup
	mu      sync.Mutex
	outcome Outcome
}

func (r *run) one(ctx context.Context, send Send, intended time.Time) {
	err := send(ctx)
	took := time.Since(intended)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome.Latencies = append(r.outcome.Latencies, took)
	if err != nil {
		r.outcome.Failed++
		r.outcome.Last = err
	}
}
