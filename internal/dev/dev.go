// Package dev runs a whole deployment on one machine for development: it makes
// the genesis document, both secrets and every key, starts a private
// PostgreSQL and the unmodified service binaries, and stops all of it again.
//
// It plays every person of the design at once, so nothing that it makes
// deserves trust: the genesis says "development", which a strict service
// refuses. Only the command line imports it.
package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

const (
	// readyTimeout is how long the services may take to find each other.
	readyTimeout = 60 * time.Second
	// readyPoll is how often each is asked.
	readyPoll = 50 * time.Millisecond
	// readyAsk bounds one question.
	readyAsk = 3 * time.Second
)

// Options say where a deployment lives.
type Options struct {
	// Dir holds everything; a deployment that is there already is started
	// again.
	Dir string
	// Bin is the folder of the service binaries.
	Bin string
	// Log receives the launcher's own words; services log into Dir/logs.
	Log *slog.Logger
	// Ready is called once all services are ready.
	Ready func(Profile)
}

// Profile is what a client needs to use the deployment: DIR/dev.json. Keys,
// certificates and logs are paths; Token is an access token itself; Database
// is the connection string of the database's superuser, for playing attacks.
type Profile struct {
	Proposer    string            `json:"proposer"`
	Console     string            `json:"console"`
	CA          string            `json:"ca"`
	Deployment  string            `json:"deployment"`
	UserKey     string            `json:"user_key"`
	UserCert    string            `json:"user_cert"`
	Token       string            `json:"token"`
	ApproverKey string            `json:"approver_key"`
	Database    string            `json:"database"`
	User        string            `json:"user"`
	Genesis     string            `json:"genesis"`
	Policy      string            `json:"policy"`
	AdminKeys   []string          `json:"admin_keys"`
	Operator    string            `json:"operator"`
	Logs        string            `json:"logs"`
	Processes   map[string]string `json:"processes"` // paths of pid files
}

// Run makes or starts the deployment and returns when ctx has ended and
// everything is stopped, or when something could not be started.
func Run(ctx context.Context, o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	l := layout{dir}
	r := runner{layout: l, bin: o.Bin, log: o.Log}
	if err := r.check(services()); err != nil {
		return err
	}
	if err := l.prepare(); err != nil {
		return err
	}
	release, err := l.lock()
	if err != nil {
		return err
	}
	defer release()
	again, err := l.state()
	if err != nil {
		return err
	}
	_ = os.Remove(l.profile()) // of an earlier run: nobody must take it for ready
	o.Log.Warn("this is a development deployment: every key lies in one folder", "dir", dir)
	return r.run(ctx, o, again)
}

func (r runner) run(ctx context.Context, o Options, again bool) error {
	token, err := issueToken(r.layout.tls("jwks.json"), time.Now())
	if err != nil {
		return err
	}
	var m made
	if !again {
		if m, err = makeDeployment(r.layout); err != nil {
			return err
		}
	}
	a, err := reserveAddresses()
	if err != nil {
		return err
	}
	defer func() { _ = a.release() }()
	postgres, err := r.startPostgres(ctx, a.database.Number)
	if err != nil {
		return err
	}
	defer postgres.Stop()
	if err := writeConfigs(r.layout, a, databaseConfig(postgres)); err != nil {
		return err
	}
	if !again {
		err := r.initialise(ctx, m, postgres)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%s: %w: stopped while it was made", r.layout.dir, ErrUnfinished)
		}
		if err != nil {
			return err
		}
	}
	return r.serve(ctx, o, a, postgres, token)
}

// initialise sets up the database and the first policy of a new deployment, in
// the order in which operators do.
func (r runner) initialise(ctx context.Context, m made, postgres *cluster.Cluster) error {
	if err := createDatabase(ctx, postgres); err != nil {
		return err
	}
	if err := r.initDatabase(ctx, postgres); err != nil {
		return err
	}
	keys, err := identities(ctx, r)
	if err != nil {
		return err
	}
	doc, err := developmentPolicy(m, keys)
	if err != nil {
		return err
	}
	_, active, err := signPolicy(r.layout, m, doc)
	if err != nil {
		return err
	}
	cfg, err := r.operator(m.id, postgres)
	if err != nil {
		return err
	}
	if err := pushPolicy(ctx, cfg, active, r.log); err != nil {
		return fmt.Errorf("storing policy: %w", err)
	}
	return writeFile(r.layout.complete(), []byte(m.id.String()+"\n"))
}

