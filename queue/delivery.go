package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// What Consumer's zero fields stand for.
const (
	defaultBatch       = 32
	defaultWorkers     = 2
	defaultPoll        = time.Second
	defaultMaxAttempts = 10
)

// Delays of deliveries that failed: none at first, since the batch may have
// failed for another's sake, then doubling.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// outageBackoff is the pause after the database failed.
	outageBackoff = 200 * time.Millisecond
	// never is a number of attempts that is not reached.
	never = 1 << 30
)

// batch is what one transaction has claimed.
type batch struct {
	tasks    []Task
	gathered []Gathered // of a gatherer, beside tasks
	seen     []int64    // of a gatherer: how many replies there are
	ended    []uuid.UUID
}

func (b *batch) size() int { return len(b.tasks) + len(b.ended) }

func (b *batch) ids() []uuid.UUID {
	out := make([]uuid.UUID, len(b.tasks))
	for i, t := range b.tasks {
		out[i] = t.Request
	}
	return out
}

// claimer locks tasks in a transaction.
type claimer func(ctx context.Context, tx *sql.Tx) (*batch, error)

// delivery delivers batches to one handler: claim, handle, settle, commit.
type delivery struct {
	queue    *Queue
	consumer Consumer
	handle   func(ctx context.Context, tx *sql.Tx, b *batch) ([]Verdict, func(context.Context) error, error)
	claimOne func(id uuid.UUID) claimer
	// settled, if set, hears of every settled batch; again is called when
	// tasks become available at a later moment.
	settled func(b *batch, verdicts []Verdict)
	again   func(ids []uuid.UUID)
	// failures says that tasks may be there that have failed before.
	failures atomic.Bool
	timers   timers
}

func (c Consumer) withDefaults() (Consumer, error) {
	if c.Name == "" || c.Batch < 0 || c.Workers < 0 || c.Poll < 0 || c.MaxAttempts < 0 {
		return c, fmt.Errorf("%w: consumer without a name or with a negative setting", ErrInvalid)
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
	return c, nil
}

// round claims and delivers one batch and returns its size. An error is the
// database's; a handler's is dealt with here.
func (d *delivery) round(ctx context.Context, claim claimer) (int, error) {
	b, after, failure, err := d.attempt(ctx, claim)
	if hook := d.consumer.AfterRollback; hook != nil && errors.Join(failure, err) != nil {
		hook(errors.Join(failure, err))
	}
	if err != nil {
		return 0, err
	}
	if failure == nil && after != nil {
		failure = d.finish(ctx, after)
	}
	if failure == nil {
		return b.size(), nil
	}
	if err := d.fail(ctx, b, failure); err != nil {
		return 0, err
	}
	if len(b.tasks) > 1 {
		return b.size(), d.oneByOne(ctx, b.ids())
	}
	return b.size(), nil
}

// attempt is one transaction. It returns the handler's failure apart from the
// database's error, and what is to be done after the commit.
func (d *delivery) attempt(ctx context.Context, claim claimer) (b *batch, after func(context.Context) error, failure, err error) {
	tx, err := d.queue.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("beginning: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	b, err = claim(ctx, tx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("claiming tasks: %w", err)
	}
	if b.size() == 0 {
		return b, nil, nil, nil
	}
	verdicts, after, err := d.call(ctx, tx, b)
	if err == nil {
		err = d.queue.settle(ctx, tx, d.consumer.Name, b, verdicts)
	}
	if err == nil {
		err = tx.Commit()
	}
	switch {
	case err != nil && outage(ctx, err):
		return nil, nil, nil, fmt.Errorf("delivering: %w", err)
	case err != nil:
		return b, nil, err, nil
	}
	d.committed(b, verdicts)
	return b, after, nil, nil
}

// call runs the handler on what has not ended yet.
func (d *delivery) call(ctx context.Context, tx *sql.Tx, b *batch) (v []Verdict, after func(context.Context) error, err error) {
	if len(b.tasks) == 0 {
		return nil, nil, nil
	}
	defer d.recovered(&err)
	v, after, err = d.handle(ctx, tx, b)
	if err == nil {
		err = checkVerdicts(v, b)
	}
	return v, after, err
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

// finish does what was left for after the commit. An outage is no failure of
// the tasks: their lease ends and they come again.
func (d *delivery) finish(ctx context.Context, after func(context.Context) error) (failure error) {
	defer d.recovered(&failure)
	err := after(ctx)
	if err != nil && outage(ctx, err) {
		d.queue.log.Warn("finishing failed", "consumer", d.consumer.Name, "error", err)
		return nil
	}
	return err
}

// schedule looks again when delayed tasks are due.
func (d *delivery) schedule(b *batch, verdicts []Verdict) {
	byDelay := map[time.Duration][]uuid.UUID{}
	for i, v := range verdicts {
		if v.Disposition == Retry || v.Disposition == Park && v.Delay > 0 {
			byDelay[v.Delay] = append(byDelay[v.Delay], b.tasks[i].Request)
		}
	}
	for delay, list := range byDelay {
		d.timers.after(delay, func() { d.again(list) })
	}
}

// fail counts a failed delivery. The tasks of a batch are not given up for
// each other's sake: only one that fails alone can die.
func (d *delivery) fail(ctx context.Context, b *batch, failure error) error {
	alone := len(b.tasks) == 1
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
	if _, err := stmt.ExecContext(ctx, d.consumer.Name, uuidArray(b.ids()), limit, delay.Seconds(), note); err != nil {
		return fmt.Errorf("counting a failed delivery: %w", err)
	}
	if alone {
		d.failures.Store(true)
		d.timers.after(delay, func() { d.failures.Store(true); d.again(b.ids()) })
	}
	return nil
}

func (d *delivery) oneByOne(ctx context.Context, list []uuid.UUID) error {
	for _, id := range list {
		if _, err := d.round(ctx, d.claimOne(id)); err != nil {
			return err
		}
	}
	return nil
}

// backoff is the delay after a delivery failed that had failed n times before.
func backoff(n int) time.Duration {
	if n == 0 {
		return 0
	}
	return min(firstBackoff<<min(n-1, 20), maxBackoff)
}

// checkVerdicts refuses what a handler may not say.
func checkVerdicts(verdicts []Verdict, b *batch) error {
	if len(verdicts) != len(b.tasks) {
		return fmt.Errorf("%w: %d verdicts for %d tasks", ErrInvalid, len(verdicts), len(b.tasks))
	}
	for _, v := range verdicts {
		switch {
		case v.Disposition < Done || v.Disposition > Await:
			return fmt.Errorf("%w: disposition %d", ErrInvalid, v.Disposition)
		case v.Disposition == Await && b.seen == nil:
			return fmt.Errorf("%w: await by one who gathers nothing", ErrInvalid)
		case v.Delay < 0:
			return fmt.Errorf("%w: negative delay", ErrInvalid)
		}
	}
	return nil
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
