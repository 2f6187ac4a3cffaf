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

// statements are prepared once on each connection. A body that is too large is
// read as far as shows that it is.
type statements struct {
	read, first, append, appendFor *database.Statement
}

func newStatements() *statements {
	return &statements{
		read: database.NewStatement("SELECT seq, substr(body, 1, $4), mac FROM countersign.record" +
			" WHERE role = $1 AND seq >= $2 ORDER BY seq LIMIT $3"),
		first:     database.NewStatement("INSERT INTO countersign.record (role, seq, body, mac) VALUES ($1, $2, $3, $4)"),
		append:    database.NewStatement(behind),
		appendFor: database.NewStatement(behind + " AND " + waiting),
	}
}

// behind is the start of an append, which stands only behind the entry that is
// remembered, MAC and body: so one statement both looks and writes, and who
// deletes or changes the last entry is noticed by the next append and not only by
// the next look.
const behind = "INSERT INTO countersign.record (role, seq, body, mac)" +
	" SELECT $1::text, $2::bigint, $3::bytea, $4::bytea WHERE EXISTS (SELECT FROM countersign.record" +
	" WHERE role = $1 AND seq = $2 - 1 AND mac = $5 AND sha256(body) = $6)"

// waiting says that requests which were heard of are stored as they were heard,
// and that the role still has a task of each: whoever repeats what it has answered
// gets no record. Subqueries that count are looked up for each request and never
// joined.
const waiting = "(SELECT bool_and((SELECT r.hash FROM countersign.request r WHERE r.id = o.id) IS NOT DISTINCT FROM o.hash" +
	" AND (SELECT count(*) FROM countersign.task t WHERE t.request_id = o.id AND t.consumer = $1 AND t.state <> 2) = 1)" +
	" FROM unnest($7::uuid[], $8::bytea[]) AS o (id, hash))"

// read returns up to limit rows from seq on, in order.
func (c *Chain) read(ctx context.Context, from int64, limit int) ([]Entry, error) {
	out, err := c.query(ctx, c.role, from, limit, MaxBody+1)
	if err != nil {
		return nil, fmt.Errorf("reading record chain of %s: %w", c.role, err)
	}
	return out, nil
}

func (c *Chain) query(ctx context.Context, args ...any) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	stmt, err := c.sql.read.On(ctx, c.db, nil)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	return scan(rows)
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

// insert writes the entry that follows after and returns it as the new head.
func (c *Chain) insert(ctx context.Context, s *database.Statement, after Head, body []byte, more ...any) (Head, error) {
	if len(body) > MaxBody {
		return Head{}, fmt.Errorf("appending to record chain of %s: %d bytes: %w", c.role, len(body), ErrTooLarge)
	}
	if body == nil {
		body = []byte{} // nil would be NULL
	}
	h := Head{Seq: after.Seq + 1, prev: after.MAC, body: message.Sum(body)}
	h.MAC = mac(c.keys[0], c.role, h.Seq, h.prev, body)
	args := []any{c.role, h.Seq, body, h.MAC[:]}
	if after.Seq > 0 {
		args = append(args, after.MAC[:], after.body[:])
	}
	if err := c.exec(ctx, s, append(args, more...)...); err != nil {
		return Head{}, fmt.Errorf("appending to record chain of %s: %w", c.role, err)
	}
	return h, nil
}

func requestArrays(list []Request) []any {
	var ids pq.StringArray
	var hashes pq.ByteaArray
	for i := range list {
		ids, hashes = append(ids, list[i].ID), append(hashes, list[i].Hash[:])
	}
	return []any{ids, hashes}
}

// exec inserts one row, or is ErrConflict.
func (c *Chain) exec(ctx context.Context, s *database.Statement, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	stmt, err := s.On(ctx, c.db, nil)
	if err != nil {
		return err
	}
	result, err := stmt.ExecContext(ctx, args...)
	var pqErr *pq.Error
	if errors.As(err, &pqErr) && pqErr.Code == uniqueViolation {
		return ErrConflict
	}
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrConflict, err)
	}
	return nil
}

const uniqueViolation = "23505"
