package proposer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/queue"
)

// maxBatch is the most submissions in one commit: as many as the services take
// at once. Beyond some fifty the commit is no longer what costs, but every stage
// behind it works on what came together.
const maxBatch = 256

// submitFunc writes a batch in one transaction. Its context never ends: a caller
// that goes away must not undo the others' submissions. The connection to the
// database gives up by itself when the server is silent (package database).
type submitFunc func(context.Context, []queue.Submission) ([]queue.Outcome, error)

// batcher lets concurrent submissions share commits. One commit runs at a time:
// a second beside it would take submissions away from the batch that gathers
// meanwhile, and cost the database more than it gains; and it begins only when
// the batch before has its results, or was given the time for them (flights). So
// a submission that comes while nothing is under way is committed at once, by its
// own caller and by itself; those that come meanwhile go together into the next;
// its users take turns (backlog). It is safe for concurrent use.
type batcher struct {
	submit submitFunc
	mu     sync.Mutex
	// waiting is empty unless committing, or something is under way.
	waiting    backlog
	committing bool
	flights    flights
	timer      bool // looks when the last flight's time is over
}

type entry struct {
	submission queue.Submission
	outcome    queue.Outcome
	flight     *flight
	err        error
	done       chan struct{}
}

var errShortOutcome = errors.New("the queue returned another number of outcomes than submissions")

// errBacklog says that so much of one user's waits that no more is taken.
var errBacklog = problem(CodeRateLimited, "too much of yours waits to be written")

// add commits one submission, alone or with others, and returns what became
// of it. Landed is called when its result is there, or nobody waits for it any
// more. When ctx ends first the submission may still be committed: the caller
// finds out by sending the same bytes again.
func (b *batcher) add(ctx context.Context, s queue.Submission) (outcome queue.Outcome, landed func(), err error) {
	e := &entry{submission: s, done: make(chan struct{})}
	leads, ok := b.enter(e)
	if !ok {
		return 0, nobody, errBacklog
	}
	landed = func() { b.land(e.flight) }
	if leads {
		defer b.handOver() // also after a panic, or nobody would ever commit again
		b.commit([]*entry{e})
		return e.outcome, landed, e.err
	}
	select {
	case <-e.done:
		return e.outcome, landed, e.err
	case <-ctx.Done():
		return 0, nobody, ctx.Err()
	}
}

func nobody() {}

// enter says whether the caller commits e itself; else e waits for its turn, if
// there is room for it.
func (b *batcher) enter(e *entry) (leads, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.committing && b.waiting.size == 0 && b.flights.hold() == 0 {
		b.committing = true
		return true, true
	}
	if !b.waiting.push(e) {
		return false, false
	}
	b.start()
	return false, true
}

// land takes one request out of its flight.
func (b *batcher) land(f *flight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.open--
	b.start()
}

// start has those committed who wait, if they may be; else it looks again when
// they may. It needs the lock.
func (b *batcher) start() {
	if b.committing || b.waiting.size == 0 {
		return
	}
	hold := b.flights.hold()
	if hold == 0 {
		b.committing = true
		go b.drain()
		return
	}
	if !b.timer {
		b.timer = true
		time.AfterFunc(hold, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.timer = false
			b.start()
		})
	}
}

// handOver ends the leader's turn: it goes on with its own request, and
// somebody else commits for those who came meanwhile.
func (b *batcher) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.committing = false
	b.start()
}

// drain commits until nobody waits, or those who do are held back.
func (b *batcher) drain() {
	defer b.handOver()
	for batch := b.next(); batch != nil; batch = b.next() {
		b.commit(batch)
	}
}

// next takes the next batch.
func (b *batcher) next() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flights.hold() > 0 {
		return nil
	}
	return b.waiting.batch(maxBatch)
}

func (b *batcher) commit(batch []*entry) {
	submissions := make([]queue.Submission, len(batch))
	for i, e := range batch {
		submissions[i] = e.submission
	}
	f := b.takeOff(batch)
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
	if err != nil {
		b.mu.Lock()
		f.open = 0
		b.mu.Unlock()
	}
}

func (b *batcher) takeOff(batch []*entry) *flight {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flights.begin(len(batch))
	for _, e := range batch {
		e.flight = f
	}
	return f
}
