// Package approvalpg reads from PostgreSQL the requests that approvers are
// shown. It needs what every policy role may do: read requests and results,
// and the role's own tasks.
//
// It trusts nothing that it reads and believes no row: its caller works from
// the envelope's bytes. It never writes.
package approvalpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/countersign/countersign/policy/approval"
)

// Requests is an approval.Requests over a database connection of the role.
type Requests struct {
	db   *sql.DB
	role string
}

var _ approval.Requests = (*Requests)(nil)

// New returns the requests of one role's tasks.
func New(db *sql.DB, role string) *Requests { return &Requests{db: db, role: role} }

const waiting = `
WITH waiting AS (
    SELECT t.request_id, t.state, row_number() OVER (PARTITION BY t.state, r.owner ORDER BY r.id) AS turn
      FROM countersign.task t
      JOIN countersign.request r ON r.id = t.request_id
     WHERE t.consumer = $1 AND t.state < 2
     ORDER BY t.state DESC, turn, t.request_id
     LIMIT $2
)
SELECT r.id, r.body, r.submitted_at, EXISTS (SELECT 1 FROM countersign.result e WHERE e.request_id = r.id)
  FROM waiting w
  JOIN countersign.request r ON r.id = w.request_id
 ORDER BY w.state DESC, w.turn, r.id`

// Waiting returns the requests that the role has a live task for: those set
// aside first, so that a burst of new ones does not hide them; then each
// user's oldest, each one's second, and so on (UUIDv7 sort by time), so that
// who asks for much does not hide what others ask for.
func (q *Requests) Waiting(ctx context.Context, limit int) ([]approval.Stored, error) {
	rows, err := q.db.QueryContext(ctx, waiting, q.role, limit)
	if err != nil {
		return nil, fmt.Errorf("reading waiting requests: %w", err)
	}
	defer rows.Close()
	var out []approval.Stored
	for rows.Next() {
		var s approval.Stored
		if err := rows.Scan(&s.ID, &s.Envelope, &s.Submitted, &s.Ended); err != nil {
			return nil, fmt.Errorf("reading waiting requests: %w", err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading waiting requests: %w", err)
	}
	return out, nil
}

const one = `
SELECT r.id, r.body, r.submitted_at, EXISTS (SELECT 1 FROM countersign.result e WHERE e.request_id = r.id)
  FROM countersign.request r
 WHERE r.id = $1`

// Request returns one request; approval.ErrNotFound if there is none.
func (q *Requests) Request(ctx context.Context, id uuid.UUID) (approval.Stored, error) {
	var s approval.Stored
	err := q.db.QueryRowContext(ctx, one, id).Scan(&s.ID, &s.Envelope, &s.Submitted, &s.Ended)
	if errors.Is(err, sql.ErrNoRows) {
		return s, approval.ErrNotFound
	}
	if err != nil {
		return s, fmt.Errorf("reading request %s: %w", id, err)
	}
	return s, nil
}
