package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
)

// What Consumer's zero fields stand for.
const (
	defaultBatch       = 32
	defaultWorkers     = 2
	defaultPoll        = time.Second
	defaultMaxAttempts = 10
	// defaultLease is much longer than a batch takes, and short enough that a
	// request whose consumer died is soon with another.
	defaultLease = 5 * time.Second
)

// maxLease keeps a lease apart from a task that somebody put off: see
// reclaim.sql. A lease that seems to end much later than that is none: see
// claim.sql.
const maxLease = time.Minute

// maxRetry keeps a task to be tried again apart from one that waits for a clock
// that was set back: see hasten.sql.
const maxRetry = time.Minute

// Delays of deliveries that failed: none at first, since the batch may have
// failed for another's sake, then doubling.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// outageBackoff is the pause after the database failed.
	outageBackoff = 200 * time.Millisecond
	// releaseTimeout bounds the attempt to give tasks back after an outage.
	releaseTimeout = 2 * time.Second
	// never is a number of attempts that is not reached.
	never = 1 << 30
)

// batch is what one statement has claimed.
type batch struct {
	tasks    []Task
	versions []int64           // of the tasks: Unpark raises a task's version
	gathered []Gathered        // of a gatherer, beside tasks
	seen     []int64           // of a gatherer: how many replies there are
	decisive []int64           // of a gatherer: how many of them end their request, those that are not delivered included
	epochs   []message.EpochID // of a gatherer: for which replies were read
	ended    []uuid.UUID
	claimed  time.Time
	// offered says that it was heard of and not claimed; left lists those requests
	// of it that are to be claimed after all.
	offered bool
	left    []uuid.UUID
}

// claim is what a task was when it was claimed, or heard of.
type claim struct {
	version   int64
	hash      message.Hash
	cancelled bool  // as the handler was told
	decisive  int64 // replies that stood there then
}

func (b *batch) claims() map[uuid.UUID]claim {
	out := make(map[uuid.UUID]claim, len(b.tasks))
	for i, t := range b.tasks {
		c := claim{version: b.versions[i], hash: t.Hash}
		if len(b.gathered) > 0 && !b.offered { // of an offer nobody knows
			c.cancelled = b.gathered[i].Cancelled
			c.decisive = b.decisive[i]
		}
		out[t.Request] = c
	}
	return out
}

func (b *batch) size() int { return len(b.tasks) + len(b.ended) }

func (b *batch) ids() []uuid.UUID {
	out := make([]uuid.UUID, len(b.tasks))
	for i, t := range b.tasks {
		out[i] = t.Request
	}
	return out
}

func (b *batch) hashes() byteaArray {
	out := make(byteaArray, len(b.tasks))
	for i := range b.tasks {
		out[i] = b.tasks[i].Hash[:]
	}
	return out
}

func (b *batch) attempts() pq.Int64Array {
	out := make(pq.Int64Array, len(b.tasks))
	for i, t := range b.tasks {
		out[i] = int64(t.Attempts)
	}
	return out
}

// claimer leases tasks.
type claimer func(ctx context.Context) (*batch, error)

// delivery delivers batches to one handler: claim, handle, settle.
type delivery struct {
	queue    *Queue
	consumer Consumer
	handle   func(ctx context.Context, b *batch) (Work, error)
	claimOne func(id uuid.UUID) claimer
	// settled, if set, hears of every settled batch; again is called when
	// tasks become available at a later moment, free when they are let go at once.
	settled func(b *batch, verdicts []Verdict)
	again   func(ids []uuid.UUID)
	free    func(ids []uuid.UUID)
	// failures says that tasks may be there that have failed before.
	failures atomic.Bool
	timers   timers
	rivals   rivalry
}

func (c Consumer) withDefaults() (Consumer, error) {
	if c.Name == "" || c.Batch < 0 || c.Workers < 0 || c.Poll < 0 || c.MaxAttempts < 0 || c.Lease < 0 {
		return c, fmt.Errorf("%w: consumer without a name or with a negative setting", ErrInvalid)
	}
	if c.Lease > maxLease {
		return c, fmt.Errorf("%w: a lease of %v is longer than %v", ErrInvalid, c.Lease, maxLease)
	}
	if c.Batch == 0 {
		c.Batch = defaultBatch
	}
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	if c.Poll == 0 {
		c.Poll = defaultPoll
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = defaultMaxAttempts
	}
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	return c, nil
}

