// Package cluster runs a private PostgreSQL server from the programs that are
// installed on this machine: for tests and for `countersign dev`, never in
// production.
//
// The server listens on loopback only, speaks TLS with a certificate of its
// own authority, and accepts nothing but SCRAM. It ends with the process that
// started it, also when that one is killed.
package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/secrets"
)

// Owner is the superuser of the cluster.
const Owner = "postgres"

// ServerName is the name that the server's certificate carries.
const ServerName = "localhost"

// DefaultDatabase is the one database that login roles other than the owner
// reach where Options name no other.
const DefaultDatabase = "countersign"

// AnyDatabase is the Options.Database by which every login role reaches all
// databases: for tests, each of which has its own.
const AnyDatabase = "all"

// stopTimeout is how long a fast shutdown may take before the server is told
// to stop at once; it recovers at its next start.
const stopTimeout = 20 * time.Second

// Options say how the server is run.
type Options struct {
	// Durable turns fsync and synchronous commits on, as in production; off,
	// a crash of the machine loses the data.
	Durable bool
	// Temporary removes the directory at the end.
	Temporary bool
	// Port is the TCP port on 127.0.0.1; 0: a free one.
	Port int
	// Bin is where the server's programs are; empty: they are searched for.
	Bin string
	// Database is the one that login roles other than the owner reach; empty:
	// DefaultDatabase.
	Database string
	// Settings are further settings of postgresql.conf.
	Settings map[string]string
}

func (o Options) database() string {
	if o.Database == "" {
		return DefaultDatabase
	}
	return o.Database
}

// Cluster is a running server.
type Cluster struct {
	Dir  string
	Addr string // host:port
	// CAFile is the PEM file of the authority that signed the server's
	// certificate; RootCAs is the same.
	CAFile  string
	RootCAs *x509.CertPool
	// Password is the owner's.
	Password *secrets.Secret

	process *process
}

// Start runs a server on the data in dir, which is made where it does not
// exist, and returns when it takes connections. When this process is root the
// server runs as user postgres, or else nobody, who must be able to reach dir.
// ctx bounds the start only.
func Start(ctx context.Context, dir string, o Options) (*Cluster, error) {
	var err error
	for range ports {
		var c *Cluster
		if c, err = start(ctx, dir, o); err == nil {
			return c, nil
		}
		if !errors.Is(err, errEnded) || ctx.Err() != nil || o.Port != 0 {
			break
		}
	}
	return nil, fmt.Errorf("starting PostgreSQL in %s: %w", dir, err)
}

// ports is how many free ports are tried: another process may take one
// between our asking and the server's listening.
const ports = 5

// errEnded says that the server ended at its start.
var errEnded = errors.New("server ended")

func start(ctx context.Context, dir string, o Options) (*Cluster, error) {
	bin, err := findBin(o.Bin)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if err := account.prepare(dir); err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, CAFile: filepath.Join(dir, "ca.pem")}
	if _, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		err = c.create(ctx, bin, account)
		if err != nil {
			return nil, err
		}
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, c.launch(ctx, bin, account, o)
}

// create makes the data directory, the certificates and the owner's password.
func (c *Cluster) create(ctx context.Context, bin string, a account) error {
	if err := writeCertificates(c.Dir, a); err != nil {
		return err
	}
	password := secrets.DatabasePassword(secrets.Generate())
	file := filepath.Join(c.Dir, "password")
	if err := a.write(file, append(password.Bytes(), '\n')); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", filepath.Join(c.Dir, "data"),
		"--username", Owner, "--pwfile", file, "--auth", "scram-sha-256", "--encoding", "UTF8",
		"--locale", "C", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.SysProcAttr, cmd.Env = c.Dir, a.attributes(), a.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// load reads what create wrote.
func (c *Cluster) load() error {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", c.CAFile)
	}
	password, err := os.ReadFile(filepath.Join(c.Dir, "password"))
	if err != nil {
		return err
	}
	c.Password = secrets.NewSecret([]byte(strings.TrimSpace(string(password))))
	return nil
}

func (c *Cluster) launch(ctx context.Context, bin string, a account, o Options) error {
	port := o.Port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return err
		}
	}
	c.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := writeConfiguration(c.Dir, a, o, port); err != nil {
		return err
	}
	var err error
	if c.process, err = runServer(c.Dir, bin, a, o); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		c.process.stop(stopTimeout)
		return err
	}
	return nil
}

// waitReady connects until the server answers, exits, or ctx ends.
func (c *Cluster) waitReady(ctx context.Context) error {
	db, err := database.Open(c.Config(Owner))
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond) // a start takes 100 ms
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("server does not answer: %w", errors.Join(ctx.Err(), err))
		case <-c.process.exited:
			return fmt.Errorf("%w: %s", errEnded, c.process.last)
		case <-tick.C:
		}
	}
}

// Config returns how the owner connects to a database of the cluster.
func (c *Cluster) Config(name string) database.Config {
	return database.Config{
		Addr: c.Addr, Name: name, User: Owner, Password: c.Password,
		RootCAs: c.RootCAs, ServerName: ServerName,
	}
}

// Stop ends the server: open transactions are rolled back. It returns when the
// server is gone.
func (c *Cluster) Stop() { c.process.stop(stopTimeout) }

// Kill ends the server at once, as a crash would; Start recovers it.
func (c *Cluster) Kill() { c.process.kill() }

// Exited is closed when the server has ended for whatever reason.
func (c *Cluster) Exited() <-chan struct{} { return c.process.exited }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// tail returns the last kilobyte of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-1024):]))
}
