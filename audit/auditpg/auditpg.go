// Package auditpg writes audit entries into PostgreSQL.
//
// The table is not trusted: its owner can change every row. What makes
// tampering visible are the entries' own signatures, and later the log's
// checkpoints.
package auditpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/internal/database"
)

// insert appends entries in the order of the arrays.
const insert = `
	INSERT INTO countersign.audit_entry (kind, request_id, body)
	SELECT e.kind, nullif(e.request_id, '00000000-0000-0000-0000-000000000000'), e.body
	FROM unnest($1::text[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS e (kind, request_id, body, place)
	ORDER BY e.place`

// Log is an audit.Appender. It is safe for concurrent use.
type Log struct {
	db     *sql.DB
	insert *database.Statement
}

var _ audit.Appender = (*Log)(nil)

// New returns a log whose transactions come from db.
func New(db *sql.DB) *Log { return &Log{db: db, insert: database.NewStatement(insert)} }

// Append implements audit.Appender in one round trip.
func (l *Log) Append(ctx context.Context, tx *sql.Tx, entries []audit.Entry) error {
	if tx == nil {
		return errors.New("appending audit entries: no transaction")
	}
	if len(entries) == 0 {
		return nil
	}
	var kinds, requests pq.StringArray
	var bodies pq.ByteaArray
	for _, e := range entries {
		if e.Kind == "" {
			return errors.New("appending audit entries: entry without a kind")
		}
		kinds, requests, bodies = append(kinds, e.Kind), append(requests, e.Request.String()), append(bodies, e.Body)
	}
	stmt, err := l.insert.On(ctx, l.db, tx)
	if err != nil {
		return fmt.Errorf("appending %d audit entries: %w", len(entries), err)
	}
	if _, err := stmt.ExecContext(ctx, kinds, requests, bodies); err != nil {
		return fmt.Errorf("appending %d audit entries: %w", len(entries), err)
	}
	return nil
}

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
