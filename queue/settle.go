package queue

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
)

// settle writes verdicts and replies, and acknowledges tasks of requests that
// have ended, in one statement: it fails with errLost, and writes nothing, where
// a task is not there any more or what the work rests on does not hold. It reports whether a task that was to be kept is
// ready, because Unpark came meanwhile.
func (q *Queue) settle(ctx context.Context, consumer string, b *batch, work Work) (unparked bool, err error) {
	p := newSettlement(b, work.Verdicts)
	if err := p.addReplies(consumer, b, work.Verdicts); err != nil {
		return false, err
	}
	on := grounds{basis: work.Basis}
	if b.offered {
		on.offered, on.hashes = b.ids(), b.hashes()
	}
	switch {
	case len(p.kept) > 0:
		return q.settleMixed(ctx, consumer, p, on)
	case len(p.replies) > 0:
		return false, q.settleBy(ctx, q.sql.settle, on, consumer, p.done, p.replies, p.bodies, p.attachments, p.epochs,
			p.decisive, p.hint.payload())
	case len(p.done) > 0:
		return false, q.settleBy(ctx, q.sql.settleSilently, on, consumer, p.done)
	}
	return false, nil
}

func (q *Queue) settleBy(ctx context.Context, s *settling, on grounds, args ...any) error {
	stmt, args, err := s.on(ctx, q.db, on, args)
	if err == nil {
		_, err = stmt.ExecContext(ctx, args...)
	}
	return on.settled(err)
}

// settleMixed settles a batch of which something is kept. Who has no replies
// may have no right to write any: there is a statement without them.
func (q *Queue) settleMixed(ctx context.Context, consumer string, p *settlement, on grounds) (unparked bool, err error) {
	args := []any{consumer, p.kept, p.states, p.delays, p.seen, p.notes, p.versions, p.done}
	var divided int
	var told sql.NullString
	s, dest := q.sql.keep, []any{&unparked, &divided}
	if len(p.replies) > 0 {
		args = append(args, p.replies, p.bodies, p.attachments, p.epochs, p.decisive, p.hint.payload())
		s, dest = q.sql.settleMixed, append(dest, &told)
	}
	stmt, args, err := s.on(ctx, q.db, on, args)
	if err == nil {
		err = stmt.QueryRowContext(ctx, args...).Scan(dest...)
	}
	return unparked, on.settled(err)
}

func (g grounds) settled(err error) error {
	switch {
	case err == nil:
		return nil
	case lost(err) && g.basis != nil:
		return errStale
	case lost(err):
		return errLost
	}
	return fmt.Errorf("settling tasks: %w", err)
}

// settlement holds the parameters of the settling statements.
type settlement struct {
	done, kept          uuidArray
	notes               textArray
	states, seen        pq.Int64Array
	versions            pq.Int64Array
	delays              pq.Float64Array
	replies             uuidArray // their requests
	bodies, attachments byteaArray
	epochs              textArray // each the text of a bytea[]
	decisive            pq.BoolArray
	hint                replyHint
}

// Task states as they are stored.
const (
	stateReady  = 0
	stateParked = 1
	stateDead   = 2
)

// forever is the delay of a task that only Unpark, or nothing, brings back.
const forever = -1

func newSettlement(b *batch, verdicts []Verdict) *settlement {
	p := &settlement{done: b.ended}
	for i, v := range verdicts {
		delay := v.Delay.Seconds()
		switch v.Disposition {
		case Done:
			p.done = append(p.done, b.tasks[i].Request)
		case Park:
			if v.Delay == 0 {
				delay = forever
			}
			p.keep(b, i, stateParked, delay, 0, v.Note)
		case Retry:
			p.keep(b, i, stateReady, delay, 0, v.Note)
		case Dead:
			p.keep(b, i, stateDead, forever, 0, v.Note)
		case Await:
			p.keep(b, i, stateReady, 0, b.seen[i], v.Note)
		}
	}
	return p
}

func (p *settlement) keep(b *batch, i int, state int64, delay float64, seen int64, text string) {
	p.kept, p.versions = append(p.kept, b.tasks[i].Request), append(p.versions, b.versions[i])
	p.states, p.delays = append(p.states, state), append(p.delays, delay)
	p.seen, p.notes = append(p.seen, seen), append(p.notes, note(text))
}

func (p *settlement) addReplies(consumer string, b *batch, verdicts []Verdict) error {
	for i, v := range verdicts {
		r := v.Reply
		if r == nil {
			continue
		}
		if r.Sender != "" && r.Sender != consumer {
			return fmt.Errorf("%w: %s replies as %s", ErrInvalid, consumer, r.Sender)
		}
		epochs, err := epochText(r.Epochs)
		if err != nil {
			return err
		}
		id := b.tasks[i].Request
		p.replies = append(p.replies, id)
		p.bodies, p.attachments = append(p.bodies, r.Body), append(p.attachments, r.Attachment)
		p.epochs = append(p.epochs, epochs)
		p.decisive = append(p.decisive, r.Decisive)
		p.hint.lone = r
		if r.Decisive {
			p.hint.decisive = append(p.hint.decisive, id)
		} else {
			p.hint.ids = append(p.hint.ids, id)
		}
	}
	p.hint.sender = consumer
	return nil
}

func epochArray(epochs []message.EpochID) byteaArray {
	out := make(byteaArray, len(epochs))
	for i := range epochs {
		out[i] = epochs[i][:]
	}
	return out
}

// epochText is an array as text, for there are no arrays of arrays of several
// lengths.
func epochText(epochs []message.EpochID) (string, error) {
	out, err := pq.ByteaArray(epochArray(epochs)).Value()
	if err != nil {
		return "", fmt.Errorf("encoding epochs: %w", err)
	}
	return out.(string), nil
}

// maxNote keeps notes short enough to be shown, in bytes.
const maxNote = 1000

// note makes a text that PostgreSQL stores: valid UTF-8, no NUL, not too long.
func note(s string) string {
	if len(s) > maxNote {
		s = s[:maxNote]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}
