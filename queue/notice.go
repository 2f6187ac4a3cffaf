package queue

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// maxNotices bounds what a topic brings at a time of each sender: the newest.
// What is larger than any message is left out.
const maxNotices = 1024

// Publish writes a notice and wakes those who follow its topic. It lives for as
// long as it has left now, whatever the database's clock says. The same body
// under the same key, whoever sent it, is no fault; another one is ErrKeyTaken.
func (q *Queue) Publish(ctx context.Context, n Notice) error {
	written, err := q.publish(ctx, nil, n)
	if err != nil || written {
		return err
	}
	return q.samePublished(ctx, n)
}

// PublishIn is Publish in a transaction.
func (q *Queue) PublishIn(ctx context.Context, tx *sql.Tx, n Notice) error {
	written, err := q.publish(ctx, tx, n)
	if err != nil || written {
		return err
	}
	stmt, err := q.sql.notice.On(ctx, q.db, tx)
	if err != nil {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	var old Notice
	err = stmt.QueryRowContext(ctx, n.Topic, n.Key, maxNotice).Scan(
		&old.Topic, &old.Key, &old.Sender, &old.Body, instant{&old.Expires}, instant{&old.Created})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	if err != nil || !bytes.Equal(old.Body, n.Body) {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, ErrKeyTaken)
	}
	return nil
}

func (q *Queue) publish(ctx context.Context, tx *sql.Tx, n Notice) (written bool, err error) {
	stmt, err := q.sql.publish.On(ctx, q.db, tx)
	if err != nil {
		return false, fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	life := sql.NullFloat64{Float64: time.Until(n.Expires).Seconds(), Valid: !n.Expires.IsZero()}
	var rows int
	var told sql.NullString
	err = stmt.QueryRowContext(ctx, n.Topic, n.Key, n.Sender, nonNil(n.Body), life).Scan(&rows, &told)
	if err != nil {
		return false, fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	return rows == 1, nil
}

// samePublished tells a repeated notice from another one. What this service
// may not read is another one.
func (q *Queue) samePublished(ctx context.Context, n Notice) error {
	stmt, err := q.sql.published.On(ctx, q.db, nil)
	if err != nil {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	var same bool
	err = stmt.QueryRowContext(ctx, n.Topic, n.Key, nonNil(n.Body)).Scan(&same)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, err)
	}
	if !same {
		return fmt.Errorf("publishing %s %s: %w", n.Topic, n.Key, ErrKeyTaken)
	}
	return nil
}

// Notices returns the live notices of a topic, oldest first, as far as this
// service may read them.
func (q *Queue) Notices(ctx context.Context, topic string) ([]Notice, error) {
	stmt, err := q.sql.notices.On(ctx, q.db, nil)
	if err != nil {
		return nil, fmt.Errorf("reading notices of topic %s: %w", topic, err)
	}
	rows, err := stmt.QueryContext(ctx, topic, maxNotices, message.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("reading notices of topic %s: %w", topic, err)
	}
	defer rows.Close()
	var out []Notice
	for rows.Next() {
		var n Notice
		if err := rows.Scan(&n.Topic, &n.Key, &n.Sender, &n.Body, instant{&n.Expires}, instant{&n.Created}); err != nil {
			return nil, fmt.Errorf("reading notices of topic %s: %w", topic, err)
		}
		out = append(out, n)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading notices of topic %s: %w", topic, err)
	}
	return out, nil
}

// maxNotice is the most bytes that one notice can have, as the table has it.
const maxNotice = 16 << 20

// ErrNoNotice says that no live notice has a key, as far as this service may
// read.
var ErrNoNotice = errors.New("no such notice")

// Notice returns one live notice, which may be larger than a message; without
// it ErrNoNotice.
func (q *Queue) Notice(ctx context.Context, topic, key string) (Notice, error) {
	var n Notice
	stmt, err := q.sql.notice.On(ctx, q.db, nil)
	if err == nil {
		err = stmt.QueryRowContext(ctx, topic, key, maxNotice).Scan(
			&n.Topic, &n.Key, &n.Sender, &n.Body, instant{&n.Expires}, instant{&n.Created})
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Notice{}, fmt.Errorf("reading %s %s: %w", topic, key, ErrNoNotice)
	case err != nil:
		return Notice{}, fmt.Errorf("reading %s %s: %w", topic, key, err)
	}
	return n, nil
}

// DeleteExpired removes the notices whose time is over.
func (q *Queue) DeleteExpired(ctx context.Context) error {
	stmt, err := q.sql.expired.On(ctx, q.db, nil)
	if err == nil {
		_, err = stmt.ExecContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("deleting expired notices: %w", err)
	}
	return nil
}
