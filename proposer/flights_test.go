package proposer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/queue"
)

// commits remembers how large each commit was, and when.
type commits struct {
	start time.Time
	mu    sync.Mutex
	sizes []int
	at    []time.Duration
	fault error
}

func (c *commits) submit(_ context.Context, batch []queue.Submission) ([]queue.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sizes, c.at = append(c.sizes, len(batch)), append(c.at, time.Since(c.start))
	return make([]queue.Outcome, len(batch)), c.fault
}

// add submits one request; what it returns tells that the result is there.
func add(t *testing.T, b proposer.Batcher) (landed func()) {
	landed, err := b.Add(t.Context(), queue.Submission{ID: uuid.New(), Owner: "alice"})
	if err != nil && !errors.Is(err, errFault) {
		t.Error(err)
	}
	return landed
}

var errFault = errors.New("the database is away")

// TestFlights: a request that is alone is never held back; those that come while
// one is under way are committed together when it has landed, or was given the
// time to.
func TestFlights(t *testing.T) {
	for name, tc := range map[string]struct {
		do    func(t *testing.T, b proposer.Batcher, c *commits)
		sizes []int
		at    []time.Duration
	}{
		"one after the other": {func(t *testing.T, b proposer.Batcher, _ *commits) {
			add(t, b)()
			add(t, b)()
			add(t, b)()
		}, []int{1, 1, 1}, []time.Duration{0, 0, 0}},
		"gathered until it lands": {func(t *testing.T, b proposer.Batcher, _ *commits) {
			landed := add(t, b)
			time.Sleep(time.Millisecond)
			for range 3 {
				go add(t, b)
			}
			synctest.Wait()
			time.Sleep(4 * time.Millisecond)
			landed()
		}, []int{1, 3}, []time.Duration{0, 5 * time.Millisecond}},
		"gathered until its time is over": {func(t *testing.T, b proposer.Batcher, _ *commits) {
			add(t, b)
			time.Sleep(time.Millisecond)
			for range 3 {
				go add(t, b)
			}
		}, []int{1, 3}, []time.Duration{0, proposer.FlightTime}},
		"a commit that failed holds nobody": {func(t *testing.T, b proposer.Batcher, c *commits) {
			c.fault = errFault
			add(t, b)
			c.fault = nil
			add(t, b)
		}, []int{1, 1}, []time.Duration{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &commits{start: time.Now()}
				tc.do(t, proposer.NewBatcher(c.submit), c)
				time.Sleep(time.Second)
				c.mu.Lock()
				defer c.mu.Unlock()
				if !slices.Equal(c.sizes, tc.sizes) || !slices.Equal(c.at, tc.at) {
					t.Errorf("commits of %v at %v, want %v at %v", c.sizes, c.at, tc.sizes, tc.at)
				}
			})
		})
	}
}