// initDatabase applies roles, schema and grants with the SCRAM verifiers that
// the signing service exports.
func (r runner) initDatabase(ctx context.Context, postgres *cluster.Cluster) error {
	b, err := r.output(ctx, serviceSigning, "verifiers")
	if err != nil {
		return err
	}
	var verifiers map[string]string
	if err := json.Unmarshal(b, &verifiers); err != nil {
		return fmt.Errorf("reading SCRAM verifiers: %w", err)
	}
	owner, err := database.Open(postgres.Config(databaseName))
	if err != nil {
		return err
	}
	defer owner.Close()
	if err := database.Init(ctx, owner, message.PolicyRoles(), verifiers); err != nil {
		return fmt.Errorf("preparing database: %w", err)
	}
	return nil
}

func (r runner) operator(id message.Hash, postgres *cluster.Cluster) (database.Config, error) {
	k, err := keyring(r.layout, id, secrets.ServiceOperator)
	if err != nil {
		return database.Config{}, err
	}
	key, err := k.Key(secrets.Database(secrets.ServiceOperator), generation)
	if err != nil {
		return database.Config{}, err
	}
	cfg := postgres.Config(databaseName)
	cfg.User, cfg.Password = database.Role(secrets.ServiceOperator), secrets.DatabasePassword(key)
	return cfg, nil
}

// serve runs all services until ctx ends, and says when they are ready.
func (r runner) serve(ctx context.Context, o Options, a addresses, postgres *cluster.Cluster, token string) error {
	g, ctx := errgroup.WithContext(ctx)
	allReady := make(chan struct{})
	for _, service := range services() {
		g.Go(func() error { return r.supervise(ctx, service, allReady) })
	}
	g.Go(func() error {
		if err := r.awaitReady(ctx, a); err != nil || ctx.Err() != nil {
			return err // nil: stopped before it was ready
		}
		close(allReady)
		p, err := r.profile(a, postgres, token)
		if err != nil {
			return err
		}
		o.Ready(p)
		return nil
	})
	err := g.Wait()
	_ = os.Remove(r.layout.profile())
	return err
}

// awaitReady waits until each service says that it is ready, or ctx ends.
func (r runner) awaitReady(ctx context.Context, a addresses) error {
	deadline, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, service := range services() {
		for !ready(deadline, a.health[service].Addr) {
			select {
			case <-time.After(readyPoll):
			case <-deadline.Done():
				if ctx.Err() != nil {
					return nil // stopped
				}
				return fmt.Errorf("%s is not ready after %v: see %s", service, readyTimeout, r.layout.log(service))
			}
		}
	}
	return nil
}

func ready(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, readyAsk)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return errors.Join(resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
}

// profile writes DIR/dev.json.
func (r runner) profile(a addresses, postgres *cluster.Cluster, token string) (Profile, error) {
	l := r.layout
	raw, err := os.ReadFile(l.genesis())
	if err != nil {
		return Profile{}, err
	}
	p := Profile{
		Proposer: "https://" + a.proposer.Addr, Console: "https://" + a.console.Addr,
		CA: l.tls("ca.pem"), Deployment: message.Sum(raw).String(),
		UserKey: l.key(userID), UserCert: l.tls(userID + ".pem"), Token: token,
		ApproverKey: l.key(approverID), Database: superuserURL(postgres), User: userID,
		Genesis: l.genesis(), Policy: l.policy(), Operator: l.config(secrets.ServiceOperator),
		Logs: l.path("logs"), Processes: map[string]string{},
	}
	for _, name := range admins {
		p.AdminKeys = append(p.AdminKeys, l.key("admin-"+name))
	}
	for _, s := range services() {
		p.Processes[s] = l.pid(s)
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return p, err
	}
	return p, writeFile(l.profile(), append(b, '\n'))
}
