// Package database opens connections to Countersign's PostgreSQL, sets up its
// schema, roles, grants and row-level security, and prepares statements.
//
// It trusts the database's server with nothing but availability: a connection
// is made over TLS 1.3 to a server whose certificate names the configured
// name, and the password is proved by SCRAM-SHA-256 alone, never told. What
// comes back from a query is untrusted like everything in the database. The
// package never logs and never holds a password longer than the driver does.
package database

import (
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/secrets"
)

// Schema is the schema that holds every table.
const Schema = "countersign"

// rolePrefix stands before a service's name in the name of its login role.
const rolePrefix = "countersign_"

// Role returns the name of a service's login role.
func Role(service string) string { return rolePrefix + service }

// Service returns the service whose login role this is, or the name itself
// where it is not a service's.
func Service(role string) string { return strings.TrimPrefix(role, rolePrefix) }

// connectTimeout bounds TCP, TLS and authentication together: a server that
// does not answer in this time is treated as down.
const connectTimeout = 10 * time.Second

// defaultConns is enough for the workers of one service; PostgreSQL's own
// default of 100 connections then carries five services with a replica.
const defaultConns = 12

// statementTimeout ends a statement in the server; none of ours comes near it.
const statementTimeout = 60 * time.Second

// minConns lets a transaction wait for a statement to be prepared on another
// connection.
const minConns = 4

// Config says where the database is and who logs in.
type Config struct {
	// Addr is host:port, or several separated by commas: the first that takes
	// writes is used.
	Addr string
	// Name is the database's name.
	Name string
	// User is the login role in full: Role(service).
	User string
	// Password is proved by SCRAM and never sent.
	Password *secrets.Secret
	// RootCAs verify the server's certificate; nil is refused.
	RootCAs *x509.CertPool
	// ServerName is the name that the certificate must carry; empty: the host
	// of the address that is dialled.
	ServerName string
	// MaxConns limits the pool, at least 4; 0: 12.
	MaxConns int
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if _, err := c.hosts(); err != nil {
		faults = append(faults, err)
	}
	if c.Name == "" {
		faults = append(faults, errors.New("database name is missing"))
	}
	if c.User == "" {
		faults = append(faults, errors.New("database user is missing"))
	}
	if c.Password.Len() == 0 {
		faults = append(faults, errors.New("database password is missing"))
	}
	if c.RootCAs == nil {
		faults = append(faults, errors.New("database root certificates are missing: the server must be verified"))
	}
	if c.MaxConns != 0 && c.MaxConns < minConns {
		faults = append(faults, fmt.Errorf("maximum of database connections is %d, below %d", c.MaxConns, minConns))
	}
	return errors.Join(faults...)
}

// host is one address of the server.
type host struct {
	name string
	port uint16
}

func (c Config) hosts() ([]host, error) {
	var out []host
	for _, addr := range strings.Split(c.Addr, ",") {
		name, text, err := net.SplitHostPort(strings.TrimSpace(addr))
		if err != nil || name == "" {
			return nil, fmt.Errorf("database address %q is not host:port", addr)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("database address %q has no valid port", addr)
		}
		out = append(out, host{name, uint16(port)})
	}
	return out, nil
}

// Open returns a pool of connections. It connects at the first use, so that a
// service can start before its database. A server that is silent for 65 s after
// a statement is given up, whatever the statement's context.
func Open(c Config) (*sql.DB, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	return open(c, newDialer(c))
}

func open(c Config, dial *dialer) (*sql.DB, error) {
	driver, err := c.driver()
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	connector, err := pq.NewConnectorConfig(driver)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	connector.Dialer(dial)
	db := sql.OpenDB(connector)
	conns := c.MaxConns
	if conns == 0 {
		conns = defaultConns
	}
	// Every connection stays open: its prepared statements are worth more
	// than its memory.
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// session holds the settings of every connection. Each is there for a reason:
// see the comments.
var session = map[string]string{
	// Names are found in our schema or in the catalogue, nowhere else.
	"search_path": Schema,
	// A replica that vanishes with rows locked lets go of them: by keepalive
	// when its machine is gone, by the other when it hangs.
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
	"idle_in_transaction_session_timeout": "60s",
	"statement_timeout":                   fmt.Sprint(statementTimeout.Milliseconds()),
	// Statements are few and prepared; planning them anew, or for a table that
	// was empty when it was last looked at, costs more than it finds.
	"plan_cache_mode": "force_generic_plan",
	"enable_seqscan":  "off",
	// A bitmap has no order: the oldest tasks would be found by reading and
	// sorting all that wait.
	"enable_bitmapscan": "off",
	"jit":               "off",
	"timezone":          "UTC",
}

// driver returns the driver's configuration. TLS is off in it because the
// dialer has made it already.
func (c Config) driver() (pq.Config, error) {
	hosts, err := c.hosts()
	if err != nil {
		return pq.Config{}, err
	}
	out := pq.Config{
		Host: hosts[0].name, Port: hosts[0].port,
		Database: c.Name, User: c.User, Password: string(c.Password.Bytes()),
		SSLMode: pq.SSLModeDisable, ConnectTimeout: connectTimeout,
		// []byte travels as it is, and a query that is not prepared needs one
		// round trip instead of two.
		BinaryParameters: true,
		ApplicationName:  c.User,
		ClientEncoding:   "UTF8",
		Datestyle:        "ISO, MDY",
		Runtime:          session,
	}
	for _, h := range hosts[1:] {
		out.Multi = append(out.Multi, pq.ConfigMultihost{Host: h.name, Port: h.port})
	}
	if len(hosts) > 1 {
		out.TargetSessionAttrs = pq.TargetSessionAttrsReadWrite
	}
	return out, nil
}
