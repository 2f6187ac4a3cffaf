// Package past fills a deployment's database with requests that were finished
// long ago, so that a benchmark can tell what they cost.
//
// The rows are copies of those that really finished requests of the same
// deployment have left, in every table that names a request, column by column:
// the same sizes, other ids and times. So nothing in them verifies, and nothing
// has to: no service reads a finished request again unless somebody asks for
// it. What a service does read again, the chain of a policy role, is written
// as the role writes it (Records).
package past

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Plan says which requests are to have been finished.
type Plan struct {
	Count int
	// The requests are spread evenly over Span, which ends at Until.
	Span  time.Duration
	Until time.Time
}

// at is when the n-th request was submitted.
func (p Plan) at(n int) time.Time {
	return p.Until.Add(-p.Span + time.Duration(float64(p.Span)*float64(n)/float64(p.Count)))
}

const (
	// chunk is how many requests are written between two vacuums of a table.
	chunk = 5_000
	// writers is how many tables are written at the same time.
	writers = 2
	// rowsPerRequest is more rows than a request leaves in any table.
	rowsPerRequest = 16
)

// ErrNoTemplates says that no request has been signed yet that could be copied.
var ErrNoTemplates = errors.New("no finished request to copy")

// Reserve keeps the lower row numbers of a new database free for the past, as
// if it had come first. It is called before the first request that Fill copies.
func Reserve(ctx context.Context, db *sql.DB, count int) error {
	tables, err := findTables(ctx, db)
	if err != nil {
		return err
	}
	for _, t := range tables {
		for _, column := range t.identities() {
			_, err := db.ExecContext(ctx, `SELECT setval(pg_get_serial_sequence($1, $2), $3)`,
				t.qualified(), column, int64(count)*rowsPerRequest)
			if err != nil {
				return fmt.Errorf("reserving row numbers of %s: %w", t.name, err)
			}
		}
	}
	return nil
}

// Fill writes the requests of the plan, vacuums and analyzes as autovacuum
// does, and ends with a checkpoint.
func Fill(ctx context.Context, db *sql.DB, p Plan) error {
	tables, err := findTables(ctx, db)
	if err != nil {
		return err
	}
	if err := prepare(ctx, db, p, tables); err != nil {
		return err
	}
	// Requests come last: one without a result is one that the signing service
	// would end, and whose result it would write.
	isRequest := func(t table) bool { return t.name == "request" }
	for _, some := range [][]table{slices.DeleteFunc(slices.Clone(tables), isRequest), tables[slices.IndexFunc(tables, isRequest):][:1]} {
		work, inner := errgroup.WithContext(ctx)
		work.SetLimit(writers)
		for _, t := range some {
			work.Go(func() error { return t.write(inner, db, p.Count) })
		}
		if err := work.Wait(); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if err := t.tidy(ctx, db); err != nil {
			return err
		}
	}
	for _, query := range []string{`DROP SCHEMA bench CASCADE`, `CHECKPOINT`} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return fmt.Errorf("finishing the past: %w", err)
		}
	}
	return nil
}

// makePast numbers the signed requests that there are.
const makePast = `
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.template AS
	SELECT row_number() OVER (ORDER BY r.id) - 1 AS number, r.id, r.submitted_at
	FROM countersign.request r JOIN countersign.result x ON x.request_id = r.id
	WHERE x.status = 'signed';
CREATE UNLOGGED TABLE bench.past (number integer, id uuid, template uuid, shift interval);
CREATE FUNCTION bench.uuid_v7(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
	SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
		PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$`

// fillPast gives each request of the past ($1 of them) one of the signed ones
// ($4) to be a copy of, an id (UUIDv7) and a time: from $2 on, $3 seconds apart.
const fillPast = `
INSERT INTO bench.past
SELECT n.number, bench.uuid_v7(n.at), t.id, n.at - t.submitted_at
FROM (SELECT number, $2::timestamptz + number * $3::double precision * interval '1 second' AS at
      FROM generate_series(0, $1::integer - 1) AS number) n
JOIN bench.template t ON t.number = n.number % $4::integer
ORDER BY n.number`

// prepare makes the schema bench: the past, and the rows to copy.
func prepare(ctx context.Context, db *sql.DB, p Plan, tables []table) error {
	if _, err := db.ExecContext(ctx, makePast); err != nil {
		return fmt.Errorf("preparing the past: %w", err)
	}
	var templates int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM bench.template`).Scan(&templates); err != nil {
		return fmt.Errorf("preparing the past: %w", err)
	}
	if templates == 0 {
		return ErrNoTemplates
	}
	if _, err := db.ExecContext(ctx, fillPast, p.Count, p.at(0), p.at(1).Sub(p.at(0)).Seconds(), templates); err != nil {
		return fmt.Errorf("preparing the past: %w", err)
	}
	if _, err := db.ExecContext(ctx, `CREATE UNIQUE INDEX ON bench.past (number); ANALYZE bench.past`); err != nil {
		return fmt.Errorf("preparing the past: %w", err)
	}
	for _, t := range tables {
		if _, err := db.ExecContext(ctx, t.copyTemplates()); err != nil {
			return fmt.Errorf("copying rows of %s: %w", t.name, err)
		}
	}
	return nil
}

// Size is about how many bytes the requests of a plan take on disk, judged by
// those that there are.
func Size(ctx context.Context, db *sql.DB, p Plan) (int64, error) {
	tables, err := findTables(ctx, db)
	if err != nil {
		return 0, err
	}
	var bytes, requests int64
	for _, t := range tables {
		var n int64
		if err := db.QueryRowContext(ctx, `SELECT pg_total_relation_size($1::regclass)`, t.qualified()).Scan(&n); err != nil {
			return 0, fmt.Errorf("size of %s: %w", t.name, err)
		}
		bytes += n
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM countersign.result`).Scan(&requests); err != nil {
		return 0, fmt.Errorf("counting requests: %w", err)
	}
	if requests == 0 {
		return 0, ErrNoTemplates
	}
	return bytes * int64(p.Count) / requests, nil
}
