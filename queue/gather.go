package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
)

// MaxReplies is the most replies that one gathered request carries. A sender
// that floods a request displaces its own older replies only.
const MaxReplies = 32

// Gatherer's limits in memory and per look.
const (
	// maxPartial is how many requests with some but not all replies are
	// remembered; beyond it they are forgotten and found by looking.
	maxPartial = 100_000
	// maxLook is how many requests one look brings.
	maxLook = 2000
	// fullLook is every how many polls all open requests are looked at, not
	// only those with new replies: it finds overdue ones and ended leases.
	fullLook = 8
)

// Gather delivers requests whose replies are there, and overdue ones, until
// ctx is done; it then returns nil after the last batch has ended.
func (q *Queue) Gather(ctx context.Context, g Gatherer, h GatherHandler) error {
	c, err := g.Consumer.withDefaults()
	if err != nil {
		return err
	}
	if h == nil || g.Epochs == nil || len(g.Senders) == 0 || len(g.Senders) > 64 {
		return fmt.Errorf("%w: gatherer without a handler, epochs or senders", ErrInvalid)
	}
	g.Consumer = c
	w := &gathering{queue: q, Gatherer: g, woken: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	w.reset()
	forget := q.signals.gatherer(w)
	defer forget()
	q.want(channelReply)
	q.want(channelTask) // for what is offered
	w.delivery = &delivery{
		queue: q, consumer: c,
		handle:   func(ctx context.Context, b *batch) (Work, error) { return h(ctx, b.gathered) },
		claimOne: func(id uuid.UUID) claimer { return w.claimer([]uuid.UUID{id}) },
		settled:  w.settled,
		again:    w.leaseEnded,
		free:     w.pushAll,
	}
	defer w.delivery.timers.stop()
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() { w.work(ctx) })
	}
	w.look(ctx)
	q.poll(ctx, polling{every: c.Poll, now: w.now, look: func() { w.look(ctx) }, sweep: func() { q.hasten(ctx, c.Name) }})
	workers.Wait()
	return nil
}

// gathering is a running Gather. Its memory only says where to look: what is
// delivered is decided by the database.
type gathering struct {
	Gatherer
	queue    *Queue
	delivery *delivery
	woken    chan struct{} // a request is ready
	now      chan struct{} // look at once

	mu      sync.Mutex
	partial map[uuid.UUID]uint64 // a bit for each sender heard of
	queued  map[uuid.UUID]bool
	ready   []uuid.UUID
	leased  map[uuid.UUID]bool
	heardOf *assemblies
	awaited map[uuid.UUID]bool // for which any reply counts
	polls   int                // since the last full look
	cursors [2]int64           // newest reply at the last two looks
}

func (w *gathering) reset() {
	w.partial, w.queued = map[uuid.UUID]uint64{}, map[uuid.UUID]bool{}
	w.leased, w.awaited = map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
	w.heardOf = newAssemblies()
}

// heard takes a notification. The zero hint means: look; requests without a
// sender are wanted for another reason than a reply.
func (w *gathering) heard(h replyHint) {
	if h.sender == "" {
		w.wanted(h.ids)
		return
	}
	sender := slices.Index(w.Senders, h.sender)
	if sender < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > maxPartial {
		w.partial = map[uuid.UUID]uint64{}
	}
	if len(w.awaited) > maxPartial {
		w.awaited = map[uuid.UUID]bool{}
	}
	if len(w.ready) > maxPartial {
		return // anybody can notify; what is true of it is found by looking
	}
	all := uint64(1)<<len(w.Senders) - 1
	if task := w.heardOf.reply(h); task != nil && w.Heard != nil {
		w.Heard(*task, *h.lone)
	}
	for _, id := range h.ids {
		w.partial[id] |= 1 << sender
		if w.partial[id] == all || w.awaited[id] {
			w.push(id)
		}
	}
	for _, id := range h.decisive {
		w.push(id)
	}
}

func (w *gathering) wanted(list []uuid.UUID) {
	if len(list) == 0 {
		w.lookAll()
		wake(w.now)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range list {
		if len(w.ready) > maxPartial {
			return // as for replies: a full look finds what is true of it
		}
		w.push(id)
	}
}

// push needs the lock.
func (w *gathering) push(id uuid.UUID) {
	if !w.queued[id] {
		w.queued[id] = true
		w.ready = append(w.ready, id)
	}
	wake(w.woken)
}

// take returns a batch of requests to look at, and wakes another worker if
// more are left.
func (w *gathering) take() []uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.ready), w.Batch)
	out := slices.Clone(w.ready[:n])
	w.ready = w.ready[n:]
	for _, id := range out {
		delete(w.queued, id)
		delete(w.partial, id)
	}
	if len(w.ready) > 0 {
		wake(w.woken)
	} else {
		w.ready = nil
	}
	return out
}

func (w *gathering) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.woken:
		}
		for ctx.Err() == nil {
			list := w.take()
			if len(list) == 0 {
				break
			}
			list = w.offers(ctx, list)
			if len(list) == 0 {
				continue
			}
			if _, err := w.delivery.round(ctx, w.claimer(list)); err != nil {
				w.delivery.outage(ctx, err)
				w.pushAll(list)
			}
		}
	}
}

