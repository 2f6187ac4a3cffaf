package fairness

import (
	"context"
	"sync"
)

// Turns makes the costly calls of one caller wait for one another, before they
// have read anything: a page of requests can take tens of megabytes, and nobody
// may fill the memory by asking for it a thousand times at once. Callers do not
// wait for other callers. It is safe for concurrent use.
type Turns struct {
	most int

	mu sync.Mutex
	of map[string]chan struct{} // by caller; there are as many as the policy has had
}

// NewTurns returns turns of which a caller has most at once.
func NewTurns(most int) *Turns { return &Turns{most: most, of: map[string]chan struct{}{}} }

// Take waits for a turn of the caller's and returns what ends it; the error is
// that of ctx.
func (t *Turns) Take(ctx context.Context, caller string) (end func(), err error) {
	mine := t.caller(caller)
	select {
	case mine <- struct{}{}:
		return func() { <-mine }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *Turns) caller(id string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[id] == nil {
		t.of[id] = make(chan struct{}, t.most)
	}
	return t.of[id]
}
