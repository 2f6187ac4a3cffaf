package database_test

import (
	"testing"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
)

// BenchmarkTransaction is a transaction of a statement that is answered and two
// more, deferred or not.
func BenchmarkTransaction(b *testing.B) {
	d := databasetest.New(b)
	db := d.As("signing")
	const text = "INSERT INTO countersign.audit_entry (kind, body) VALUES ('bench', $1)"
	for name, insert := range map[string]*database.Statement{
		"awaited": database.NewStatement(text), "deferred": database.NewDeferred(text),
	} {
		read := database.NewStatement("SELECT count(*) FROM countersign.request WHERE id = $1")
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				tx, err := db.BeginTx(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				stmt, err := read.On(b.Context(), db, tx)
				if err != nil {
					b.Fatal(err)
				}
				var n int
				if err := stmt.QueryRowContext(b.Context(), "00000000-0000-7000-8000-000000000000").Scan(&n); err != nil {
					b.Fatal(err)
				}
				for range 2 {
					stmt, err := insert.On(b.Context(), db, tx)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := stmt.ExecContext(b.Context(), make([]byte, 400)); err != nil {
						b.Fatal(err)
					}
				}
				if err := tx.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
