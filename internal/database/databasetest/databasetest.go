// Package databasetest gives each test a database of its own on a real
// PostgreSQL: schema, roles, grants and row policies as in production, TLS and
// SCRAM included. Only tests import it.
//
// One private server runs per test process and ends with it. Login roles are
// of the whole server, so that all tests of a process share one deployment.
package databasetest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/secrets"
)

// startTimeout is generous: several test processes start servers at once.
const startTimeout = 2 * time.Minute

// template is the database that each test's is a copy of.
const template = "template_countersign"

// DB is one test's database.
type DB struct {
	// Owner is connected as the server's superuser, who is also the attacker
	// that writes any row.
	Owner      *sql.DB
	Deployment *deploymenttest.Deployment
	Cluster    *cluster.Cluster
	Name       string

	t    testing.TB
	mu   sync.Mutex
	open map[string]*sql.DB
}

// server is the one server of this process.
type server struct {
	mu         sync.Mutex
	cluster    *cluster.Cluster
	deployment *deploymenttest.Deployment
	admin      *sql.DB
	databases  int
}

var shared server

// New makes a database for the test and removes it at the test's end. It
// fails the test where PostgreSQL is not installed.
func New(t testing.TB) *DB {
	t.Helper()
	name, err := shared.create(t)
	if err != nil {
		t.Fatalf("making a test database: %v", err)
	}
	d := &DB{t: t, Name: name, Deployment: shared.deployment, Cluster: shared.cluster, open: map[string]*sql.DB{}}
	d.Owner = d.connect(shared.cluster.Config(name))
	t.Cleanup(d.drop)
	return d
}

// create copies the template, after starting the server at the first call.
// Copies are made one at a time: a template must have no connections. What
// Init grants and revokes on the database itself is not copied with it.
func (s *server) create(t testing.TB) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if s.admin == nil {
		if err := s.start(ctx, t); err != nil {
			return "", err
		}
	}
	s.databases++
	name := fmt.Sprintf("test_%d", s.databases)
	for _, statement := range []string{
		"CREATE DATABASE " + name + " TEMPLATE " + template,
		"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC",
	} {
		if _, err := s.admin.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	for _, service := range secrets.Services(s.deployment.Genesis.Roles) {
		grant := "GRANT CONNECT ON DATABASE " + name + " TO " + database.Role(service)
		if _, err := s.admin.ExecContext(ctx, grant); err != nil {
			return "", err
		}
	}
	return name, nil
}

func (s *server) start(ctx context.Context, t testing.TB) error {
	dir, err := os.MkdirTemp("", "countersign-postgres-")
	if err != nil {
		return err
	}
	c, err := cluster.Start(ctx, dir, cluster.Options{Temporary: true, Database: cluster.AnyDatabase})
	if err != nil {
		return err
	}
	admin, err := database.Open(c.Config("postgres"))
	if err != nil {
		return err
	}
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	deployment := deploymenttest.New(t)
	owner, err := database.Open(c.Config(template))
	if err != nil {
		return err
	}
	err = database.Init(ctx, owner, deployment.Genesis.Roles, Verifiers(t, deployment))
	if err != nil {
		return err
	}
	if err := owner.Close(); err != nil {
		return err
	}
	s.cluster, s.admin, s.deployment = c, admin, deployment
	return nil
}

// Verifiers returns the SCRAM verifier of every service of a deployment.
func Verifiers(t testing.TB, d *deploymenttest.Deployment) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, service := range secrets.Services(d.Genesis.Roles) {
		out[service] = database.Verifier(Password(t, d, service))
	}
	return out
}

// Password returns a service's database password.
func Password(t testing.TB, d *deploymenttest.Deployment, service string) *secrets.Secret {
	t.Helper()
	ring, ok := d.Keyrings[service]
	if !ok {
		t.Fatalf("no service %q in this deployment", service)
	}
	key, err := ring.Key(secrets.Database(service), ring.Generation())
	if err != nil {
		t.Fatal(err)
	}
	return secrets.DatabasePassword(key)
}

// Config returns how a service connects to the test's database.
func (d *DB) Config(service string) database.Config {
	d.t.Helper()
	c := d.Cluster.Config(d.Name)
	c.User, c.Password = database.Role(service), Password(d.t, d.Deployment, service)
	return c
}

// As returns a pool of connections logged in as a service, the same at each
// call.
func (d *DB) As(service string) *sql.DB {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if db, ok := d.open[service]; ok {
		return db
	}
	db := d.connect(d.Config(service))
	d.open[service] = db
	return db
}

// Open returns a further pool logged in as a service, for a second replica.
func (d *DB) Open(service string) *sql.DB {
	d.t.Helper()
	return d.connect(d.Config(service))
}

func (d *DB) connect(c database.Config) *sql.DB {
	d.t.Helper()
	db, err := database.Open(c)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = db.Close() })
	return db
}

// drop runs after the test's own clean-ups, which close its connections;
// FORCE ends those that were left.
func (d *DB) drop() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := shared.admin.ExecContext(ctx, "DROP DATABASE "+d.Name+" WITH (FORCE)"); err != nil {
		d.t.Errorf("removing test database: %v", err)
	}
}
