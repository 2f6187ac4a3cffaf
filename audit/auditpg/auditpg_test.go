package auditpg_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/audit/auditpg"
	"github.com/countersign/countersign/internal/database/databasetest"
)

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func TestAppendIsPartOfTheTransaction(t *testing.T) {
	db := databasetest.New(t).As("signing")
	log := auditpg.New(db)
	request := uuid.Must(uuid.NewV7())
	entries := []audit.Entry{
		{Kind: audit.KindIntent, Request: request, Body: []byte("1")},
		{Kind: audit.KindResult, Request: request, Body: []byte("2")},
		{Kind: audit.KindResult, Body: []byte("of no request")},
	}
	undone := begin(t, db)
	if err := log.Append(t.Context(), undone, entries); err != nil {
		t.Fatal(err)
	}
	if err := undone.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got, err := log.Of(t.Context(), request); err != nil || len(got) != 0 {
		t.Fatalf("a transaction that was rolled back left %v, %v", got, err)
	}
	tx := begin(t, db)
	if err := log.Append(t.Context(), tx, entries); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err := log.Of(t.Context(), request)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(entries[:2]) {
		t.Errorf("entries %v, %v", got, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	db := databasetest.New(t).As("signing")
	log := auditpg.New(db)
	if err := log.Append(t.Context(), nil, []audit.Entry{{Kind: "x"}}); err == nil {
		t.Error("fail/no-transaction: no error")
	}
	if err := log.Append(t.Context(), begin(t, db), []audit.Entry{{}}); err == nil {
		t.Error("fail/no-kind: no error")
	}
}
