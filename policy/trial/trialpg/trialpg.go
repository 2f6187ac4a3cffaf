// Package trialpg reads recorded requests from PostgreSQL, as the operator: the
// envelopes, the decisions and how they ended. It sees no sealed key and no
// share.
//
// It trusts nothing that it reads and verifies none of the services' signatures:
// what it returns is good for trying a policy document out, and for nothing
// else. It never writes.
package trialpg

import (
	"context"
	"database/sql"
	_ "embed" // the queries
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/trial"
)

// ErrNoRequest says that no request has the id.
var ErrNoRequest = errors.New("no such request")

//go:embed period.sql
var period string

//go:embed recorded.sql
var recorded string

// page is how many requests are read at once: the server ends a statement that
// takes long, and deciding on a year of requests does.
const page = 500

// Store reads the requests of a deployment. It is safe for concurrent use.
type Store struct{ db *sql.DB }

// New returns the store in a database.
func New(db *sql.DB) *Store { return &Store{db: db} }

// Recorded returns the requests that were submitted from since until before
// until, by the database's clock and in the order of their time.
func (s *Store) Recorded(ctx context.Context, since, until time.Time) iter.Seq2[trial.Recorded, error] {
	return func(yield func(trial.Recorded, error) bool) {
		if err := s.recorded(ctx, since, until, yield); err != nil {
			yield(trial.Recorded{}, fmt.Errorf("reading recorded requests: %w", err))
		}
	}
}

func (s *Store) recorded(ctx context.Context, since, until time.Time, yield func(trial.Recorded, error) bool) error {
	ids, err := s.period(ctx, since, until)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(ids, page) {
		requests, err := s.read(ctx, some)
		if err != nil {
			return err
		}
		for _, r := range requests {
			if !yield(r, nil) {
				return nil
			}
		}
	}
	return nil
}

// period returns the ids of a period's requests.
func (s *Store) period(ctx context.Context, since, until time.Time) (ids []uuid.UUID, err error) {
	rows, err := s.db.QueryContext(ctx, period, since, until)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// One returns one request.
func (s *Store) One(ctx context.Context, id string) (trial.Recorded, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return trial.Recorded{}, fmt.Errorf("request %q: %w", id, ErrNoRequest)
	}
	found, err := s.read(ctx, []uuid.UUID{parsed})
	switch {
	case err != nil:
		return trial.Recorded{}, fmt.Errorf("reading request %s: %w", id, err)
	case len(found) == 0:
		return trial.Recorded{}, fmt.Errorf("request %s: %w", id, ErrNoRequest)
	}
	return found[0], nil
}

// read returns requests by their ids, in the order of their time. The rows of one
// follow one another.
func (s *Store) read(ctx context.Context, ids []uuid.UUID) (out []trial.Recorded, err error) {
	rows, err := s.db.QueryContext(ctx, recorded, pq.Array(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r, sender, reply, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].ID != r.ID {
			out = append(out, r)
		}
		add(&out[len(out)-1], sender, reply)
	}
	return out, rows.Err()
}

func scan(rows *sql.Rows) (r trial.Recorded, sender string, reply []byte, err error) {
	var status string
	err = rows.Scan(&r.ID, &r.Body, &r.Submitted, &status, &sender, &reply)
	r.Submitted, r.Status, r.Replies = r.Submitted.UTC(), message.Status(status), map[string]message.Approval{}
	return r, sender, reply, err
}

// add takes a decision over; the last one of a role counts. One that says that
// it is of another role or request is none.
func add(r *trial.Recorded, sender string, reply []byte) {
	var a message.Approval
	if sender == "" || message.Peek(reply, &a) != nil || a.Role != sender || a.Request != r.ID {
		return
	}
	r.Replies[sender] = a
}
