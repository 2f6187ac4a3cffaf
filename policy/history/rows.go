package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
)

// statements are prepared once on each connection, where the chain knows its
// pool. A body that is too large is read as far as shows that it is. The lock
// is taken by a function of the schema, each of whose statements has its own
// snapshot: what it reads after the lock includes all that the lock's last
// holder committed, in one round trip. The append is sent along with what
// follows: a row that is there already fails it by the primary key.
type statements struct {
	read, lockedRead, append *database.Statement
}

func newStatements() *statements {
	return &statements{
		read: database.NewStatement("SELECT seq, substr(body, 1, $4), mac FROM countersign.record" +
			" WHERE role = $1 AND seq >= $2 ORDER BY seq LIMIT $3"),
		lockedRead: database.NewStatement("SELECT seq, body, mac FROM countersign.locked_record($1, $2, $3, $4, $5)"),
		append: database.NewStatement("INSERT INTO countersign.record (role, seq, body, mac)" +
			" VALUES ($1, $2, $3, $4)"),
	}
}

// on returns a statement for q, or nil where it has to be sent as text.
func (c *Chain) on(ctx context.Context, q Querier, s *database.Statement) (*sql.Stmt, error) {
	switch q := q.(type) {
	case *sql.DB:
		if q == c.db {
			return s.On(ctx, q, nil)
		}
	case *sql.Tx:
		if c.db != nil {
			return s.On(ctx, c.db, q)
		}
	}
	return nil, nil
}

func (c *Chain) query(ctx context.Context, q Querier, s *database.Statement, args ...any) (*sql.Rows, error) {
	stmt, err := c.on(ctx, q, s)
	switch {
	case err != nil:
		return nil, err
	case stmt == nil:
		return q.QueryContext(ctx, s.Text(), args...)
	}
	return stmt.QueryContext(ctx, args...)
}

func (c *Chain) exec(ctx context.Context, q Querier, s *database.Statement, args ...any) error {
	stmt, err := c.on(ctx, q, s)
	switch {
	case err != nil:
	case stmt == nil:
		_, err = q.ExecContext(ctx, s.Text(), args...)
	default:
		_, err = stmt.ExecContext(ctx, args...)
	}
	return err
}

// read returns up to limit rows from seq on, in order; with lock, after
// waiting for the role's advisory lock.
func (c *Chain) read(ctx context.Context, q Querier, lock bool, from int64, limit int) ([]Entry, error) {
	s, args := c.sql.read, []any{c.role, from, limit, MaxBody + 1}
	if lock {
		s, args = c.sql.lockedRead, append(args, c.lockKey)
	}
	rows, err := c.query(ctx, q, s, args...)
	if err != nil {
		return nil, fmt.Errorf("reading record chain of %s: %w", c.role, err)
	}
	defer func() { _ = rows.Close() }()
	out, err := scan(rows)
	if err != nil {
		return nil, fmt.Errorf("reading record chain of %s: %w", c.role, err)
	}
	return out, nil
}

func scan(rows *sql.Rows) ([]Entry, error) {
	var out []Entry
	for rows.Next() {
		var e Entry
		var mac []byte
		if err := rows.Scan(&e.Seq, &e.Body, &mac); err != nil {
			return nil, err
		}
		// A MAC of another length verifies nothing: it stays zero.
		if len(mac) == len(e.MAC) {
			e.MAC = message.Hash(mac)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// insert writes the entry that follows after. Inside a transaction a conflict
// may appear at its commit only.
func (c *Chain) insert(ctx context.Context, q Querier, after Head, body []byte) (Head, error) {
	if len(body) > MaxBody {
		return Head{}, fmt.Errorf("appending to record chain of %s: %d bytes: %w", c.role, len(body), ErrTooLarge)
	}
	if body == nil {
		body = []byte{} // nil would be NULL
	}
	h := Head{Seq: after.Seq + 1, prev: after.MAC}
	h.MAC = mac(c.keys[0], c.role, h.Seq, h.prev, body)
	err := c.exec(ctx, q, c.sql.append, c.role, h.Seq, body, h.MAC[:])
	var pqErr *pq.Error
	if errors.As(err, &pqErr) && pqErr.Code == uniqueViolation {
		err = ErrConflict
	}
	if err != nil {
		return Head{}, fmt.Errorf("appending to record chain of %s: %w", c.role, err)
	}
	return h, nil
}

const uniqueViolation = "23505"
