package database_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
)

// pipe is a transaction on a connection of its own, whose BEGIN is held back
// like those of a busy service.
type pipe struct {
	t    *testing.T
	db   *sql.DB
	conn *sql.Conn
	tx   *sql.Tx
}

var (
	deferredInsert = database.NewDeferred("INSERT INTO countersign.audit_entry (kind, body) VALUES ($1, 'x')")
	awaitedInsert  = database.NewStatement("INSERT INTO countersign.audit_entry (kind, body) VALUES ($1, 'x')")
	deferredFault  = database.NewDeferred("SELECT 1 / count(*) FILTER (WHERE kind = $1 || '?') FROM countersign.audit_entry")
)

func newPipe(t *testing.T, d *databasetest.DB) *pipe {
	t.Helper()
	p := &pipe{t: t, db: d.Open("signing")}
	p.db.SetMaxOpenConns(1)
	for _, s := range []*database.Statement{deferredInsert, awaitedInsert, deferredFault} {
		stmt, err := p.db.PrepareContext(t.Context(), s.Text())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stmt.Close() })
	}
	return p
}

// run prepares inside the transaction and executes.
func (p *pipe) run(tx *sql.Tx, s *database.Statement, kind string) error {
	stmt, err := tx.PrepareContext(p.t.Context(), s.Text())
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(p.t.Context(), kind)
	return err
}

func (p *pipe) count(kind string) (n int) {
	p.t.Helper()
	err := p.db.QueryRowContext(context.Background(), "SELECT count(*) FROM countersign.audit_entry WHERE kind = $1", kind).Scan(&n)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestDeferredStatements(t *testing.T) {
	d := databasetest.New(t)
	for _, c := range []struct {
		name  string
		steps []*database.Statement
		end   func(*sql.Tx) error
		fault string // SQLSTATE
		rows  int
	}{
		{"nothing", nil, (*sql.Tx).Commit, "", 0},
		{"nothing-rolled-back", nil, (*sql.Tx).Rollback, "", 0},
		{"deferred", []*database.Statement{deferredInsert, deferredInsert}, (*sql.Tx).Commit, "", 2},
		{"deferred-then-awaited", []*database.Statement{deferredInsert, awaitedInsert, deferredInsert}, (*sql.Tx).Commit, "", 3},
		{"rolled-back", []*database.Statement{awaitedInsert, deferredInsert}, (*sql.Tx).Rollback, "", 0},
		{"only-deferred-rolled-back", []*database.Statement{deferredInsert}, (*sql.Tx).Rollback, "", 0},
		{"fail/at-commit", []*database.Statement{awaitedInsert, deferredFault}, (*sql.Tx).Commit, "22012", 0},
		{"fail/the-first-of-two", []*database.Statement{deferredFault, deferredInsert}, (*sql.Tx).Commit, "22012", 0},
		{"fail/at-the-next-statement", []*database.Statement{deferredFault, awaitedInsert}, (*sql.Tx).Commit, "22012", 0},
		{"fail/rolled-back", []*database.Statement{awaitedInsert, deferredFault}, (*sql.Tx).Rollback, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPipe(t, d)
			kind := strings.ReplaceAll(c.name, "/", "-")
			_ = p.count(kind) // the connection is fresh
			tx, err := p.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.steps {
				if err == nil {
					err = p.run(tx, s, kind)
				}
			}
			if err != nil {
				_ = tx.Rollback()
			} else {
				err = c.end(tx)
			}
			var pqErr *pq.Error
			if errors.As(err, &pqErr) != (c.fault != "") || pqErr != nil && string(pqErr.Code) != c.fault || c.fault == "" && err != nil {
				t.Errorf("%v, want %q", err, c.fault)
			}
			if n := p.count(kind); n != c.rows {
				t.Errorf("%d rows, want %d", n, c.rows)
			}
		})
	}
}

// What is deferred outside of a transaction is done when it returns.
func TestDeferredOutsideOfATransaction(t *testing.T) {
	d := databasetest.New(t)
	p := newPipe(t, d)
	stmt, err := deferredFault.On(t.Context(), p.db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stmt.ExecContext(t.Context(), "none"); err == nil {
		t.Error("an error is not told")
	}
	if stmt, err = deferredInsert.On(t.Context(), p.db, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := stmt.ExecContext(t.Context(), "outside"); err != nil || p.count("outside") != 1 {
		t.Errorf("%v", err)
	}
}

// A commit that cannot be carried out is never reported as one.
func TestAttackConnectionCutBeforeCommit(t *testing.T) {
	d := databasetest.New(t)
	p := newPipe(t, d)
	_ = p.count("cut")
	tx, err := p.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.run(tx, deferredInsert, "cut"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Owner.Exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'countersign_signing'")
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err == nil {
		t.Error("a lost transaction was reported as committed")
	}
	if n := p.count("cut"); n != 0 {
		t.Errorf("%d rows", n)
	}
}
