package proposer

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

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
// without a pause. Nothing else is ever waited for. It is safe for concurrent
// use.
type batcher struct {
	submit submitFunc
	mu     sync.Mutex
	// waiting is empty unless committing.
	waiting    []*entry
	committing bool
}

type entry struct {
	submission queue.Submission
	outcome    queue.Outcome
	err        error
	done       chan struct{}
}

var errShortOutcome = errors.New("the queue returned another number of outcomes than submissions")

// add commits one submission, alone or with others, and returns what became
// of it. When ctx ends first the submission may still be committed: the caller
// finds out by sending the same bytes again.
func (b *batcher) add(ctx context.Context, s queue.Submission) (queue.Outcome, error) {
	e := &entry{submission: s, done: make(chan struct{})}
	if b.leads(e) {
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

// leads says whether the caller commits e itself; else e waits for its turn.
func (b *batcher) leads(e *entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.committing {
		b.waiting = append(b.waiting, e)
		return false
	}
	b.committing = true
	return true
}

// handOver ends the leader's turn: it goes on with its own request, and
// somebody else commits for those who came meanwhile.
func (b *batcher) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
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

// next takes the next batch, in order of arrival. The same id twice would make
// the second outcome depend on how the queue reads its own batch, so the
// second waits for the next one.
func (b *batcher) next() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch, rest []*entry
	ids := make(map[uuid.UUID]bool, min(len(b.waiting), maxBatch))
	for i, e := range b.waiting {
		if len(batch) == maxBatch {
			rest = append(rest, b.waiting[i:]...)
			break
		}
		if ids[e.submission.ID] {
			rest = append(rest, e)
			continue
		}
		ids[e.submission.ID] = true
		batch = append(batch, e)
	}
	b.waiting = rest
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
