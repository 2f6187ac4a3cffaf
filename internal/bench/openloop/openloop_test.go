package openloop_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/bench/openloop"
)

// load is 1,000 requests a second for ten seconds, give or take.
var load = openloop.Load{PerSecond: 1000, Length: 10 * time.Second, Seed: 1}

// work is what a request takes where nothing is in its way.
const work = 5 * time.Millisecond

func run(t *testing.T, prepare func() (openloop.Send, error)) (o openloop.Outcome) {
	t.Helper()
	o, err := load.Run(t.Context(), prepare)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func always(send openloop.Send) func() (openloop.Send, error) {
	return func() (openloop.Send, error) { return send, nil }
}

func TestRateDoesNotDependOnAnswers(t *testing.T) {
	for name, takes := range map[string]time.Duration{"quick": 0, "slow": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var newest atomic.Int64
				o := run(t, always(func(context.Context) error {
					newest.Store(int64(time.Since(start)))
					time.Sleep(takes)
					return nil
				}))
				if n := len(o.Latencies); math.Abs(float64(n)-10_000) > 300 {
					t.Errorf("%d requests, want some 10000", n)
				}
				if last := time.Duration(newest.Load()); last < 9900*time.Millisecond || last >= load.Length {
					t.Errorf("the last was sent after %v", last)
				}
			})
		})
	}
}

func TestGapsAreIrregular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		perTenth := map[int]int{}
		start := time.Now()
		run(t, always(func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			perTenth[int(time.Since(start)/(100*time.Millisecond))]++
			return nil
		}))
		var mean, variance float64
		for i := range 100 {
			mean += float64(perTenth[i]) / 100
		}
		for i := range 100 {
			variance += (float64(perTenth[i]) - mean) * (float64(perTenth[i]) - mean) / 100
		}
		if variance < mean/2 || variance > mean*2 {
			t.Errorf("mean %v, variance %v: not Poisson's", mean, variance)
		}
	})
}

// A service that answers nothing for a second: what was to be sent in that
// second waited for the rest of it.
func TestStallCountsForEveryRequestOfIt(t *testing.T) {
	stall := func(start time.Time) {
		if at := time.Since(start); at > 5*time.Second && at < 6*time.Second {
			time.Sleep(6*time.Second - at)
		}
	}
	cases := map[string]func(start time.Time) func() (openloop.Send, error){
		"of the service": func(start time.Time) func() (openloop.Send, error) {
			return always(func(context.Context) error {
				stall(start)
				time.Sleep(work)
				return nil
			})
		},
		"of the sender": func(start time.Time) func() (openloop.Send, error) {
			return func() (openloop.Send, error) {
				stall(start)
				return func(context.Context) error {
					time.Sleep(work)
					return nil
				}, nil
			}
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := run(t, prepare(time.Now()))
				slices.Sort(o.Latencies)
				n := len(o.Latencies)
				if got := o.Latencies[n/2]; got != work {
					t.Errorf("median %v, want %v", got, work)
				}
				late := n - slices.IndexFunc(o.Latencies, func(d time.Duration) bool { return d > 100*time.Millisecond })
				if late < 800 || late > 1000 {
					t.Errorf("%d of %d requests waited for more than 100 ms, want some 900", late, n)
				}
			})
		})
	}
}

func TestFailuresCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		n := 0
		o := run(t, func() (openloop.Send, error) {
			n++
			fails := n%10 == 0
			return func(context.Context) error {
				if fails {
					time.Sleep(time.Second)
					return broken
				}
				return nil
			}, nil
		})
		if o.Failed != n/10 || len(o.Latencies) != n || !errors.Is(o.Last, broken) {
			t.Errorf("%d failed, %d latencies of %d, %v", o.Failed, len(o.Latencies), n, o.Last)
		}
		slices.Sort(o.Latencies)
		if got := o.Latencies[n*95/100]; got != time.Second {
			t.Errorf("p95 %v: failures are left out", got)
		}
	})
}

func TestEnds(t *testing.T) {
	t.Run("fail/prepare", func(t *testing.T) {
		broken := errors.New("broken")
		if _, err := load.Run(t.Context(), func() (openloop.Send, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("fail/cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := load.Run(ctx, always(func(context.Context) error { return nil }))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
}
