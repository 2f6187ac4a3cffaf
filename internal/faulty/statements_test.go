package faulty_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/faulty"
	"github.com/countersign/countersign/internal/message"
)

// fault is one way to break one statement.
type fault struct {
	name  string
	after bool
	kill  bool
}

var (
	cuts  = []fault{{"cut before", false, false}, {"cut after", true, false}}
	kills = []fault{{"killed before", false, true}, {"killed after", true, true}}
)

// mostStatements ends a series for services that are busy by themselves.
func mostStatements() int {
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		return 20
	}
	return 8
}

// mostMisses ends a series: so many requests in a row ended without coming to
// the statement that was to break. One proves little: how many statements a
// request takes depends on what is batched with it.
const mostMisses = 3

// TestFaultAtEveryStatement: whichever statement of a service breaks, each
// request ends as it would have, once. The short run cuts connections of each
// service while a transfer and a message are signed; the long one
// (COUNTERSIGN_LONG) also kills the services, for each kind of request and each
// end, in three deployments for each service.
func TestFaultAtEveryStatement(t *testing.T) {
	chosen, groups := outcomes[:2], map[string][]fault{"cut": cuts}
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		chosen, groups = outcomes, map[string][]fault{"cut": cuts, kills[0].name: kills[:1], kills[1].name: kills[1:]}
	}
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			// Not parallel tests, whose number is limited: most of the time a
			// killed service's lease is waited for.
			var running sync.WaitGroup
			for name, faults := range groups {
				running.Go(func() {
					t.Run(name, func(t *testing.T) { breakAll(t, service, chosen, faults) })
				})
			}
			running.Wait()
		})
	}
}

func breakAll(t *testing.T, service string, chosen []outcome, faults []fault) {
	w := newWorld(t, service)
	for _, o := range chosen {
		for _, f := range faults {
			w.everyStatement(o, f)
		}
	}
	w.checkNothingLost()
}

// everyStatement breaks the first statement, the second and so on, each while
// another request is under way, until requests end without coming to the
// statement that is to break.
func (w *world) everyStatement(o outcome, f fault) {
	w.Helper()
	if w.Failed() {
		return
	}
	w.useNewWallet()
	var slowest time.Duration
	n, misses, most := 1, 0, mostStatements()
	for n <= most && misses < mostMisses && !w.Failed() {
		a := o.begin(w)
		todo := faulty.Fault{At: n, After: f.after}
		if f.kill {
			todo.Do = w.kill
		}
		happened := w.proxy.Arm(todo)
		r, took := w.end(o, a)
		slowest = max(slowest, took)
		if w.soon(happened) {
			n, misses = n+1, 0
		} else {
			misses++
		}
		w.proxy.Disarm()
		w.check(o, a, r)
		w.checkRoom(o)
	}
	if n == 1 && !w.Failed() {
		w.Errorf("%s, %s, %s: no statement was broken", w.service, o.name, f.name)
	}
	w.Logf("%s, %s, %s: statements 1 to %d, the slowest request took %v", w.service, o.name, f.name, n-1, slowest.Round(time.Millisecond))
	page.statements.add(w.service, o.name, f.name, n-1, seconds(slowest))
}

// soon waits for a fault of a service that is still at work when the request
// has ended without it.
func (w *world) soon(happened <-chan struct{}) bool {
	select {
	case <-happened:
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// lostWithin is how long what is left over may lie about: roles take away the
// tasks of requests that ended without them when they start, and once a minute.
// The short run waits for a moment, and then starts them again.
const (
	lostWithin = 90 * time.Second
	moment     = 3 * time.Second
)

// checkNothingLost: every request has one result, which is signed once, and no
// task is left, open or dead. It returns how many requests have none or two.
func (w *world) checkNothingLost() (wrong int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), lostWithin)
	defer cancel()
	for _, check := range []struct {
		what, query string
		lost        bool
	}{
		{"requests without a result", `SELECT count(*) FROM countersign.request r WHERE NOT EXISTS
			(SELECT FROM countersign.result x WHERE x.request_id = r.id)`, true},
		{"requests with two signed results", `SELECT count(*) FROM (SELECT request_id FROM countersign.audit_entry
			WHERE kind = 'result' GROUP BY request_id HAVING count(*) > 1) twice`, true},
		{"results that are not the logged ones", `SELECT count(*) FROM countersign.result x WHERE NOT EXISTS
			(SELECT FROM countersign.audit_entry e WHERE e.request_id = x.request_id AND e.kind = 'result' AND e.body = x.body)`, true},
		{"results of requests that nobody sent", `SELECT count(*) FROM countersign.result x WHERE NOT EXISTS
			(SELECT FROM countersign.request r WHERE r.id = x.request_id)`, false},
		{tasksLeft, countTasks, false},
	} {
		if check.what == tasksLeft && os.Getenv("COUNTERSIGN_LONG") == "" {
			w.sweepNow(ctx)
		}
		n := w.awaitNone(ctx, check.query)
		if n != 0 {
			w.Errorf("%d %s", n, check.what)
			w.logTasks()
		}
		if check.lost {
			wrong += n
		}
	}
	return wrong
}

const tasksLeft, countTasks = "tasks left", "SELECT count(*) FROM countersign.task"

// sweepNow starts policy services again that have tasks left.
func (w *world) sweepNow(ctx context.Context) {
	w.Helper()
	soon, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	if w.awaitNone(soon, countTasks) == 0 {
		return
	}
	for _, role := range message.PolicyRoles() {
		var left bool
		if err := w.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM countersign.task WHERE consumer = $1)", role).Scan(&left); err != nil {
			w.Error(err)
		}
		if left {
			w.restart(role)
		}
	}
}

// awaitNone waits until a count is zero and returns what it is then, or when the
// time is over.
func (w *world) awaitNone(ctx context.Context, query string) int {
	w.Helper()
	for n := 0; ; {
		err := w.db.QueryRowContext(ctx, query).Scan(&n)
		if err == nil && n == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			if err = w.db.QueryRow(query).Scan(&n); err != nil {
				w.Error(err)
			}
			return n
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// logTasks says whose tasks are left, and what became of their requests.
func (w *world) logTasks() {
	w.Helper()
	rows, err := w.db.Query(`SELECT concat_ws(' ', t.consumer, r.kind, coalesce(x.status, 'open'), 'state', t.state, 'attempts', t.attempts,
			'leased until', t.leased_until, 'available at', t.available_at, t.note)
		FROM countersign.task t LEFT JOIN countersign.request r ON r.id = t.request_id LEFT JOIN countersign.result x ON x.request_id = t.request_id
		LIMIT 10`)
	if err != nil {
		w.Error(err)
		return
	}
	defer rows.Close()
	for line := ""; rows.Next(); {
		if err := rows.Scan(&line); err != nil {
			w.Error(err)
		}
		w.Log(line)
	}
	if err := rows.Err(); err != nil {
		w.Error(err)
	}
}
