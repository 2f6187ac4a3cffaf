package auditpg_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/audit/auditpg"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/queue"
)

// TestEntriesAreWrittenWithTheirSteps: an intent and a result, in a transaction
// that is rolled back and in one that is not; of two results only the first one
// is an end.
func TestEntriesAreWrittenWithTheirSteps(t *testing.T) {
	d := databasetest.New(t)
	db := d.As("signing")
	q, log := queue.New(db, d.Config("signing"), nil), auditpg.New(db)
	request := uuid.Must(uuid.NewV7())
	undone := errors.New("undone")
	for _, end := range []error{undone, nil} {
		inTransaction(t, db, func(tx *sql.Tx) error {
			intent := queue.Intent{Request: request, Instance: "i", Body: []byte("intent")}
			if err := q.RecordIntents(t.Context(), tx, []queue.Intent{intent}); err != nil {
				t.Fatal(err)
			}
			return end
		})
	}
	for _, body := range []string{"first", "second"} {
		if _, err := q.Finish(t.Context(), nil, []queue.Result{{Request: request, Status: "signed", Body: []byte(body)}}); err != nil {
			t.Fatal(err)
		}
	}
	want := []audit.Entry{
		{Kind: audit.KindIntent, Request: request, Body: []byte("intent")},
		{Kind: audit.KindResult, Request: request, Body: []byte("first")},
	}
	if got, err := log.Of(t.Context(), request); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("entries %v, %v, want %v", got, err, want)
	}
}

func inTransaction(t *testing.T, db *sql.DB, do func(*sql.Tx) error) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if do(tx) == nil {
		err = tx.Commit()
	} else {
		err = tx.Rollback()
	}
	if err != nil {
		t.Fatal(err)
	}
}
