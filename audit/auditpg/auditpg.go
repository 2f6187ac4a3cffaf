// Package auditpg reads audit entries from PostgreSQL. They are written by the
// statements of package queue.
//
// The table is not trusted: its owner can change every row. What makes
// tampering visible are the entries' own signatures, and later the log's
// checkpoints.
package auditpg

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"

	"github.com/countersign/countersign/audit"
)

// Log reads the table. It is safe for concurrent use.
type Log struct{ db *sql.DB }

// New returns the log in a database.
func New(db *sql.DB) *Log { return &Log{db: db} }

// Of returns the entries of one request in order, as they are stored.
func (l *Log) Of(ctx context.Context, request uuid.UUID) ([]audit.Entry, error) {
	rows, err := l.db.QueryContext(ctx,
		"SELECT kind, body FROM countersign.audit_entry WHERE request_id = $1 ORDER BY id", request.String())
	if err != nil {
		return nil, fmt.Errorf("reading audit entries of %s: %w", request, err)
	}
	defer rows.Close()
	var out []audit.Entry
	for rows.Next() {
		e := audit.Entry{Request: request}
		if err := rows.Scan(&e.Kind, &e.Body); err != nil {
			return nil, fmt.Errorf("reading audit entries of %s: %w", request, err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading audit entries of %s: %w", request, err)
	}
	return out, nil
}
