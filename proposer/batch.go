package proposer

import (
	"context"
	"errors"
	"sync"

	"github.com/countersign/countersign/queue"
)

// maxBatch is the most submissions in one commit: beyond some fifty the commit
// is no longer what costs.
const maxBatch = 64

// submitFunc writes a batch in one transaction. Its context never ends: a caller
// that goes away must not undo the others' submissions. The connection to the
// database gives up by itself when the server is silent (package database).
type submitFunc func(context.Context, []queue.Submission) ([]queue.Outcome, error)

// batcher lets concurrent submissions share commits. One commit runs at a time:
// a second beside it would take submissions away from the batch that gathers
// meanwhile, and cost the database more than it gains. So a submission that
// comes while none runs is committed at once, by its own caller and by itself;
// those that come during a commit go together into the next, which follows
// without a pause; its users take turns (backlog). Nothing else is ever waited
// for. It is safe for concurrent use.
type batcher struct {
	submit submitFunc
	mu     sync.Mutex
	// waiting is empty unless committing.
	waiting    backlog
	committing bool
}

type entry struct {
	submission queue.Submission
	outcome    queue.Outcome
	err        error
	done       chan struct{}
}

var errShortOutcome = errors.New("the queue returned another number of outcomes than submissions")

// errBacklog says that so much of one user's waits that no more is taken.
var errBacklog = problem(CodeRateLimited, "too much of yours waits to be written")

// add commits one submission, alone or with others, and returns what became
// of it. When ctx ends first the submission may still be committed: the caller
// finds out by sending the same bytes again.
func (b *batcher) add(ctx context.Context, s queue.Submission) (queue.Outcome, error) {
	e := &entry{submission: s, done: make(chan struct{})}
	leads, ok := b.enter(e)
	if !ok {
		return 0, errBacklog
	}
	if leads {
		defer b.handOver() // also after a panic, or nobody would ever commit again
		b.commit([]*entry{e})
		return e.outcome, e.err
	}
	select {
	case <-e.done:
		return e.outcome, e.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// enter says whether the caller commits e itself; else e waits for its turn, if
// there is room for it.
func (b *batcher) enter(e *entry) (leads, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.committing {
		return false, b.waiting.push(e)
	}
	b.committing = true
	return true, true
}

// handOver ends the leader's turn: it goes on with its own request, and
// somebody else commits for those who came meanwhile.
func (b *batcher) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.size == 0 {
		b.committing = false
		return
	}
	go b.drain()
}

// drain commits until nobody waits.
func (b *batcher) drain() {
	for {
		batch := b.next()
		if batch == nil {
			return
		}
		b.commit(batch)
	}
}

// next takes the next batch.
func (b *batcher) next() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.waiting.batch(maxBatch)
	b.committing = batch != nil
	return batch
}

func (b *batcher) commit(batch []*entry) {
	submissions := make([]queue.Submission, len(batch))
	for i, e := range batch {
		submissions[i] = e.submission
	}
	outcomes, err := b.submit(context.Background(), submissions)
	if err == nil && len(outcomes) != len(batch) {
		err = errShortOutcome
	}
	for i, e := range batch {
		if e.err = err; err == nil {
			e.outcome = outcomes[i]
		}
		close(e.done)
	}
}
