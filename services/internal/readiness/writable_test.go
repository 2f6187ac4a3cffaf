package readiness_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/readiness"
)

// services are all that answer /readyz, with what each may write.
var services = map[string][]string{
	"proposer":      {"INSERT ON request", "INSERT ON task"},
	"signing":       {"INSERT ON notice", "INSERT ON intent", "INSERT ON result", "INSERT ON audit_entry", "INSERT ON wallet", "INSERT ON account", "UPDATE ON task", "DELETE ON task"},
	"authorization": {"INSERT ON notice", "INSERT ON reply", "INSERT ON record", "UPDATE ON task", "DELETE ON task"},
	"fraud":         {"INSERT ON notice", "INSERT ON reply", "INSERT ON record", "UPDATE ON task", "DELETE ON task"},
	"approval":      {"INSERT ON notice", "INSERT ON reply", "INSERT ON record", "UPDATE ON task", "DELETE ON task"},
}

func exec(t *testing.T, db *databasetest.DB, statement string) {
	t.Helper()
	if _, err := db.Owner.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// rows counts all rows of all tables that services write to.
func rows(t *testing.T, db *databasetest.DB) (n int) {
	t.Helper()
	for _, table := range []string{"request", "task", "reply", "intent", "result", "notice", "wallet", "account", "record", "audit_entry"} {
		var m int
		if err := db.Owner.QueryRowContext(t.Context(), "SELECT count(*) FROM "+database.Schema+"."+table).Scan(&m); err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return n
}

// ping asks until the database has answered in time, which it need not where the
// machine is busy.
func ping(t *testing.T, w *readiness.Writable) error {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := w.PingContext(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Now().After(end) {
			return err
		}
	}
}

func TestWritable(t *testing.T) {
	db := databasetest.New(t)
	if len(services) != len(secrets.Services(db.Deployment.Genesis.Roles))-1 { // the operator serves nothing
		t.Errorf("%d services are tried", len(services))
	}
	for service := range services {
		if err := ping(t, readiness.NewWritable(db.As(service), service)); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
	if n := rows(t, db); n != 0 {
		t.Errorf("%d rows were left", n)
	}
}

// Each right that a service needs is asked for.
func TestWritableRefused(t *testing.T) {
	for service, rights := range services {
		t.Run(service, func(t *testing.T) {
			db := databasetest.New(t)
			role := database.Role(service)
			for _, right := range rights {
				var verb, table string
				if _, err := fmt.Sscanf(right, "%s ON %s", &verb, &table); err != nil {
					t.Fatal(err)
				}
				exec(t, db, fmt.Sprintf("REVOKE %s ON countersign.%s FROM %s", verb, table, role))
				if err := ping(t, readiness.NewWritable(db.As(service), service)); err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("fail/without-%s-on-%s: says %v", verb, table, err)
				}
				exec(t, db, fmt.Sprintf("GRANT %s ON countersign.%s TO %s", verb, table, role))
			}
			if err := ping(t, readiness.NewWritable(db.As(service), service)); err != nil {
				t.Errorf("with all rights: %v", err)
			}
		})
	}
}

// A database that only reads is none to work with.
func TestWritableOfAReadOnlyDatabase(t *testing.T) {
	for service := range services {
		t.Run(service, func(t *testing.T) {
			db := databasetest.New(t)
			exec(t, db, "ALTER DATABASE "+db.Name+" SET default_transaction_read_only = on")
			err := ping(t, readiness.NewWritable(db.Open(service), service))
			if err == nil || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("fail/read-only: got %v", err)
			}
		})
	}
}

// However often it is asked, the database works once a second. A sequence
// counts, for what it has counted is not rolled back.
func TestWritableOnceASecond(t *testing.T) {
	db := databasetest.New(t)
	for _, statement := range []string{
		"CREATE SEQUENCE countersign.asked",
		`CREATE FUNCTION countersign.ask() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
			'BEGIN PERFORM nextval(''countersign.asked''); RETURN NEW; END'`,
		"CREATE TRIGGER ask BEFORE INSERT ON countersign.notice FOR EACH ROW EXECUTE FUNCTION countersign.ask()",
	} {
		exec(t, db, statement)
	}
	w := readiness.NewWritable(db.As("fraud"), "fraud")
	began := time.Now()
	var answers atomic.Int64
	var enough atomic.Bool
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for ; !enough.Load(); time.Sleep(time.Millisecond) {
				if err := w.PingContext(t.Context()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("not writable: %v", err)
					return
				}
				answers.Add(1)
			}
		})
	}
	// An answer stands for a second from when it came: the next one may take its
	// time, but must come.
	for took := time.Duration(0); took < 1200*time.Millisecond || (asked(t, db) < 2 && took < 30*time.Second); took = time.Since(began) {
		time.Sleep(20 * time.Millisecond)
	}
	enough.Store(true)
	asking.Wait()
	n := asked(t, db)
	if most := int(time.Since(began)/time.Second) + 1; n < 2 || n > most {
		t.Errorf("the database was asked %d times for %d answers, want 2 to %d", n, answers.Load(), most)
	}
}

// asked reads the sequence.
func asked(t *testing.T, db *databasetest.DB) (n int) {
	t.Helper()
	if err := db.Owner.QueryRowContext(t.Context(), "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM countersign.asked").Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}