func (w *gathering) pushAll(list []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range list {
		w.push(id)
	}
}

// settled remembers leases, and what is awaited, so that the next reply wakes
// it. Of a reply that came while it was worked on it was heard already.
func (w *gathering) settled(b *batch, verdicts []Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range b.left {
		w.push(id)
	}
	for i, v := range verdicts {
		id := b.tasks[i].Request
		delete(w.awaited, id)
		switch v.Disposition {
		case Retry, Hold:
			w.leased[id] = true
		case Await:
			w.awaited[id] = true
			if w.partial[id] != 0 {
				w.push(id)
			}
		}
	}
}

func (w *gathering) leaseEnded(list []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range list {
		if w.leased[id] {
			delete(w.leased, id)
			w.push(id)
		}
	}
}

// finished forgets leases of requests that have a result.
func (w *gathering) finished(list []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range list {
		delete(w.leased, id)
		delete(w.partial, id)
		delete(w.awaited, id)
		w.heardOf.drop(id)
	}
}

func (w *gathering) lookAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls = 0
}

// look asks the database which requests to gather.
func (w *gathering) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := w.candidates(ctx)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			w.queue.log.Warn("looking for replies failed", "consumer", w.Name, "error", err)
		}
		w.lookAll()
		return
	}
	w.pushAll(list)
}

// lookTimeout keeps a slow look from piling up behind the next ones.
const lookTimeout = 30 * time.Second

func (w *gathering) candidates(ctx context.Context) ([]uuid.UUID, error) {
	newest, err := w.newestReply(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	full := w.polls%fullLook == 0
	w.polls++
	// Two looks back, because a reply with a lower id may commit later.
	since := w.cursors[0]
	w.cursors = [2]int64{w.cursors[1], newest}
	w.mu.Unlock()
	args := []any{w.Name, maxLook, textArray(w.Senders), epochArray(w.Epochs())}
	s := w.queue.sql.look
	if !full {
		s, args = w.queue.sql.lookRecent, append(args, since)
	}
	stmt, err := s.On(ctx, w.queue.db, nil)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return scanIDs(rows)
}

func (w *gathering) newestReply(ctx context.Context) (int64, error) {
	stmt, err := w.queue.sql.newestReply.On(ctx, w.queue.db, nil)
	if err != nil {
		return 0, err
	}
	var newest int64
	return newest, stmt.QueryRowContext(ctx).Scan(&newest)
}

func scanIDs(rows *sql.Rows) ([]uuid.UUID, error) {
	defer rows.Close()
	var out []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// claimer locks those of the given requests that are complete or overdue, with
// their replies.
func (w *gathering) claimer(list []uuid.UUID) claimer {
	return func(ctx context.Context) (*batch, error) {
		stmt, err := w.queue.sql.gather.On(ctx, w.queue.db, nil)
		if err != nil {
			return nil, err
		}
		b := &batch{seen: []int64{}, epochs: w.Epochs()}
		rows, err := stmt.QueryContext(ctx, w.Name, uuidArray(list), textArray(w.Senders),
			epochArray(b.epochs), MaxReplies, message.MaxSize, w.Lease.Seconds())
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			if err := b.scanGathered(rows); err != nil {
				return nil, err
			}
		}
		return b, rows.Err()
	}
}

// scanGathered adds one row: a reply, and with the first one its request.
func (b *batch) scanGathered(rows *sql.Rows) error {
	var g Gathered
	var hash, body, attachment []byte
	var ended, cancelled bool
	var version, seen, decisive int64
	var replyID sql.NullInt64
	var sender sql.NullString
	var created time.Time
	var epochs pq.ByteaArray
	var ends sql.NullBool
	err := rows.Scan(&g.Request, &g.Attempts, &version, &g.Overdue, &g.Body, &hash, instant{&g.Submitted}, instant{&g.Expires}, &ended, &seen, &decisive, &cancelled,
		&replyID, &sender, &body, &attachment, &epochs, &ends, instant{&created})
	if err != nil {
		return err
	}
	if ended {
		if !slices.Contains(b.ended, g.Request) {
			b.ended = append(b.ended, g.Request)
		}
		return nil
	}
	if n := len(b.tasks); n == 0 || b.tasks[n-1].Request != g.Request {
		g.Hash, g.Cancelled = toHash(hash), cancelled
		b.tasks, b.gathered, b.seen = append(b.tasks, g.Task), append(b.gathered, g), append(b.seen, seen)
		b.versions, b.decisive = append(b.versions, version), append(b.decisive, decisive)
	}
	if !replyID.Valid {
		return nil
	}
	last := &b.gathered[len(b.gathered)-1]
	last.Replies = append(last.Replies, Reply{
		Sender: sender.String, Body: body, Attachment: attachment,
		Epochs: toEpochs(epochs), Decisive: ends.Bool, Created: created,
	})
	return nil
}

// toEpochs leaves out what is not 16 bytes.
func toEpochs(epochs pq.ByteaArray) []message.EpochID {
	out := make([]message.EpochID, 0, len(epochs))
	for _, e := range epochs {
		if len(e) == len(message.EpochID{}) {
			out = append(out, message.EpochID(e))
		}
	}
	return out
}
