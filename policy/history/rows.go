package history

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign/countersign/internal/message"
)

// The statements are sent as text with literals, because that costs one round
// trip where lib/pq needs two for a statement with arguments that is not
// prepared on the transaction's connection. What is put in is a number, hex
// digits, or a role name, which the genesis document restricts to lower-case
// letters and digits; quote escapes it all the same.

// read returns up to limit rows from seq on, in order; with lock, after
// waiting for the role's advisory lock. In READ COMMITTED each statement has
// its own snapshot, so what is read after the lock includes all that its last
// holder committed.
func (c *Chain) read(ctx context.Context, q Querier, lock bool, from int64, limit int) ([]Entry, error) {
	// A body that is too large is read as far as shows that it is.
	query := "SELECT seq, substr(body, 1, " + strconv.Itoa(MaxBody+1) + "), mac FROM countersign.record WHERE role = " + quote(c.role) +
		" AND seq >= " + strconv.FormatInt(from, 10) +
		" ORDER BY seq LIMIT " + strconv.Itoa(limit)
	if lock {
		query = "SELECT pg_advisory_xact_lock(" + strconv.FormatInt(c.lockKey, 10) + "); " + query
	}
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("reading record chain of %s: %w", c.role, err)
	}
	defer func() { _ = rows.Close() }()
	if lock {
		if err := skipLock(rows); err != nil {
			return nil, fmt.Errorf("locking record chain of %s: %w", c.role, err)
		}
	}
	out, err := scan(rows)
	if err != nil {
		return nil, fmt.Errorf("reading record chain of %s: %w", c.role, err)
	}
	return out, nil
}

// skipLock steps over the lock's empty result.
func skipLock(rows *sql.Rows) error {
	for rows.Next() {
	}
	if !rows.NextResultSet() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	return nil
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

// insert writes the entry that follows after.
func (c *Chain) insert(ctx context.Context, q Querier, after Head, body []byte) (Head, error) {
	if len(body) > MaxBody {
		return Head{}, fmt.Errorf("appending to record chain of %s: %d bytes: %w", c.role, len(body), ErrTooLarge)
	}
	h := Head{Seq: after.Seq + 1, prev: after.MAC}
	h.MAC = mac(c.keys[0], c.role, h.Seq, h.prev, body)
	res, err := q.ExecContext(ctx, "INSERT INTO countersign.record (role, seq, body, mac) VALUES ("+
		quote(c.role)+", "+strconv.FormatInt(h.Seq, 10)+", "+bytea(body)+", "+bytea(h.MAC[:])+
		") ON CONFLICT (role, seq) DO NOTHING")
	if err != nil {
		return Head{}, fmt.Errorf("appending to record chain of %s: %w", c.role, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return Head{}, fmt.Errorf("appending to record chain of %s: %w", c.role, err)
	}
	if n != 1 {
		return Head{}, fmt.Errorf("appending to record chain of %s: %w", c.role, ErrConflict)
	}
	return h, nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func bytea(b []byte) string { return "decode('" + hex.EncodeToString(b) + "', 'hex')" }
