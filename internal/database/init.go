package database

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	gooseDB "github.com/pressly/goose/v3/database"
	"github.com/sethvargo/go-retry"

	"github.com/countersign/countersign/secrets"
)

//go:embed migrations/*.sql
var migrations embed.FS

// initLock is the key of the advisory lock that keeps two runs of Init apart:
// "csgn" in ASCII.
const initLock = 0x6373676e

// ErrRole says that a login role has rights that no service may have.
var ErrRole = errors.New("login role has too many rights")

// serviceName keeps names usable in role and policy names. Names come from
// the genesis document, which is as strict.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9]{0,30}$`)

// Init brings the schema up to date and gives every service of a deployment
// with these policy roles its login role, password verifier (see Verifier),
// grants and row policies. It is idempotent and safe to run while services
// work. The owner needs CREATEROLE and the right to create a schema, not
// superuser, but only a superuser can close PostgreSQL's large objects.
func Init(ctx context.Context, owner *sql.DB, roles []string, verifiers map[string]string) error {
	services := secrets.Services(roles)
	if err := checkVerifiers(services, verifiers); err != nil {
		return fmt.Errorf("initialising database: %w", err)
	}
	conn, err := owner.Conn(ctx)
	if err != nil {
		return fmt.Errorf("initialising database: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", initLock); err != nil {
		return fmt.Errorf("initialising database: locking: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", initLock) //nolint:errcheck // the connection's end unlocks too
	again := retry.WithMaxRetries(mostDeadlocks, retry.NewConstant(betweenDeadlocks))
	err = retry.Do(ctx, again, func(ctx context.Context) error {
		err := migrate(ctx, owner)
		if err == nil {
			err = provision(ctx, conn, services, verifiers)
		}
		if isDeadlock(err) {
			return retry.RetryableError(err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("initialising database: %w", err)
	}
	return nil
}

// Services that work lock the same tables in other orders, and PostgreSQL ends
// one of those who wait for each other: then all is done once more.
const (
	mostDeadlocks    = 20
	betweenDeadlocks = 100 * time.Millisecond
)

func isDeadlock(err error) bool {
	var refused *pq.Error
	return errors.As(err, &refused) && refused.Code == "40P01"
}

func checkVerifiers(services []string, verifiers map[string]string) error {
	var faults []error
	for _, s := range services {
		if !serviceName.MatchString(s) {
			faults = append(faults, fmt.Errorf("service name %q is not usable", s))
		}
		if !verifierForm.MatchString(verifiers[s]) {
			faults = append(faults, fmt.Errorf("SCRAM verifier of %s is missing or malformed", s))
		}
	}
	for s := range verifiers {
		if !slices.Contains(services, s) {
			faults = append(faults, fmt.Errorf("SCRAM verifier of %q, which is no service", s))
		}
	}
	return errors.Join(faults...)
}

func migrate(ctx context.Context, owner *sql.DB) error {
	if _, err := owner.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+Schema); err != nil {
		return fmt.Errorf("creating schema: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	store, err := gooseDB.NewStore(gooseDB.DialectPostgres, Schema+".migration")
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	provider, err := goose.NewProvider("", owner, files, goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

// provision runs in one transaction: no service is ever without its grants.
func provision(ctx context.Context, conn *sql.Conn, services []string, verifiers map[string]string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if err := closeDatabase(ctx, tx); err != nil {
		return err
	}
	for _, s := range services {
		if err := createRole(ctx, tx, s, verifiers[s]); err != nil {
			return fmt.Errorf("service %s: %w", s, err)
		}
		for _, statement := range statements(s) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("service %s: %s: %w", s, statement, err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing grants: %w", err)
	}
	return nil
}

// closeDatabase takes away what PostgreSQL gives to everybody.
func closeDatabase(ctx context.Context, tx *sql.Tx) error {
	var name string
	if err := tx.QueryRowContext(ctx, "SELECT current_database()").Scan(&name); err != nil {
		return err
	}
	for _, statement := range []string{
		"REVOKE ALL ON DATABASE " + pq.QuoteIdentifier(name) + " FROM PUBLIC",
		"REVOKE ALL ON SCHEMA public FROM PUBLIC",
		"REVOKE ALL ON SCHEMA " + Schema + " FROM PUBLIC",
		"REVOKE ALL ON ALL TABLES IN SCHEMA " + Schema + " FROM PUBLIC",
		"REVOKE ALL ON ALL SEQUENCES IN SCHEMA " + Schema + " FROM PUBLIC",
		"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA " + Schema + " FROM PUBLIC",
		closeLargeObjects,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// closeLargeObjects takes the functions of large objects from everybody: what
// they store lies outside all tables, grants and row policies. They are the
// server's superuser's, whom alone PostgreSQL lets close them: where another
// owner runs Init they are left as they are.
const closeLargeObjects = `
	DO $$ DECLARE f regprocedure; BEGIN
		FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
			AND (proname LIKE 'lo\_%' OR proname IN ('loread', 'lowrite')) AND pg_has_role(proowner, 'USAGE')
		LOOP EXECUTE 'REVOKE ALL ON FUNCTION ' || f || ' FROM PUBLIC'; END LOOP;
	END $$`

// createRole makes the login role if it is not there, sets its verifier, and
// refuses one that could pass by the grants.
func createRole(ctx context.Context, tx *sql.Tx, service, verifier string) error {
	role := pq.QuoteIdentifier(Role(service))
	var exists, excessive bool
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) > 0,
		       coalesce(bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
		           OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)), false)
		FROM pg_roles r WHERE rolname = $1`, Role(service)).Scan(&exists, &excessive)
	if err != nil {
		return err
	}
	if excessive {
		return fmt.Errorf("%w: %s", ErrRole, role)
	}
	create := "ALTER ROLE "
	if !exists {
		create = "CREATE ROLE "
	}
	if _, err := tx.ExecContext(ctx, create+role+" LOGIN NOINHERIT PASSWORD "+pq.QuoteLiteral(verifier)); err != nil {
		return fmt.Errorf("role %s: %w", role, err)
	}
	var name string
	if err := tx.QueryRowContext(ctx, "SELECT current_database()").Scan(&name); err != nil {
		return err
	}
	for _, statement := range []string{
		"REVOKE ALL ON DATABASE " + pq.QuoteIdentifier(name) + " FROM " + role,
		"GRANT CONNECT ON DATABASE " + pq.QuoteIdentifier(name) + " TO " + role,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	return nil
}
