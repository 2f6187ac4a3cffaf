package queue_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/queue"
)

var parameter = regexp.MustCompile(`\$([0-9]+)`)

// Whatever the statistics say, no statement of the queue walks a whole table
// or the tasks of other requests: see queries/README.md.
func TestPlans(t *testing.T) {
	d := databasetest.New(t)
	conn, err := d.Owner.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files, err := filepath.Glob("queries/*.sql")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d statements, %v", len(files), err)
	}
	for _, state := range []struct{ name, prepare string }{
		{"never-analyzed", "SELECT 1"},
		{"analyzed-when-almost-empty", `
			INSERT INTO countersign.task (consumer, request_id) SELECT c, gen_random_uuid() FROM unnest('{signing,fraud}'::text[]) c;
			INSERT INTO countersign.result (request_id, status, body) VALUES (gen_random_uuid(), 'x', '');
			INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES (gen_random_uuid(), 'x', '', '', '{}', false);
			ANALYZE`},
	} {
		if _, err := conn.ExecContext(t.Context(), state.prepare); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			t.Run(state.name+"/"+strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
				checkPlan(t, explain(t, conn, file, read(t, file)))
			})
		}
		for _, name := range []string{"settle", "settle_silently", "keep", "settle_mixed"} {
			for i, text := range queue.SettlingForms(name) {
				t.Run(fmt.Sprintf("%s/%s/grounds-%d", state.name, name, i), func(t *testing.T) {
					checkPlan(t, explain(t, conn, name, text))
				})
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func explain(t *testing.T, conn *sql.Conn, file, text string) string {
	t.Helper()
	highest := 0
	for _, m := range parameter.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		highest = max(highest, n)
	}
	args := ""
	if highest > 0 {
		args = "(" + strings.TrimSuffix(strings.Repeat("NULL,", highest), ",") + ")"
	}
	exec := func(statement string) {
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	exec("PREPARE planned AS " + text)
	defer exec("DEALLOCATE planned")
	rows, err := conn.QueryContext(t.Context(), "EXPLAIN EXECUTE planned"+args)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, line)
	}
	return plan.String()
}

// scan finds each scan with the line of its condition.
var scan = regexp.MustCompile(`(?m)(Index Scan|Index Only Scan|Bitmap Index Scan)[^\n]* (?:using|on) (\w+)[^\n]*\n\s*(\S[^\n]*)`)

func checkPlan(t *testing.T, plan string) {
	t.Helper()
	// Notices are a few dozen rows, and expired ones are deleted once a minute.
	plan = strings.ReplaceAll(plan, "Seq Scan on notice", "scan on notice")
	for _, bad := range []string{"Seq Scan", "Hash Join", "Merge Join", "Hash Anti Join", "Hash Semi Join"} {
		if strings.Contains(plan, bad) {
			t.Errorf("the plan has a %s:\n%s", bad, plan)
		}
	}
	for _, m := range scan.FindAllStringSubmatch(plan, -1) {
		index, condition := m[2], m[3]
		if index == "task_pkey" && !strings.Contains(condition, "request_id") {
			t.Errorf("tasks are walked, not looked up:\n%s", plan)
		}
		if !strings.HasPrefix(condition, "Index Cond") && index != "reply_pkey" { // max(id) reads its end
			t.Errorf("%s is read as a whole:\n%s", index, plan)
		}
	}
}
