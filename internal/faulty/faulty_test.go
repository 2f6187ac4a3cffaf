package faulty_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"testing"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/faulty"
)

// TestFault: before, the server has not done the statement; after, it has, and
// the client does not know. Either way the client gets an error, and the next
// connection works.
func TestFault(t *testing.T) {
	for name, after := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			d := databasetest.New(t)
			config := d.Config("signing")
			p, err := faulty.New(config.Addr, config.RootCAs)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(p.CA)
			config.Addr, config.RootCAs, config.ServerName = p.Addr, roots, faulty.ServerName
			db, err := database.Open(config)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Ping(); err != nil {
				t.Fatal(err)
			}
			// A pool would send a statement again whose connection broke.
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			called := 0
			happened := p.Arm(faulty.Fault{At: 2, After: after, Do: func() { called++ }})
			if err := insert(conn, 1); err != nil {
				t.Fatalf("the first statement: %v", err)
			}
			if err := insert(conn, 2); err == nil {
				t.Error("the second statement gave no error")
			}
			<-happened
			_ = conn.Close()
			if conn, err = db.Conn(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := insert(conn, 3); err != nil {
				t.Errorf("the third statement: %v", err)
			}
			want := 2
			if after {
				want = 3
			}
			var n int
			if err := d.Owner.QueryRow("SELECT count(*) FROM countersign.audit_entry").Scan(&n); err != nil || n != want || called != 1 {
				t.Errorf("%d rows, %v, want %d; called %d times", n, err, want, called)
			}
		})
	}
}

func insert(conn *sql.Conn, i int) error {
	_, err := conn.ExecContext(context.Background(), "INSERT INTO countersign.audit_entry (kind, body) VALUES ('test', $1)", []byte{byte(i)})
	return err
}
