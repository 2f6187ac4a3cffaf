package cluster_test

import (
	"testing"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/secrets"
)

// A service's login role reaches the one database, and none of those that every
// server has, whatever its grants there.
func TestAttackOtherDatabases(t *testing.T) {
	c, err := cluster.Start(t.Context(), dir(t), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	owner, password := open(t, c), secrets.Generate()
	for _, statement := range []string{
		"CREATE ROLE service LOGIN PASSWORD '" + database.Verifier(password) + "'",
		"CREATE DATABASE " + cluster.DefaultDatabase,
	} {
		if _, err := owner.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{cluster.DefaultDatabase: true, "postgres": false, "template1": false} {
		cfg := c.Config(name)
		cfg.User, cfg.Password = "service", password
		db, err := database.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); (err == nil) != want {
			t.Errorf("%s: %v, want reachable %v", name, err, want)
		}
		_ = db.Close()
	}
}
