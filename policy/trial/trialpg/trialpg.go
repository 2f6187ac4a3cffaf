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
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/trial"
)

// ErrNoRequest says that no request has the id.
var ErrNoRequest = errors.New("no such request")

//go:embed recorded.sql
var recorded string

//go:embed one.sql
var one string

// Store reads the requests of a deployment. It is safe for concurrent use.
type Store struct{ db *sql.DB }

// New returns the store in a database.
func New(db *sql.DB) *Store { return &Store{db: db} }

// Recorded returns the requests that were submitted from since until before
// until, by the database's clock and in the order of their time.
func (s *Store) Recorded(ctx context.Context, since, until time.Time) iter.Seq2[trial.Recorded, error] {
	return func(yield func(trial.Recorded, error) bool) {
		rows, err := s.db.QueryContext(ctx, recorded, since, until)
		if err != nil {
			yield(trial.Recorded{}, fmt.Errorf("reading recorded requests: %w", err))
			return
		}
		defer rows.Close()
		if err := join(rows, yield); err != nil {
			yield(trial.Recorded{}, fmt.Errorf("reading recorded requests: %w", err))
		}
	}
}

// One returns one request.
func (s *Store) One(ctx context.Context, id string) (out trial.Recorded, err error) {
	if _, err := uuid.Parse(id); err != nil {
		return out, fmt.Errorf("request %q: %w", id, ErrNoRequest)
	}
	rows, err := s.db.QueryContext(ctx, one, id)
	if err != nil {
		return out, fmt.Errorf("reading request %s: %w", id, err)
	}
	defer rows.Close()
	err = join(rows, func(r trial.Recorded, _ error) bool { out = r; return true })
	switch {
	case err != nil:
		return out, fmt.Errorf("reading request %s: %w", id, err)
	case out.ID == "":
		return out, fmt.Errorf("request %s: %w", id, ErrNoRequest)
	}
	return out, nil
}

// join makes one request of the rows with its id, which follow one another.
func join(rows *sql.Rows, yield func(trial.Recorded, error) bool) error {
	var open trial.Recorded
	for rows.Next() {
		r, sender, reply, err := scan(rows)
		if err != nil {
			return err
		}
		if r.ID != open.ID {
			if open.ID != "" && !yield(open, nil) {
				return nil
			}
			open = r
		}
		add(&open, sender, reply)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if open.ID != "" {
		yield(open, nil)
	}
	return nil
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
