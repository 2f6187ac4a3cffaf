package queue

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database"
)

// laterDelay is when a task about a request's end is looked at where nobody has
// heard of that end: long, because nearly every request has ended by then and
// somebody has.
const laterDelay = 30 * time.Second

// maxWaking bounds the ends that wait for a statement, since anybody can notify.
// Those beyond it are found when their tasks are due.
const maxWaking = 100_000

// maxMissed bounds what one look wakes; the others are found when they are due.
const maxMissed = 10_000

// later lists the tasks that submissions want beside everybody's.
func later(batch []Submission) (requests uuidArray, names textArray) {
	for _, s := range batch {
		for _, name := range s.Later {
			requests, names = append(requests, s.ID), append(names, name)
		}
	}
	return requests, names
}

// laterMark stands in submit.sql where such tasks are written ($13, $14), which are
// due after $15 seconds. Most deployments have none, and do without.
const (
	laterMark = "/* later */"
	laterTask = `, later AS (
    INSERT INTO countersign.task (consumer, request_id, available_at)
    SELECT l.name, taken.id, clock_timestamp() + $15 * interval '1 second'
    FROM taken, LATERAL (
        SELECT DISTINCT u.name FROM unnest($13::uuid[], $14::text[]) AS u (request_id, name) WHERE u.request_id = taken.id
    ) l
)`
)

func submitLater() *database.Statement {
	return database.NewStatement(strings.ReplaceAll(query("submit"), laterMark, laterTask))
}

// waking makes the tasks of Ended consumers ready as their requests end. Ends that
// come while a statement runs are in the next.
type waking struct {
	queue *Queue

	mu   sync.Mutex
	due  []uuid.UUID
	all  bool // ends were missed
	busy bool
}

// ended hears which requests have ended; none: some may have, which are found
// when their tasks are due.
func (w *waking) ended(list []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.due)+len(list) <= maxWaking && len(list) > 0 {
		w.due = append(w.due, list...)
		w.begin()
	}
}

// missed looks once for ends that nobody here has heard of.
func (w *waking) missed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = true
	w.begin()
}

func (w *waking) begin() {
	if w.queue.signals.enderNames() == nil {
		w.due, w.all = nil, false
	} else if !w.busy {
		w.busy = true
		go w.wakeUntilNothingIsDue()
	}
}

func (w *waking) wakeUntilNothingIsDue() {
	// Without an end of its own: the connection bounds it.
	ctx := context.Background()
	for {
		w.mu.Lock()
		list, all := w.due, w.all
		w.due, w.all = nil, false
		w.busy = len(list) > 0 || all
		w.mu.Unlock()
		var err error
		switch names := textArray(w.queue.signals.enderNames()); {
		case all: // those that were heard of are among them
			err = w.queue.wake(ctx, w.queue.sql.wakeMissed, names, maxMissed)
		case len(list) > 0:
			err = w.queue.wake(ctx, w.queue.sql.wakeEnded, names, uuidArray(list))
		default:
			return
		}
		if err != nil {
			w.queue.log.Warn("waking tasks of ended requests failed", "error", err)
		}
	}
}

func (q *Queue) wake(ctx context.Context, s *database.Statement, args ...any) error {
	return q.each(ctx, s, args, func(rows *sql.Rows) error {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		q.signals.tasks(name)
		return nil
	})
}

// enderNames are the Ended consumers of this process.
func (s *signals) enderNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.enders) == 0 {
		return nil
	}
	return slices.Collect(maps.Keys(s.enders))
}

// Ends returns requests with their results, if they have one, and without
// replies and tasks, which are what Get reads besides. It is as untrusted as
// everything on the queue.
func (q *Queue) Ends(ctx context.Context, list []uuid.UUID) (map[uuid.UUID]View, error) {
	found := map[uuid.UUID]*View{}
	err := q.each(ctx, q.sql.viewRequests, []any{uuidArray(list)}, func(rows *sql.Rows) error { return scanView(rows, found) })
	if err != nil {
		return nil, fmt.Errorf("reading the ends of %d requests: %w", len(list), err)
	}
	out := make(map[uuid.UUID]View, len(found))
	for id, v := range found {
		out[id] = *v
	}
	return out, nil
}

// Abandon puts the open tasks aside, with a note for people, of all consumers
// whose names begin with a prefix and are not in except. Those that are worked on
// are let be. It returns how many there were.
func (q *Queue) Abandon(ctx context.Context, prefix string, except []string, text string) (int64, error) {
	var total int64
	for {
		n, err := q.abandonSome(ctx, prefix, textArray(except), note(text))
		if err != nil {
			return total, fmt.Errorf("abandoning tasks of %s: %w", prefix, err)
		}
		if total += n; n < maxAbandon {
			return total, nil
		}
	}
}

// maxAbandon bounds what one statement puts aside.
const maxAbandon = 5000

func (q *Queue) abandonSome(ctx context.Context, prefix string, except textArray, text string) (int64, error) {
	stmt, err := q.sql.abandon.On(ctx, q.db, nil)
	if err != nil {
		return 0, err
	}
	done, err := stmt.ExecContext(ctx, prefix, except, text, maxAbandon)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}
