package token

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	// maxRetry is the longest pause after failed readings.
	maxRetry = time.Minute
	// maxWaiting is how many calls may wait for one issuer's keys at once;
	// others are told at once to come again.
	maxWaiting = 256
)

var (
	errBusy = errors.New("too many calls wait for the issuer's keys")
	errSlow = errors.New("the issuer has not answered in time")
	errDown = errors.New("the issuer could not be asked")
)

// discovery is the keys of one issuer, as the issuer itself tells them. One
// goroutine reads them: at intervals, and out of turn when a token names a key
// that is not known. Out of turn at most once in Timing.Pause, and never while
// the issuer fails, so that a stranger with invented tokens makes neither this
// service nor the issuer work; nobody who has a known key waits for anything.
type discovery struct {
	issuer  string
	client  *http.Client
	timing  Timing
	log     *slog.Logger
	wake    chan struct{} // holds one call for a reading
	waiting chan struct{}

	mu       sync.Mutex
	set      *keySet
	wrong    string // what was wrong with the set
	read     time.Time
	attempt  chan struct{} // closed when the reading that is due or under way ends; nil: there is none
	ended    time.Time     // when the last reading ended
	failures int           // in a row
}

func newDiscovery(issuer string, roots *x509.CertPool, timing Timing, log *slog.Logger) *discovery {
	return &discovery{
		issuer: issuer, client: newClient(roots), timing: timing, log: log,
		wake: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting),
		attempt: make(chan struct{}), // the first reading is due
	}
}

// current returns nil when the keys were read too long ago to be believed.
func (d *discovery) current() *keySet {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh()
}

// fresh needs the lock.
func (d *discovery) fresh() *keySet {
	if time.Since(d.read) > d.timing.Stale {
		return nil
	}
	return d.set
}

func (d *discovery) renew(ctx context.Context) error {
	attempt, err := d.ask()
	if attempt == nil {
		return err
	}
	select {
	case d.waiting <- struct{}{}:
		defer func() { <-d.waiting }()
	default:
		return errBusy
	}
	late := time.NewTimer(d.timing.Wait)
	defer late.Stop()
	select {
	case <-attempt:
		return d.failure()
	case <-late.C:
		return errSlow
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask returns the reading to wait for, and calls for one if one may be called
// for now. Without a reading the error says whether the keys are as new as may
// be (nil) or the issuer cannot be asked.
func (d *discovery) ask() (<-chan struct{}, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.attempt != nil:
		return d.attempt, nil
	case d.failures > 0:
		return nil, errDown
	case time.Since(d.ended) < d.timing.Pause:
		return nil, nil
	}
	d.attempt = make(chan struct{})
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return d.attempt, nil
}

func (d *discovery) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures > 0 {
		return errDown
	}
	return nil
}

func (d *discovery) run(ctx context.Context) {
	defer d.client.CloseIdleConnections()
	for {
		d.begin()
		set, wrong, err := d.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		next := time.NewTimer(d.finish(set, wrong, err))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		case <-d.wake:
			next.Stop()
		}
	}
}

// begin marks that a reading is under way, and answers the calls for one.
func (d *discovery) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attempt == nil {
		d.attempt = make(chan struct{})
	}
	select {
	case <-d.wake:
	default:
	}
}

func (d *discovery) fetch(ctx context.Context) (set *keySet, wrong, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timing.Fetch)
	defer cancel()
	return fetch(ctx, d.client, d.issuer)
}

// finish takes the outcome of a reading and returns the pause until the next.
func (d *discovery) finish(set *keySet, wrong, err error) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.attempt)
	d.attempt, d.ended = nil, time.Now()
	if err != nil {
		d.failures++
		pause := min(d.timing.Retry<<min(d.failures-1, 16), maxRetry)
		d.log.Warn("issuer keys could not be read", "error", brief(err), "failures", d.failures, "next", pause.String())
		return jittered(pause)
	}
	d.accept(set, wrong)
	d.failures, d.read = 0, d.ended
	return jittered(d.timing.Refresh)
}

// accept needs the lock. A set without any key counts as well: an issuer may
// take all of them away.
func (d *discovery) accept(set *keySet, wrong error) {
	fault := ""
	if wrong != nil {
		fault = brief(wrong)
	}
	changed := !set.same(d.set)
	if changed || d.failures > 0 {
		d.log.Info("issuer keys were read", "keys", set.len(), "changed", changed)
	}
	if fault != "" && fault != d.wrong {
		d.log.Warn("issuer has keys that are left out", "error", fault)
	}
	if changed {
		d.set = set
	}
	d.wrong = fault
}

func (d *discovery) state() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return State{Keys: d.fresh().len(), Read: d.read, Failing: d.failures > 0}
}

// jittered returns up to a fifth less, so that replicas do not ask all at once.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/5+1)
}
