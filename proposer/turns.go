package proposer

import (
	"context"
	"sync"
)

// maxTurns is how many costly calls of one user are worked on at once: two, so
// that a slow peer does not hold up its user's next call.
const maxTurns = 2

// turns makes the costly calls of one user wait for one another, before they
// have read anything: a page of requests can take tens of megabytes, and nobody
// may fill the memory by asking for it a thousand times at once. Users do not
// wait for other users. It is safe for concurrent use.
type turns struct {
	mu sync.Mutex
	of map[string]chan struct{} // by user; there are as many as the policy has had
}

// take waits for a turn of the user's and returns what ends it.
func (t *turns) take(ctx context.Context, user string) (end func(), err error) {
	mine := t.user(user)
	select {
	case mine <- struct{}{}:
		return func() { <-mine }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *turns) user(id string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]chan struct{}{}
	}
	if t.of[id] == nil {
		t.of[id] = make(chan struct{}, maxTurns)
	}
	return t.of[id]
}