// round claims and delivers one batch and returns its size. An error is the
// database's; a handler's is dealt with here. Nothing in it ends with ctx: a
// statement whose context can end costs a goroutine, and a batch is finished.
// The connection bounds a statement's time.
func (d *delivery) round(ctx context.Context, claim claimer) (int, error) {
	ctx = context.WithoutCancel(ctx)
	b, err := claim(ctx)
	if err != nil {
		// What it leased without our hearing of it comes when that is over.
		d.timers.after(d.consumer.Lease, func() { d.again(nil) })
		return 0, fmt.Errorf("claiming tasks: %w", err)
	}
	if b.size() == 0 {
		return 0, nil
	}
	b.claimed = time.Now()
	failure := d.deliver(ctx, b)
	if failure != nil {
		d.queue.observer.Failed(d.consumer.Name, len(b.tasks), errors.Is(failure, errLost))
	}
	switch {
	case failure == nil:
		return b.size(), nil
	case errors.Is(failure, errLost):
		d.queue.log.Warn("a lease was lost", "consumer", d.consumer.Name, "tasks", len(b.tasks))
		if err = d.release(ctx, b); err == nil && (b.size() == 1 || errors.Is(failure, errStale)) {
			d.free(b.ids()) // what is still there has changed, or what it rested on
			return b.size(), nil
		}
	case outage(failure):
		// Where the database is away for longer the lease ends by itself.
		_ = d.release(ctx, b)
		return 0, fmt.Errorf("delivering: %w", failure)
	default:
		err = d.fail(ctx, b, failure)
	}
	if err != nil {
		return 0, err
	}
	if b.size() > 1 {
		return b.size(), d.oneByOne(ctx, b)
	}
	return b.size(), nil
}

// deliver has the handler work on a batch and writes what it made of it.
func (d *delivery) deliver(ctx context.Context, b *batch) error {
	work, err := d.call(ctx, b)
	if err != nil {
		return err
	}
	if err := d.queue.recordIntents(ctx, d.consumer, b, work.Intents); err != nil {
		return err
	}
	unparked, err := d.queue.settle(ctx, d.consumer.Name, b, work)
	if err != nil {
		return err
	}
	d.committed(b, work.Verdicts)
	if unparked {
		d.free(b.ids())
	}
	if work.After != nil {
		if err := d.finish(ctx, work.After); err != nil {
			return err
		}
	}
	d.queue.observer.Settled(d.consumer.Name, work.Verdicts, time.Since(b.claimed))
	return nil
}

// call runs the handler on what has not ended yet.
func (d *delivery) call(ctx context.Context, b *batch) (work Work, err error) {
	if len(b.tasks) == 0 {
		return Work{}, nil
	}
	defer d.recovered(&err)
	work, err = d.handle(ctx, b)
	if err == nil {
		err = checkWork(work, b)
	}
	if err == nil && b.offered {
		work.Verdicts = b.leave(work.Verdicts)
	}
	return work, err
}

// leave takes those tasks out of an offered batch that are to be read first, and
// returns the verdicts of the others.
func (b *batch) leave(verdicts []Verdict) (kept []Verdict) {
	tasks := b.tasks
	b.tasks = nil
	for i, v := range verdicts {
		if v.Disposition == Reread {
			b.left = append(b.left, tasks[i].Request)
			continue
		}
		b.tasks, kept = append(b.tasks, tasks[i]), append(kept, v)
	}
	b.versions = make([]int64, len(b.tasks)) // an offer knows of no other
	return kept
}

// deliverOffer delivers what was heard of. It reports whether it was dealt with,
// but for what is left: if not, the tasks are claimed when nobody holds them any
// more. A failure counts against nothing: it may be a forgery's.
func (d *delivery) deliverOffer(ctx context.Context, b *batch) bool {
	if d.rivals.yields() {
		return false
	}
	b.offered, b.claimed = true, time.Now()
	err := d.deliver(context.WithoutCancel(ctx), b)
	if err == nil {
		return true
	}
	beaten := errors.Is(err, errLost)
	if beaten {
		d.rivals.beaten()
	} else {
		d.queue.log.Warn("an offer was not dealt with", "consumer", d.consumer.Name, "tasks", len(b.tasks), "error", err)
	}
	d.queue.observer.Failed(d.consumer.Name, len(b.tasks), beaten)
	return false
}

// finish does what was left for after the verdicts were written.
func (d *delivery) finish(ctx context.Context, after func(context.Context) error) (err error) {
	defer d.recovered(&err)
	return after(ctx)
}

// recovered turns a panic into an error, so that one request cannot stop a
// service. The value is not logged: it could hold anything.
func (d *delivery) recovered(err *error) {
	if recover() != nil {
		d.queue.log.Error("handler panicked", "consumer", d.consumer.Name, "stack", string(debug.Stack()))
		*err = ErrPanic
	}
}

func (d *delivery) committed(b *batch, verdicts []Verdict) {
	if d.settled != nil {
		d.settled(b, verdicts)
	}
	d.schedule(b, verdicts)
	if hook := d.consumer.AfterCommit; hook != nil && len(b.tasks) > 0 {
		hook(b.tasks, verdicts)
	}
}

