package queue

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
)

// Limits of views: how many replies of each sender, and how many requests.
const (
	viewReplies = 4
	maxList     = 200
)

// Get returns one request for display, or ErrNotFound.
func (q *Queue) Get(ctx context.Context, id uuid.UUID) (View, error) {
	views, err := q.views(ctx, []uuid.UUID{id})
	if err != nil {
		return View{}, fmt.Errorf("reading request %s: %w", id, err)
	}
	if len(views) == 0 {
		return View{}, fmt.Errorf("request %s: %w", id, ErrNotFound)
	}
	return views[0], nil
}

// List returns requests for display, newest first, at most 200.
func (q *Queue) List(ctx context.Context, f Filter) ([]View, error) {
	query, args := f.query()
	rows, err := q.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	list, err := scanIDs(rows)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	views, err := q.views(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("listing requests: %w", err)
	}
	return views, nil
}

// statusPending selects requests without a result.
const statusPending = "pending"

// query builds the filter's SQL; values go in as parameters only.
func (f Filter) query() (string, []any) {
	var where []string
	var args []any
	equal := func(condition string, value any) {
		args = append(args, value)
		where = append(where, condition+strconv.Itoa(len(args)))
	}
	if f.Owner != "" {
		equal("r.owner = $", f.Owner)
	}
	if f.Kind != "" {
		equal("r.kind = $", f.Kind)
	}
	if f.Wallet != "" {
		equal("r.wallet = $", f.Wallet)
	}
	if f.Before != uuid.Nil {
		equal("r.id < $", f.Before.String())
	}
	switch f.Status {
	case "":
	case statusPending:
		where = append(where, "(SELECT count(*) FROM countersign.result x WHERE x.request_id = r.id) = 0")
	default:
		equal("(SELECT x.status FROM countersign.result x WHERE x.request_id = r.id) = $", f.Status)
	}
	if len(f.ParkedBy) > 0 {
		args = append(args, pq.Array(f.ParkedBy))
		where = append(where, fmt.Sprintf("(SELECT count(*) FROM countersign.task t WHERE t.request_id = r.id"+
			" AND t.consumer = ANY($%d) AND t.state = %d) > 0", len(args), stateParked))
	}
	limit := f.Limit
	if limit <= 0 || limit > maxList {
		limit = maxList
	}
	args = append(args, limit)
	query := "SELECT r.id FROM countersign.request r"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return query + " ORDER BY r.id DESC LIMIT $" + strconv.Itoa(len(args)), args
}

// views reads requests with everything that is shown of them, in the given
// order.
func (q *Queue) views(ctx context.Context, list []uuid.UUID) ([]View, error) {
	if len(list) == 0 {
		return nil, nil
	}
	found := map[uuid.UUID]*View{}
	for _, load := range []struct {
		statement *database.Statement
		args      []any
		scan      func(*sql.Rows, map[uuid.UUID]*View) error
	}{
		{q.sql.viewRequests, []any{uuidArray(list)}, scanView},
		{q.sql.viewReplies, []any{uuidArray(list), viewReplies}, scanReply},
		{q.sql.viewTasks, []any{uuidArray(list)}, scanTask},
	} {
		scan := func(rows *sql.Rows) error { return load.scan(rows, found) }
		if err := q.each(ctx, load.statement, load.args, scan); err != nil {
			return nil, err
		}
	}
	out := make([]View, 0, len(list))
	for _, id := range list {
		if v := found[id]; v != nil {
			out = append(out, *v)
		}
	}
	return out, nil
}

func (q *Queue) each(ctx context.Context, s *database.Statement, args []any, scan func(*sql.Rows) error) error {
	stmt, err := s.On(ctx, q.db, nil)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanView(rows *sql.Rows, into map[uuid.UUID]*View) error {
	v := &View{}
	var hash, fingerprint []byte
	var status sql.NullString
	var body []byte
	var created time.Time
	if err := rows.Scan(&v.ID, &v.Body, &hash, &fingerprint, &v.Owner, &v.Kind, &v.Wallet, instant{&v.Expires},
		instant{&v.Submitted}, &status, &body, instant{&created}); err != nil {
		return err
	}
	v.Hash, v.Fingerprint = toHash(hash), toHash(fingerprint)
	if status.Valid {
		v.Result = &Result{Request: v.ID, Status: status.String, Body: body, Created: created}
	}
	into[v.ID] = v
	return nil
}

func scanReply(rows *sql.Rows, into map[uuid.UUID]*View) error {
	var id uuid.UUID
	var r Reply
	var epochs pq.ByteaArray
	if err := rows.Scan(&id, &r.Sender, &r.Body, &epochs, &r.Decisive, instant{&r.Created}); err != nil {
		return err
	}
	r.Epochs = toEpochs(epochs)
	if v := into[id]; v != nil {
		v.Replies = append(v.Replies, r)
	}
	return nil
}

// states are the names of a task's states as people see them.
var states = map[int]string{stateReady: "ready", stateParked: "parked", stateDead: "dead"}

func scanTask(rows *sql.Rows, into map[uuid.UUID]*View) error {
	var id uuid.UUID
	var t TaskView
	var state int
	if err := rows.Scan(&id, &t.Consumer, &state, &t.Note); err != nil {
		return err
	}
	t.State = states[state]
	if v := into[id]; v != nil {
		v.Tasks = append(v.Tasks, t)
	}
	return nil
}
