package database_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/secrets"
)

// fresh makes a database of the server's own kind, in which everybody may do
// what PostgreSQL lets him, and runs Init on it, once and alone.
func fresh(t *testing.T, d *databasetest.DB) (database.Config, *sql.DB) {
	t.Helper()
	cfg := d.Cluster.Config(d.Name + "_fresh")
	if _, err := d.Owner.Exec("CREATE DATABASE " + cfg.Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.Owner.Exec("DROP DATABASE " + cfg.Name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	owner := open(t, cfg)
	initialise(t, d, owner)
	return cfg, owner
}

func initialise(t *testing.T, d *databasetest.DB, owner *sql.DB) {
	t.Helper()
	if err := database.Init(t.Context(), owner, d.Deployment.Genesis.Roles, databasetest.Verifiers(t, d.Deployment)); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, cfg database.Config) *sql.DB {
	t.Helper()
	db, err := database.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// besideTables lists what a role may do with anything but a table or column of
// the schema, apart from what it is to have: to connect, to name things of the
// schema, and to read PostgreSQL's own descriptions.
func besideTables(t *testing.T, db *sql.DB, role string) (held []string) {
	t.Helper()
	for what, query := range map[string]string{
		"database": `SELECT datname, p FROM pg_database, unnest('{CREATE,TEMPORARY}'::text[]) p
			WHERE datname = current_database() AND has_database_privilege($1, oid, p)`,
		"schema": `SELECT nspname, p FROM pg_namespace, unnest('{CREATE,USAGE}'::text[]) p
			WHERE has_schema_privilege($1, oid, p)
			AND NOT (p = 'USAGE' AND nspname IN ('countersign', 'pg_catalog', 'information_schema'))`,
		"sequence": `SELECT oid::regclass, p FROM pg_class, unnest('{USAGE,SELECT,UPDATE}'::text[]) p
			WHERE relkind = 'S' AND has_sequence_privilege($1, oid, p)`,
		"table elsewhere": `SELECT oid::regclass, p FROM pg_class, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
			WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND has_table_privilege($1, oid, p)
			AND relnamespace <> 'countersign'::regnamespace
			AND NOT (p = 'SELECT' AND relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace))
			AND oid <> 'pg_settings'::regclass`, // whose UPDATE is SET
		"function": `SELECT oid::regprocedure, 'EXECUTE' FROM pg_proc
			WHERE has_function_privilege($1, oid, 'EXECUTE')
			AND (pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
				OR proname ~ '^lo_' OR proname IN ('loread', 'lowrite'))`,
		"language": `SELECT lanname, 'USAGE' FROM pg_language
			WHERE NOT lanpltrusted AND lanispl AND has_language_privilege($1, oid, 'USAGE')`,
		"tablespace": `SELECT spcname, 'CREATE' FROM pg_tablespace WHERE has_tablespace_privilege($1, oid, 'CREATE')`,
		"membership": `SELECT roleid::regrole, 'MEMBER' FROM pg_auth_members WHERE member = $1::regrole`,
	} {
		rows, err := db.Query(query, role)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for rows.Next() {
			var name, privilege string
			if err := rows.Scan(&name, &privilege); err != nil {
				t.Fatal(err)
			}
			held = append(held, fmt.Sprintf("%s on %s %s", privilege, what, name))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return held
}

// A service can do what it is to do, and no more, on a database that nobody but
// Init prepared.
func TestServicesLogInToAFreshDatabase(t *testing.T) {
	d := databasetest.New(t)
	cfg, _ := fresh(t, d)
	for _, service := range secrets.Services(d.Deployment.Genesis.Roles) {
		cfg.User, cfg.Password = database.Role(service), databasetest.Password(t, d.Deployment, service)
		db := open(t, cfg)
		if _, err := db.Exec("SELECT FROM countersign.request"); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		if _, err := db.Exec("CREATE TEMPORARY TABLE mine (a int)"); err == nil {
			t.Errorf("%s makes temporary tables", service)
		}
	}
	cfg.User = "mallory"
	if _, err := d.Owner.Exec("CREATE ROLE mallory LOGIN PASSWORD '" + database.Verifier(cfg.Password) + "'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = d.Owner.Exec("DROP ROLE mallory") })
	if err := open(t, cfg).Ping(); err == nil {
		t.Error("a login role that is no service connects")
	}
}

// What an administrator gave by hand is taken back by the next Init.
func TestInitTakesBackWhatIsNotInTheTable(t *testing.T) {
	d := databasetest.New(t)
	cfg, owner := fresh(t, d)
	for _, statement := range []string{
		"GRANT ALL ON ALL SEQUENCES IN SCHEMA countersign TO countersign_fraud, PUBLIC",
		"GRANT ALL ON DATABASE " + cfg.Name + " TO countersign_fraud, PUBLIC",
		"GRANT ALL ON SCHEMA countersign TO countersign_fraud, PUBLIC",
		"GRANT ALL ON SCHEMA public TO PUBLIC",
		"GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC",
		"CREATE FUNCTION countersign.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
	} {
		if _, err := owner.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if held := besideTables(t, owner, "countersign_fraud"); len(held) < 15 {
		t.Fatalf("only %d are noticed: %v", len(held), held)
	}
	initialise(t, d, owner)
	for _, held := range besideTables(t, owner, "countersign_fraud") {
		t.Errorf("%s is not taken back", held)
	}
}

// PostgreSQL lets every role change its own password. Init sets it again.
func TestInitSetsAgainAPasswordThatItsServiceChanged(t *testing.T) {
	d := databasetest.New(t)
	stolen := secrets.Generate()
	if _, err := d.As("fraud").Exec("ALTER ROLE countersign_fraud PASSWORD '" + database.Verifier(stolen) + "'"); err != nil {
		t.Fatal(err)
	}
	cfg := d.Config("fraud")
	cfg.Password = stolen
	if err := open(t, cfg).Ping(); err != nil {
		t.Errorf("with the service's own password: %v", err)
	}
	initialise(t, d, d.Owner)
	if err := open(t, cfg).Ping(); err == nil {
		t.Error("the service's own password is good after Init")
	}
	if err := open(t, d.Config("fraud")).Ping(); err != nil {
		t.Errorf("with the derived password: %v", err)
	}
}

// An owner who is no superuser can run Init, before and after a superuser did.
// Large objects he cannot close.
func TestInitByAnOrdinaryOwner(t *testing.T) {
	d := databasetest.New(t)
	cfg := d.Cluster.Config(d.Name + "_owned")
	cfg.User, cfg.Password = d.Name+"_owner", secrets.Generate()
	for _, statement := range []string{
		"CREATE ROLE " + cfg.User + " LOGIN CREATEROLE PASSWORD '" + database.Verifier(cfg.Password) + "'",
		"CREATE DATABASE " + cfg.Name + " OWNER " + cfg.User,
	} {
		if _, err := d.Owner.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range secrets.Services(d.Deployment.Genesis.Roles) {
		if _, err := d.Owner.Exec("GRANT countersign_" + service + " TO " + cfg.User + " WITH ADMIN OPTION"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, statement := range []string{"DROP DATABASE " + cfg.Name + " WITH (FORCE)", "DROP ROLE " + cfg.User} {
			if _, err := d.Owner.Exec(statement); err != nil {
				t.Error(err)
			}
		}
	})
	owner, super := open(t, cfg), open(t, d.Cluster.Config(cfg.Name))
	initialise(t, d, owner)
	initialise(t, d, super)
	initialise(t, d, owner)
	for _, held := range besideTables(t, super, "countersign_fraud") {
		t.Errorf("%s is not refused", held)
	}
}