// schedule looks again when delayed tasks are due.
func (d *delivery) schedule(b *batch, verdicts []Verdict) {
	byDelay := map[time.Duration][]uuid.UUID{}
	for i, v := range verdicts {
		delay := v.Delay
		switch v.Disposition {
		case Retry:
		case Hold:
			delay = d.consumer.Lease
		case Park:
			if delay == 0 {
				continue
			}
		default:
			continue
		}
		byDelay[delay] = append(byDelay[delay], b.tasks[i].Request)
	}
	for delay, list := range byDelay {
		d.timers.after(delay, func() { d.again(list) })
	}
}

// fail counts a failed delivery. The tasks of a batch are not given up for
// each other's sake: only one that fails alone can die.
func (d *delivery) fail(ctx context.Context, b *batch, failure error) error {
	if len(b.tasks) == 0 {
		return d.release(ctx, b)
	}
	alone := b.size() == 1
	limit, delay := never, time.Duration(0)
	if alone {
		limit, delay = d.consumer.MaxAttempts, backoff(b.tasks[0].Attempts)
	}
	d.queue.log.Warn("delivery failed", "consumer", d.consumer.Name, "tasks", len(b.tasks), "error", failure)
	stmt, err := d.queue.sql.fail.On(ctx, d.queue.db, nil)
	if err != nil {
		return err
	}
	note := note(fmt.Sprintf("gave up after %d attempts: %v", b.tasks[0].Attempts+1, failure))
	if _, err := stmt.ExecContext(ctx, d.consumer.Name, uuidArray(b.ids()), limit, delay.Seconds(), note, b.attempts()); err != nil {
		return fmt.Errorf("counting a failed delivery: %w", err)
	}
	if alone {
		d.failures.Store(true)
		d.timers.after(delay, func() { d.failures.Store(true); d.again(b.ids()) })
	}
	return nil
}

// release gives up the lease of a batch that nothing was written of.
func (d *delivery) release(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	stmt, err := d.queue.sql.release.On(ctx, d.queue.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx, d.consumer.Name, uuidArray(append(b.ids(), b.ended...)))
	}
	if err != nil {
		return fmt.Errorf("releasing tasks: %w", err)
	}
	return nil
}

// oneByOne delivers a batch that failed anew.
func (d *delivery) oneByOne(ctx context.Context, b *batch) error {
	for _, id := range append(b.ids(), b.ended...) {
		if _, err := d.round(ctx, d.claimOne(id)); err != nil {
			return err
		}
	}
	return nil
}

// backoff is the delay after a delivery failed that had failed n times before,
// by what stands in its row.
func backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(firstBackoff<<min(n-1, 20), maxBackoff)
}

// checkWork refuses what a handler may not say.
func checkWork(work Work, b *batch) error {
	if len(work.Verdicts) != len(b.tasks) {
		return fmt.Errorf("%w: %d verdicts for %d tasks", ErrInvalid, len(work.Verdicts), len(b.tasks))
	}
	for i, v := range work.Verdicts {
		switch {
		case v.Disposition < Done || v.Disposition > Reread:
			return fmt.Errorf("%w: disposition %d", ErrInvalid, v.Disposition)
		case (v.Disposition == Await || v.Disposition == Hold) && b.seen == nil:
			return fmt.Errorf("%w: await or hold by one who gathers nothing", ErrInvalid)
		case v.Disposition == Reread && !b.offered:
			return fmt.Errorf("%w: what was read is to be read", ErrInvalid)
		case v.Disposition >= Hold && v.Reply != nil:
			return fmt.Errorf("%w: a reply to a request that is held or left", ErrInvalid)
		case b.offered && b.seen != nil && v.Disposition != Reread && !(v.Disposition == Hold && work.intends(b.tasks[i].Request)):
			return fmt.Errorf("%w: an offered request is gathered without an intent", ErrInvalid)
		case v.Delay < 0:
			return fmt.Errorf("%w: negative delay", ErrInvalid)
		case v.Disposition == Retry && v.Delay > maxRetry:
			return fmt.Errorf("%w: a retry after %v: park it", ErrInvalid, v.Delay)
		}
	}
	return nil
}

func (w Work) intends(id uuid.UUID) bool {
	return slices.ContainsFunc(w.Intents, func(i Intent) bool { return i.Request == id })
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// timers are wake-ups that end with their owner.
type timers struct {
	mu      sync.Mutex
	pending map[*time.Timer]struct{}
	stopped bool
}

// after calls f when d is over, unless stop comes first. The database's clock
// decides whether a task is due; margin makes up for small differences.
func (t *timers) after(d time.Duration, f func()) {
	const margin = 2 * time.Millisecond
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	if t.pending == nil {
		t.pending = map[*time.Timer]struct{}{}
	}
	var timer *time.Timer
	timer = time.AfterFunc(d+margin, func() {
		t.mu.Lock()
		delete(t.pending, timer)
		stopped := t.stopped
		t.mu.Unlock()
		if !stopped {
			f()
		}
	})
	t.pending[timer] = struct{}{}
}

func (t *timers) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for timer := range t.pending {
		timer.Stop()
	}
	t.pending = nil
}
