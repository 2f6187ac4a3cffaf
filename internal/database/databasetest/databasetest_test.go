package databasetest_test

import (
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
)

func TestEveryServiceLogsIn(t *testing.T) {
	d := databasetest.New(t)
	for _, service := range secrets.Services(d.Deployment.Genesis.Roles) {
		var user string
		if err := d.As(service).QueryRow("SELECT current_user").Scan(&user); err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		if want := "countersign_" + service; user != want {
			t.Errorf("logged in as %s, want %s", user, want)
		}
	}
}

func TestDatabasesAreApart(t *testing.T) {
	a, b := databasetest.New(t), databasetest.New(t)
	if _, err := a.Owner.Exec("INSERT INTO countersign.result (request_id, status, body) VALUES (gen_random_uuid(), 'done', '')"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.Owner.QueryRow("SELECT count(*) FROM countersign.result").Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d rows in the other database, %v", n, err)
	}
}
