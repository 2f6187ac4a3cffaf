package database_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
)

func TestInitIsIdempotentAndTakesAFourthRole(t *testing.T) {
	d := databasetest.New(t)
	roles := d.Deployment.Genesis.Roles
	verifiers := databasetest.Verifiers(t, d.Deployment)
	if _, err := d.Owner.Exec("GRANT DELETE ON countersign.result TO countersign_fraud"); err != nil {
		t.Fatal(err)
	}
	if err := database.Init(t.Context(), d.Owner, roles, verifiers); err != nil {
		t.Fatal(err)
	}
	if _, err := d.As("fraud").Exec("DELETE FROM countersign.result"); err == nil {
		t.Error("a grant that is not in the table survived")
	}
	four := append([]string{"geofence"}, roles...)
	verifiers["geofence"] = database.Verifier(secrets.Generate())
	if err := database.Init(t.Context(), d.Owner, four, verifiers); err != nil {
		t.Fatal(err)
	}
	if !ask(t, d.Owner, "SELECT has_table_privilege('countersign_geofence', 'countersign.request', 'SELECT')") {
		t.Error("the fourth role has no grants")
	}
	if _, err := d.Owner.Exec("DROP OWNED BY countersign_geofence; DROP ROLE countersign_geofence"); err != nil {
		t.Error(err)
	}
}

func TestInitRefuses(t *testing.T) {
	d := databasetest.New(t)
	roles := d.Deployment.Genesis.Roles
	good := databasetest.Verifiers(t, d.Deployment)
	with := func(service, verifier string) map[string]string {
		out := maps.Clone(good)
		out[service] = verifier
		return out
	}
	for name, verifiers := range map[string]map[string]string{
		"missing":        with("fraud", ""),
		"clear-text":     with("fraud", "correct horse battery staple"),
		"md5":            with("fraud", "md5"+strings.Repeat("0", 32)),
		"injection":      with("fraud", good["fraud"]+"' SUPERUSER"),
		"not-a-service":  with("mallory", good["fraud"]),
		"weak-iteration": with("fraud", strings.Replace(good["fraud"], "$4096:", "$1:", 1)),
	} {
		if err := database.Init(t.Context(), d.Owner, roles, verifiers); err == nil {
			t.Errorf("fail/%s: no error", name)
		}
	}
	if err := database.Init(t.Context(), d.Owner, []string{`x"; DROP`}, nil); err == nil {
		t.Error("fail/role-name: no error")
	}
	if _, err := d.Owner.Exec("CREATE ROLE countersign_excessive LOGIN CREATEROLE"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = d.Owner.Exec("DROP ROLE countersign_excessive") })
	more := with("excessive", good["fraud"])
	if err := database.Init(t.Context(), d.Owner, append([]string{"excessive"}, roles...), more); !errors.Is(err, database.ErrRole) {
		t.Errorf("fail/excessive-role: %v", err)
	}
}

// TestInitBesideWork: a transaction that locks tables in another order than Init
// stops neither of the two.
func TestInitBesideWork(t *testing.T) {
	d := databasetest.New(t)
	work, err := d.Owner.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = work.Rollback() }()
	if _, err := work.Exec("LOCK TABLE countersign.record IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- database.Init(t.Context(), d.Owner, d.Deployment.Genesis.Roles, databasetest.Verifiers(t, d.Deployment))
	}()
	const waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'countersign.record'::regclass)"
	for !ask(t, d.Owner, waiting) {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := work.Exec("SELECT count(*) FROM countersign.request"); err != nil {
		t.Errorf("the work: %v", err)
	}
	if err := work.Commit(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
