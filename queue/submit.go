package queue

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// Submit puts requests on the queue with a task for each consumer, in one
// commit and one round trip, and returns one outcome for each, in order. An id
// that is taken changes nothing. When it returns without an error, what was
// accepted is durable.
func (q *Queue) Submit(ctx context.Context, batch []Submission, to Recipients) ([]Outcome, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	if len(to.Consumers) == 0 {
		return nil, fmt.Errorf("submitting: %w: no consumers", ErrInvalid)
	}
	unique := firsts(batch)
	accepted, err := q.insert(ctx, unique, to)
	if err != nil {
		return nil, fmt.Errorf("submitting %d requests: %w", len(unique), err)
	}
	standing := map[uuid.UUID]Submission{}
	var taken []uuid.UUID
	for _, s := range unique {
		if accepted[s.ID] {
			standing[s.ID] = s
		} else {
			taken = append(taken, s.ID)
		}
	}
	if err := q.loadStanding(ctx, taken, standing); err != nil {
		return nil, fmt.Errorf("submitting: reading %d requests that exist: %w", len(taken), err)
	}
	return outcomes(batch, accepted, standing), nil
}

// firsts returns the first submission of each id, in the order of ids, so that
// two batches with the same ids wait for each other and never deadlock.
func firsts(batch []Submission) []Submission {
	out := slices.Clone(batch)
	slices.SortStableFunc(out, func(a, b Submission) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return slices.CompactFunc(out, func(a, b Submission) bool { return a.ID == b.ID })
}

// outcomes compares each submission with what stands under its id now. Of
// several with one accepted id only the first was accepted.
func outcomes(batch []Submission, accepted map[uuid.UUID]bool, standing map[uuid.UUID]Submission) []Outcome {
	out := make([]Outcome, len(batch))
	for i, s := range batch {
		first, ok := standing[s.ID]
		switch {
		case !ok || first.Owner != s.Owner || first.Fingerprint != s.Fingerprint:
			out[i] = Conflict
		case accepted[s.ID]:
			out[i] = Accepted
			accepted[s.ID] = false
		default:
			out[i] = Repeated
		}
	}
	return out
}

func (q *Queue) insert(ctx context.Context, batch []Submission, to Recipients) (map[uuid.UUID]bool, error) {
	n := len(batch)
	list := make([]uuid.UUID, n)
	bodies, hashes, prints := make(byteaArray, n), make(byteaArray, n), make(byteaArray, n)
	owners, kinds, wallets, expires := make(textArray, n), make(textArray, n), make(textArray, n), make(timeArray, n)
	for i, s := range batch {
		list[i], bodies[i], hashes[i], prints[i] = s.ID, s.Body, s.Hash[:], s.Fingerprint[:]
		owners[i], kinds[i], wallets[i] = s.Owner, s.Kind, s.Wallet
		expires[i] = s.Expires
	}
	offers, hold := taskOffers(batch), time.Duration(0)
	if len(offers) > 0 {
		hold = q.signals.hold
	}
	var consumers textArray
	var holds pq.Float64Array
	for _, name := range to.Consumers {
		consumers, holds = append(consumers, name), append(holds, hold.Seconds())
	}
	if to.Gatherer != "" {
		consumers, holds = append(consumers, to.Gatherer), append(holds, 0)
	}
	statement, args := q.sql.submit, []any{
		uuidArray(list), bodies, hashes, prints, owners, kinds, wallets, expires, consumers, time.Now(), holds, offers,
	}
	if requests, names := later(batch); len(names) > 0 {
		statement, args = q.sql.submitLater, append(args, requests, names, laterDelay.Seconds())
	}
	stmt, err := statement.On(ctx, q.db, nil)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[uuid.UUID]bool, n)
	for rows.Next() {
		var id uuid.UUID
		var told sql.RawBytes
		if err := rows.Scan(&id, &told); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

func (q *Queue) loadStanding(ctx context.Context, taken []uuid.UUID, into map[uuid.UUID]Submission) error {
	if len(taken) == 0 {
		return nil
	}
	stmt, err := q.sql.submitted.On(ctx, q.db, nil)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, uuidArray(taken))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s Submission
		var fingerprint []byte
		if err := rows.Scan(&s.ID, &s.Owner, &fingerprint); err != nil {
			return err
		}
		copy(s.Fingerprint[:], fingerprint)
		into[s.ID] = s
	}
	return rows.Err()
}
