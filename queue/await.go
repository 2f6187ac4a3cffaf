package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ResultOf returns the result of a request, or ErrNotFound while it has none.
// Its bytes are as untrusted as everything on the queue.
func (q *Queue) ResultOf(ctx context.Context, id uuid.UUID) (Result, error) {
	found, err := q.loadResults(ctx, []uuid.UUID{id})
	if err != nil {
		return Result{}, fmt.Errorf("reading the result of %s: %w", id, err)
	}
	r, ok := found[id]
	if !ok {
		return Result{}, fmt.Errorf("result of %s: %w", id, ErrNotFound)
	}
	return r, nil
}

// Await returns the result of a request as soon as there is one, or ctx's
// error. It may have been heard and not read, so that it is even less than
// ResultOf says: who cannot verify it asks ResultOf.
func (q *Queue) Await(ctx context.Context, id uuid.UUID) (Result, error) {
	q.want(channelResult)
	arrived := make(chan Result, 1)
	forget := q.awaiting.add(id, arrived)
	defer forget()
	poll := time.NewTimer(firstLook)
	defer poll.Stop()
	for {
		select {
		case r := <-arrived:
			return r, nil
		case <-poll.C:
			q.awaiting.look(id)
			poll.Reset(awaitPoll)
		case <-ctx.Done():
			return Result{}, fmt.Errorf("awaiting the result of %s: %w", id, ctx.Err())
		}
	}
}

// firstLook is when a waiter looks by itself for a result that was there before
// it waited: not at once, since a look is in vain for nearly every new request.
// awaitPoll is how often it looks after that, in case a notification was lost.
const (
	firstLook = 250 * time.Millisecond
	awaitPoll = 2 * time.Second
)

func (q *Queue) loadResults(ctx context.Context, list []uuid.UUID) (map[uuid.UUID]Result, error) {
	stmt, err := q.sql.results.On(ctx, q.db, nil)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, uuidArray(list))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[uuid.UUID]Result, len(list))
	for rows.Next() {
		var r Result
		if err := rows.Scan(&r.Request, &r.Status, &r.Body, instant{&r.Created}); err != nil {
			return nil, err
		}
		out[r.Request] = r
	}
	return out, rows.Err()
}

// awaiting hands results to those who wait. Looks that come while one is
// under way are done together in the next.
type awaiting struct {
	queue *Queue

	mu      sync.Mutex
	waiters map[uuid.UUID]map[chan Result]struct{}
	due     map[uuid.UUID]struct{}
	looking bool
}

func newAwaiting(q *Queue) *awaiting {
	return &awaiting{
		queue: q, waiters: map[uuid.UUID]map[chan Result]struct{}{}, due: map[uuid.UUID]struct{}{},
	}
}

func (a *awaiting) add(id uuid.UUID, c chan Result) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiters[id] == nil {
		a.waiters[id] = map[chan Result]struct{}{}
	}
	a.waiters[id][c] = struct{}{}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiters[id], c)
		if len(a.waiters[id]) == 0 {
			delete(a.waiters, id)
		}
	}
}

func (a *awaiting) look(id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want(id)
}

// ended looks for the given results if somebody waits for them; nil: for all.
func (a *awaiting) ended(list []uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if list == nil {
		for id := range a.waiters {
			a.want(id)
		}
	}
	for _, id := range list {
		if a.waiters[id] != nil {
			a.want(id)
		}
	}
}

// offered gives a result to whoever waits for it.
func (a *awaiting) offered(r Result) {
	a.deliver(map[uuid.UUID]Result{r.Request: r})
}

// want needs the lock.
func (a *awaiting) want(id uuid.UUID) {
	a.due[id] = struct{}{}
	if !a.looking {
		a.looking = true
		go a.lookUntilNothingIsDue()
	}
}

func (a *awaiting) lookUntilNothingIsDue() {
	for {
		list := a.takeDue()
		if list == nil {
			return
		}
		// Without an end of its own, which would cost goroutines: the
		// connection bounds it.
		found, err := a.queue.loadResults(context.Background(), list)
		if err != nil { // the waiters look again by themselves
			a.queue.log.Warn("reading results failed", "error", err)
		}
		a.deliver(found)
	}
}

func (a *awaiting) takeDue() []uuid.UUID {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.due) == 0 {
		a.looking = false
		return nil
	}
	list := make([]uuid.UUID, 0, len(a.due))
	for id := range a.due {
		list = append(list, id)
	}
	clear(a.due)
	return list
}

func (a *awaiting) deliver(found map[uuid.UUID]Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, r := range found {
		for c := range a.waiters[id] {
			select {
			case c <- r:
			default: // it has one already
			}
		}
	}
}
