package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/bench/openloop"
	"github.com/countersign/countersign/internal/message"
)

// wait is how long one request may take before it counts as failed.
const wait = 30 * time.Second

// account is where a transfer comes from.
type account struct {
	wallet, id string
	nonce      atomic.Uint64
}

// load sends simple transfers from many accounts in turn.
type load struct {
	clients  []*client.Client // one for each instance of the proposer
	accounts []*account
	next     atomic.Uint64
}

// transfer is the payload of a plain transfer of one wei.
type transfer struct {
	Type     string `json:"type"`
	ChainID  string `json:"chain_id"`
	Nonce    string `json:"nonce"`
	To       string `json:"to"`
	Value    string `json:"value"`
	Gas      string `json:"gas_limit"`
	Tip      string `json:"max_priority_fee_per_gas"`
	MaxPrice string `json:"max_fee_per_gas"`
}

const (
	// small is a transfer that is signed by itself: of as many wei as its nonce.
	small = ""
	// lifetime is how long a statement is good for.
	lifetime = 10 * time.Minute
	// receiverAddress is nobody in particular.
	receiverAddress = "0x00000000000000000000000000000000000000aa"
)

// prepare makes and signs the statement of the next transfer.
func (l *load) prepare(c *client.Client, value string, lifetime time.Duration) (client.Signed, error) {
	a := l.accounts[l.next.Add(1)%uint64(len(l.accounts))]
	nonce := fmt.Sprint(a.nonce.Add(1))
	if value == small {
		value = nonce // no payment is the same as another
	}
	payload := transfer{
		Type: "eip1559", ChainID: "1", Nonce: nonce,
		To: receiverAddress, Value: value, Gas: "21000",
		Tip: "1000000", MaxPrice: "1000000000",
	}
	s, err := c.NewStatement(message.KindEthereumTransaction, a.wallet, a.id, payload, lifetime)
	if err != nil {
		return client.Signed{}, err
	}
	return c.Sign(s)
}

// sign asks for one signature and waits for it.
func sign(ctx context.Context, c *client.Client, s client.Signed) error {
	r, err := c.Send(ctx, s, wait)
	if err != nil {
		return err
	}
	if r.Status != message.StatusSigned {
		return fmt.Errorf("request %s is %s after %v: %+v", r.ID, r.Status, wait, r.Decisions)
	}
	return nil
}

// one prepares a transfer and has it signed.
func (l *load) one(ctx context.Context, c *client.Client) error {
	s, err := l.prepare(c, small, lifetime)
	if err != nil {
		return err
	}
	return sign(ctx, c, s)
}

// oneAtATime returns the time of each of count requests, POST to signature:
// from when the statement is sent until its answer was read.
func (l *load) oneAtATime(ctx context.Context, count int) ([]time.Duration, error) {
	defer likeOneService()()
	var out []time.Duration
	for i := range count + count/10 {
		s, err := l.prepare(l.clients[0], small, lifetime)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if err := sign(ctx, l.clients[0], s); err != nil {
			return nil, err
		}
		if i >= count/10 { // the first tenth warms up
			out = append(out, time.Since(start))
		}
	}
	return out, nil
}

// likeOneService gives the client no more cores than a service has (internal/dev)
// until what it returns is called: it shares them with all that is measured, and
// idle threads that look for work would take time from it.
func likeOneService() (end func()) {
	cores := runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	percent := debug.SetGCPercent(gcPercent)
	return func() {
		runtime.GOMAXPROCS(cores)
		debug.SetGCPercent(percent)
	}
}

// gcPercent is what the services have, for the same reason: little is live.
const gcPercent = 300

type saturation struct {
	perSecond     float64
	count, failed int
}

// saturate keeps p.clients requests under way and counts those that end in
// the counted time. A failure is an error if nothing was signed at all.
func (l *load) saturate(ctx context.Context, p stretch) (saturation, error) {
	defer likeOneService()()
	ctx, cancel := context.WithTimeout(ctx, p.warm+p.counted+wait)
	defer cancel()
	var (
		wait           sync.WaitGroup
		signed, failed atomic.Int64
		last           atomic.Value
		done           atomic.Bool
	)
	for i := range p.clients {
		c := l.clients[i%len(l.clients)]
		wait.Go(func() {
			for !done.Load() && ctx.Err() == nil {
				if err := l.one(ctx, c); err != nil {
					failed.Add(1)
					last.Store(err)
					continue
				}
				signed.Add(1)
			}
		})
	}
	time.Sleep(p.warm)
	before, start := signed.Load(), time.Now()
	time.Sleep(p.counted)
	count, length := signed.Load()-before, time.Since(start)
	done.Store(true)
	wait.Wait()
	if err, ok := last.Load().(error); ok && count == 0 {
		return saturation{}, errors.Join(errors.New("nothing was signed"), err)
	}
	return saturation{float64(count) / length.Seconds(), int(signed.Load()), int(failed.Load())}, nil
}

// halfRateSeed makes every run's requests come at the same moments.
const halfRateSeed = 1

// halfRate sends requests at half the given rate, whether answers come or not,
// and returns how long each took from when it was to be sent.
func (l *load) halfRate(ctx context.Context, length time.Duration, perSecond float64) (openloop.Outcome, error) {
	defer likeOneService()()
	c := l.clients[0]
	half := openloop.Load{PerSecond: perSecond / 2, Length: length, Seed: halfRateSeed}
	return half.Run(ctx, func() (openloop.Send, error) {
		s, err := l.prepare(c, small, lifetime)
		return func(ctx context.Context) error { return sign(ctx, c, s) }, err
	})
}
