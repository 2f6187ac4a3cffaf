package queue

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
)

// recordIntents writes intents, each with its audit entry (audit.KindIntent):
// neither stands without the other, and none without its task as it was claimed.
// Who has only heard an offer leases the task by this statement, which holds the
// request's row to be what was heard. Of what was cancelled none is written,
// unless the handler was told so: some work cannot be taken back any more. Nor is
// one where a decisive reply stands that the handler has not read.
func (q *Queue) recordIntents(ctx context.Context, c Consumer, b *batch, intents []Intent) error {
	if len(intents) == 0 {
		return nil
	}
	var list []uuid.UUID
	var instances textArray
	var bodies byteaArray
	var versions, decisive pq.Int64Array
	var hashes byteaArray
	var told pq.BoolArray
	claimed := b.claims()
	for _, i := range intents {
		c := claimed[i.Request]
		list, versions, hashes = append(list, i.Request), append(versions, c.version), append(hashes, c.hash[:])
		told, decisive = append(told, c.cancelled), append(decisive, c.decisive)
		instances, bodies = append(instances, i.Instance), append(bodies, i.Body)
	}
	stmt, err := q.sql.intents.On(ctx, q.db, nil)
	if err != nil {
		return fmt.Errorf("recording intents: %w", err)
	}
	_, err = stmt.ExecContext(ctx, uuidArray(list), instances, bodies, c.Name, versions, c.Lease.Seconds(), !b.offered, hashes, told,
		epochArray(b.epochs), decisive)
	if lost(err) {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("recording intents: %w", err)
	}
	return nil
}

// Finish ends requests: it writes results, of which the first for each request
// stands for ever, with their audit entries (audit.KindResult), removes the
// tasks that this service may remove, and wakes those who wait, once. It returns
// the requests whose result was inserted; of the others read the standing one
// with ResultOf. With tx nil it is a transaction of its own.
func (q *Queue) Finish(ctx context.Context, tx *sql.Tx, results []Result) (inserted []uuid.UUID, err error) {
	if len(results) == 0 {
		return nil, nil
	}
	// In the order of ids, so that two instances wait for each other and never
	// deadlock.
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b Result) int { return bytes.Compare(a.Request[:], b.Request[:]) })
	var list []uuid.UUID
	var statuses textArray
	var bodies byteaArray
	for _, r := range results {
		list = append(list, r.Request)
		statuses, bodies = append(statuses, r.Status), append(bodies, r.Body)
	}
	stmt, err := q.sql.finish.On(ctx, q.db, tx)
	if err != nil {
		return nil, fmt.Errorf("finishing %d requests: %w", len(results), err)
	}
	var written pq.StringArray
	var told sql.NullString
	if err := stmt.QueryRowContext(ctx, uuidArray(list), statuses, bodies, resultPayload(results, list), idPayload(list)).Scan(&written, &told); err != nil {
		return nil, fmt.Errorf("finishing %d requests: %w", len(results), err)
	}
	q.signals.finished(list)
	for _, text := range written {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("finishing: reading an id: %w", err)
		}
		inserted = append(inserted, id)
	}
	return inserted, nil
}

// AskAgain gives a request to consumers once more, where they have no task for
// it: one that is parked or dead stays so.
func (q *Queue) AskAgain(ctx context.Context, request uuid.UUID, consumers []string) error {
	if len(consumers) == 0 {
		return nil
	}
	stmt, err := q.sql.askAgain.On(ctx, q.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx, request.String(), textArray(consumers), strings.Join(consumers, ","))
	}
	if err != nil {
		return fmt.Errorf("asking again for request %s: %w", request, err)
	}
	return nil
}

