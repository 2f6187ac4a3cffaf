package queue

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
)

// sweepEvery is how often tasks are removed whose request has ended without
// their consumer, such as those parked for people when another has rejected.
const sweepEvery = time.Minute

// Consume delivers tasks to the handler until ctx is done; it then returns nil
// after the last batch has ended.
func (q *Queue) Consume(ctx context.Context, c Consumer, h Handler) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if h == nil {
		return fmt.Errorf("%w: no handler", ErrInvalid)
	}
	bell, forget := q.signals.consumer(c.Name, c.Ended)
	defer forget()
	q.want(channelTask)
	if c.Ended {
		q.want(channelResult)
		q.waking.missed()
	}
	d := &delivery{
		queue: q, consumer: c,
		handle: func(ctx context.Context, b *batch) (Work, error) { return h(ctx, b.tasks) },
		claimOne: func(id uuid.UUID) claimer {
			return q.claimer(c.Ended, q.sql.claimOne, c.Name, id.String(), c.Lease.Seconds())
		},
		again: func([]uuid.UUID) { bell.ring() },
		free:  func([]uuid.UUID) { bell.ring() },
	}
	defer d.timers.stop()
	d.failures.Store(true) // some may be left from before
	bell.missed()
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() { d.consume(ctx, bell) })
	}
	look := func() { d.failures.Store(true); bell.ring() }
	q.poll(ctx, polling{every: c.Poll, look: look, sweep: func() {
		q.hasten(ctx, c.Name)
		if !c.Ended {
			q.sweep(ctx, c.Name)
		}
	}})
	workers.Wait()
	return nil
}

// polling is what happens without a notification: look every so often, and
// when now is signalled; sweep at longer intervals.
type polling struct {
	every       time.Duration
	now         <-chan struct{}
	look, sweep func()
}

// poll polls until ctx is done.
func (q *Queue) poll(ctx context.Context, p polling) {
	ticker, sweeper := time.NewTicker(p.every), time.NewTicker(sweepEvery)
	defer ticker.Stop()
	defer sweeper.Stop()
	p.sweep()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.look()
		case <-p.now:
			p.look()
		case <-sweeper.C:
			p.sweep()
		}
	}
}

// consume is one worker. Whoever finds a full batch wakes another worker, so
// that a burst wakes all of them and a single task only one.
func (d *delivery) consume(ctx context.Context, bell *bell) {
	claim := bell.told(d.queue.claimer(d.consumer.Ended, d.queue.sql.claim, d.consumer.Name, d.consumer.Batch, d.consumer.Lease.Seconds()))
	failed := d.queue.claimer(d.consumer.Ended, d.queue.sql.claimFailed, d.consumer.Name, 1, d.consumer.Lease.Seconds())
	for {
		select {
		case <-ctx.Done():
			return
		case <-bell.rung:
		}
		if ctx.Err() != nil { // both may be ready
			return
		}
		offered, look := bell.take(d.consumer.Batch)
		b := &batch{tasks: offered, versions: make([]int64, len(offered))}
		if len(offered) > 0 && (!d.deliverOffer(ctx, b) || len(b.left) > 0) {
			bell.ringLater()
		}
		if !look {
			continue
		}
		for ctx.Err() == nil {
			n, err := d.round(ctx, claim)
			if err != nil {
				d.outage(ctx, err)
				bell.ring()
				break
			}
			if n < d.consumer.Batch {
				break
			}
			bell.ring()
			d.consumeOneFailed(ctx, failed)
		}
		if err := d.consumeFailed(ctx, failed); err != nil {
			d.outage(ctx, err)
		}
	}
}

// consumeFailed delivers tasks that have failed before, one at a time.
func (d *delivery) consumeFailed(ctx context.Context, claim claimer) error {
	for d.failures.Swap(false) && ctx.Err() == nil {
		for ctx.Err() == nil {
			n, err := d.round(ctx, claim)
			if err != nil {
				d.failures.Store(true)
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// consumeOneFailed gives one task that has failed before its turn, for there may
// be new ones without end.
func (d *delivery) consumeOneFailed(ctx context.Context, claim claimer) {
	if !d.failures.Swap(false) {
		return
	}
	if n, err := d.round(ctx, claim); n > 0 || err != nil { // the next round meets with the error too
		d.failures.Store(true)
	}
}

// outage waits a little for the database.
func (d *delivery) outage(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	d.queue.log.Warn("queue is out of reach", "consumer", d.consumer.Name, "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(outageBackoff):
	}
}

func (q *Queue) sweep(ctx context.Context, consumer string) {
	if err := q.exec(ctx, q.sql.sweep, consumer); err != nil && ctx.Err() == nil {
		q.log.Warn("sweeping tasks of ended requests failed", "consumer", consumer, "error", err)
	}
}

// hasten brings back tasks that a clock that was set back would keep waiting.
func (q *Queue) hasten(ctx context.Context, consumer string) {
	if err := q.exec(ctx, q.sql.hasten, consumer); err != nil && ctx.Err() == nil {
		q.log.Warn("looking for tasks of the future failed", "consumer", consumer, "error", err)
	}
}

func (q *Queue) exec(ctx context.Context, s *database.Statement, args ...any) error {
	stmt, err := s.On(ctx, q.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx, args...)
	}
	return err
}

// claimer claims by one of the claiming statements; ended says that tasks whose
// request has ended are delivered too.
func (q *Queue) claimer(ended bool, s *database.Statement, args ...any) claimer {
	return func(ctx context.Context) (*batch, error) {
		stmt, err := s.On(ctx, q.db, nil)
		if err != nil {
			return nil, err
		}
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		b := &batch{}
		for rows.Next() {
			if err := b.scan(rows, ended); err != nil {
				return nil, err
			}
		}
		return b, rows.Err()
	}
}

// scan adds one claimed row. A task whose request was never there, or has ended
// where that matters, is only acknowledged.
func (b *batch) scan(rows *sql.Rows, wanted bool) error {
	var t Task
	var hash []byte
	var version int64
	if err := rows.Scan(&t.Request, &t.Attempts, &version, &t.Body, &hash, instant{&t.Submitted}, instant{&t.Expires}, &t.Ended); err != nil {
		return err
	}
	if t.Ended && !wanted || t.Body == nil {
		b.ended = append(b.ended, t.Request)
		return nil
	}
	t.Hash = toHash(hash)
	b.tasks, b.versions = append(b.tasks, t), append(b.versions, version)
	return nil
}

// toHash copies what should be 32 bytes; anything else gives a value that
// fits no body.
func toHash(b []byte) (h message.Hash) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}
