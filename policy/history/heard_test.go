package history_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/history"
)

// heard stores a request with a task of the role, and returns it as it is heard of.
func (f *fixture) heard() history.Request {
	f.t.Helper()
	r := history.Request{ID: uuid.NewString(), Hash: message.Sum([]byte("envelope"))}
	f.attack("INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)"+
		" VALUES ($1, 'envelope', $2, '', '', '', '', now() + interval '1 hour')", r.ID, r.Hash[:])
	f.attack("INSERT INTO countersign.task (consumer, request_id) VALUES ($1, $2)", role, r.ID)
	return r
}

// TestAttackRecordOfARepeatedOffer: nothing is recorded of a request that was
// only heard of, unless it is stored as it was heard and the role has not
// answered it.
func TestAttackRecordOfARepeatedOffer(t *testing.T) {
	for name, test := range map[string]struct {
		state string // what has become of the request
		hash  message.Hash
		want  error
	}{
		"open":              {state: "SELECT $1::uuid"},
		"parked":            {state: "UPDATE countersign.task SET state = 1 WHERE request_id = $1"},
		"fail/answered":     {state: "DELETE FROM countersign.task WHERE request_id = $1", want: history.ErrConflict},
		"fail/put-aside":    {state: "UPDATE countersign.task SET state = 2 WHERE request_id = $1", want: history.ErrConflict},
		"fail/of-another":   {state: "UPDATE countersign.task SET consumer = 'approval' WHERE request_id = $1", want: history.ErrConflict},
		"fail/not-stored":   {state: "DELETE FROM countersign.request WHERE id = $1", want: history.ErrConflict},
		"fail/stored-other": {state: "SELECT $1::uuid", hash: message.Hash{1}, want: history.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			c := f.initialised()
			open, repeated := f.heard(), f.heard()
			f.attack(test.state, repeated.ID)
			if test.hash != (message.Hash{}) {
				repeated.Hash = test.hash
			}
			if err := c.AppendFor(t.Context(), []history.Request{open, repeated}, []byte("a")); !errors.Is(err, test.want) {
				t.Errorf("appending: %v, want %v", err, test.want)
			}
			must(t, c.AppendFor(t.Context(), []history.Request{open}, []byte("b")))
		})
	}
}

// TestPlanOfAppendFor: whatever the statistics say, each request and task is
// looked up by its id.
func TestPlanOfAppendFor(t *testing.T) {
	f := setUp(t)
	for _, prepare := range []string{"SELECT 1", "ANALYZE"} {
		f.attack(prepare)
		plan := f.plan(history.AppendForText, 8)
		for _, bad := range []string{"Seq Scan", "Hash", "Merge", "task_open"} {
			if strings.Contains(plan, bad) {
				t.Errorf("the plan has a %s:\n%s", bad, plan)
			}
		}
		for _, want := range []string{"(request_id = o.id)", "(consumer = $1)", "(id = o.id)"} {
			if !strings.Contains(plan, want) {
				t.Errorf("nothing is looked up by %s:\n%s", want, plan)
			}
		}
	}
}

// plan returns how a statement with so many parameters is executed.
func (f *fixture) plan(text string, parameters int) string {
	f.t.Helper()
	conn, err := f.Owner.Conn(f.t.Context())
	must(f.t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.ExecContext(f.t.Context(), "PREPARE planned AS "+text)
	must(f.t, err)
	rows, err := conn.QueryContext(f.t.Context(), fmt.Sprintf("EXPLAIN EXECUTE planned(%s NULL)", strings.Repeat("NULL, ", parameters-1)))
	must(f.t, err)
	var plan strings.Builder
	for rows.Next() {
		var line string
		must(f.t, rows.Scan(&line))
		fmt.Fprintln(&plan, line)
	}
	must(f.t, rows.Err())
	_, err = conn.ExecContext(f.t.Context(), "DEALLOCATE planned")
	must(f.t, err)
	return plan.String()
}