// Say adds a reply to a request, without a task and whatever the sender has
// replied before; not where it has ended. It says no more than a task's would.
func (q *Queue) Say(ctx context.Context, sender string, request uuid.UUID, r Reply) error {
	epochs, err := epochText(r.Epochs)
	if err != nil {
		return err
	}
	hint := replyHint{sender: sender, lone: &r, ids: []uuid.UUID{request}}
	if r.Decisive {
		hint.ids, hint.decisive = nil, hint.ids
	}
	stmt, err := q.sql.say.On(ctx, q.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx, sender, request.String(), append([]byte{}, r.Body...), append([]byte{}, r.Attachment...), epochs, r.Decisive, hint.payload())
	}
	if err != nil {
		return fmt.Errorf("replying to request %s: %w", request, err)
	}
	return nil
}

// AskWaiting gives requests that one of the consumers has parked to the others
// once more, where these have no task for it and have not replied for one of the
// epochs; for a newcomer, nor since the newest policy document was published. Who
// has replied since then is let be for 10 seconds, and who replied longest ago is
// asked first. It makes at most limit tasks and returns how many.
func (q *Queue) AskWaiting(ctx context.Context, consumers []string, epochs []message.EpochID, newcomer bool, limit int) (asked int, err error) {
	stmt, err := q.sql.askWaiting.On(ctx, q.db, nil)
	if err == nil {
		var told sql.NullString
		err = stmt.QueryRowContext(ctx, textArray(consumers), epochArray(epochs), limit, strings.Join(consumers, ","), TopicPolicy, newcomer).Scan(&asked, &told)
	}
	if err != nil {
		return 0, fmt.Errorf("asking again for requests that wait: %w", err)
	}
	return asked, nil
}

// Unpark makes a consumer's task ready at once, also one that is being worked
// on and parked at this moment: the task's version tells. Where there is no
// open task it does nothing.
func (q *Queue) Unpark(ctx context.Context, consumer string, request uuid.UUID) error {
	stmt, err := q.sql.unpark.On(ctx, q.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx, consumer, request.String())
	}
	if err != nil {
		return fmt.Errorf("unparking request %s: %w", request, err)
	}
	return nil
}

// Reclaim gives this service back its tasks of requests that passed their
// expiry within the given time and have no result: nobody but somebody who
// writes the database can have taken them away, and a request is to end at its
// expiry whatever became of its task. It returns how many there were.
func (q *Queue) Reclaim(ctx context.Context, within time.Duration) (int64, error) {
	stmt, err := q.sql.reclaim.On(ctx, q.db, nil)
	if err != nil {
		return 0, fmt.Errorf("reclaiming tasks: %w", err)
	}
	done, err := stmt.ExecContext(ctx, q.own, within.Seconds())
	if err != nil {
		return 0, fmt.Errorf("reclaiming tasks: %w", err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("reclaiming tasks: %w", err)
	}
	return n, nil
}

// Stalled is an open request that waits for replies which nobody is at work
// on: AskAgain is the remedy.
type Stalled struct {
	Request uuid.UUID
	Missing []string // senders without a reply for the epochs, and without a task
}

// Stalled returns open requests of this service, at most limit, for which no
// sender has an open task, and some sender has no reply that names one of the
// epochs; and, whoever is at work on them, those where the sender of a decisive
// reply has none. Requests and replies younger than olderThan are let be.
func (q *Queue) Stalled(ctx context.Context, senders []string, epochs []message.EpochID, olderThan time.Duration, limit int) ([]Stalled, error) {
	stmt, err := q.sql.stalled.On(ctx, q.db, nil)
	if err != nil {
		return nil, fmt.Errorf("looking for stalled requests: %w", err)
	}
	rows, err := stmt.QueryContext(ctx, q.own, textArray(senders), epochArray(epochs), olderThan.Seconds(), limit)
	if err != nil {
		return nil, fmt.Errorf("looking for stalled requests: %w", err)
	}
	defer rows.Close()
	var out []Stalled
	for rows.Next() {
		var s Stalled
		if err := rows.Scan(&s.Request, (*pq.StringArray)(&s.Missing)); err != nil {
			return nil, fmt.Errorf("looking for stalled requests: %w", err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("looking for stalled requests: %w", err)
	}
	return out, nil
}
