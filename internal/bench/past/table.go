package past

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/lib/pq"
)

// table is one that holds rows of requests.
type table struct {
	name    string
	key     string // the column that holds the request's id
	columns []column
}

type column struct {
	name     string
	identity bool // numbered by the database
	moment   bool // a time
}

// findTables returns every table that names requests, so that none is left out
// that is added one day.
func findTables(ctx context.Context, db *sql.DB) ([]table, error) {
	rows, err := db.QueryContext(ctx, `
		SELECT c.relname, a.attname, a.attidentity <> '', a.atttypid = 'timestamptz'::regtype,
		       a.atttypid = 'uuid'::regtype AND (a.attname = 'request_id' OR c.relname = 'request' AND a.attname = 'id')
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'countersign'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY c.relname, a.attnum`)
	if err != nil {
		return nil, fmt.Errorf("finding the tables of requests: %w", err)
	}
	defer rows.Close()
	var all []table
	for rows.Next() {
		var name string
		var c column
		var key bool
		if err := rows.Scan(&name, &c.name, &c.identity, &c.moment, &key); err != nil {
			return nil, fmt.Errorf("finding the tables of requests: %w", err)
		}
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, table{name: name})
		}
		t := &all[len(all)-1]
		t.columns = append(t.columns, c)
		if key {
			t.key = c.name
		}
	}
	var out []table
	for _, t := range all {
		if t.key != "" {
			out = append(out, t)
		}
	}
	return out, rows.Err()
}

func (t table) qualified() string { return "countersign." + pq.QuoteIdentifier(t.name) }
func (t table) templates() string { return "bench." + pq.QuoteIdentifier("template_"+t.name) }
func (t table) numbers() string   { return "bench." + pq.QuoteIdentifier("number_"+t.name) }

func (t table) identities() (out []string) {
	for _, c := range t.columns {
		if c.identity {
			out = append(out, c.name)
		}
	}
	return out
}

// copyTemplates puts the rows to copy aside, so that what is written is not
// read again to write more.
func (t table) copyTemplates() string {
	key := pq.QuoteIdentifier(t.key)
	return fmt.Sprintf(`
		CREATE SEQUENCE %[1]s CACHE 1000;
		CREATE UNLOGGED TABLE %[2]s AS SELECT * FROM %[3]s WHERE %[4]s IN (SELECT id FROM bench.template) ORDER BY %[4]s;
		CREATE INDEX ON %[2]s (%[4]s);
		ANALYZE %[2]s`, t.numbers(), t.templates(), t.qualified(), key)
}

// insert writes the rows of the requests from number $1 to below $2, in the
// order of their ids, as they would have come.
func (t table) insert() string {
	var names, values []string
	for _, c := range t.columns {
		name := pq.QuoteIdentifier(c.name)
		value := "t." + name
		switch {
		case c.name == t.key:
			value = "p.id"
		case c.identity:
			value = "nextval('" + t.numbers() + "')"
		case c.moment:
			value += " + p.shift"
		}
		names, values = append(names, name), append(values, value)
	}
	return fmt.Sprintf(`
		INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s
		FROM (SELECT * FROM bench.past WHERE number >= $1 AND number < $2 ORDER BY number) p
		JOIN %s t ON t.%s = p.template`,
		t.qualified(), strings.Join(names, ", "), strings.Join(values, ", "), t.templates(), pq.QuoteIdentifier(t.key))
}

// session is what a writer sets: row by row in the order of numbers instead of
// by a hash; and commits that wait for the log, because a vacuum passes over
// rows of others.
const session = `
	SET synchronous_commit = on;
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	SET enable_material = off;
	SET enable_memoize = off;
	SET max_parallel_workers_per_gather = 0`

// write writes a table's rows. It vacuums after each chunk, as autovacuum does
// while a table grows: at the end most pages would have to be written again.
func (t table) write(ctx context.Context, db *sql.DB, count int) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("filling %s: %w", t.name, err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, session); err != nil {
		return fmt.Errorf("filling %s: %w", t.name, err)
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), `RESET ALL`) }()
	for from := 0; from < count; from += chunk {
		if _, err := conn.ExecContext(ctx, t.insert(), from, min(from+chunk, count)); err != nil {
			return fmt.Errorf("filling %s: %w", t.name, err)
		}
		if _, err := conn.ExecContext(ctx, `VACUUM `+t.qualified()); err != nil {
			return fmt.Errorf("vacuuming %s: %w", t.name, err)
		}
	}
	return nil
}

// tidy vacuums what was left because another table was being written, and
// analyzes.
func (t table) tidy(ctx context.Context, db *sql.DB) error {
	for _, command := range []string{`VACUUM `, `ANALYZE `} {
		if _, err := db.ExecContext(ctx, command+t.qualified()); err != nil {
			return fmt.Errorf("vacuuming %s: %w", t.name, err)
		}
	}
	return nil
}
