package proposer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/queue"
)

const (
	// maxBatch is the most submissions in one commit: beyond some fifty the
	// commit is no longer what costs.
	maxBatch = 64
	// maxCommits is how many commits run at once: two, so that one slow commit
	// does not hold up everyone, and few, so that concurrent submissions share
	// commits.
	maxCommits = 1
	// commitTimeout bounds one commit. It is the server's own, not a caller's:
	// a caller that goes away must not undo the others' submissions.
	commitTimeout = 10 * time.Second
)

// submitFunc writes a batch in one transaction.
type submitFunc func(context.Context, []queue.Submission) ([]queue.Outcome, error)

// batcher lets concurrent submissions share commits. A lone one is committed
// at once; those that arrive while maxCommits commits are under way go
// together into the next. It is safe for concurrent use.
type batcher struct {
	submit  submitFunc
	mu      sync.Mutex
	waiting []*entry
	commits int
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
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	if b.commits < maxCommits {
		b.commits++
		go b.drain()
	}
	b.mu.Unlock()
	select {
	case <-e.done:
		return e.outcome, e.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
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
	if batch == nil {
		b.commits--
	}
	return batch
}

func (b *batcher) commit(batch []*entry) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	submissions := make([]queue.Submission, len(batch))
	for i, e := range batch {
		submissions[i] = e.submission
	}
	outcomes, err := b.submit(ctx, submissions)
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
