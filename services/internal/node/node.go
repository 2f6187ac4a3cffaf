// Package node is what every service works with beside its own part: the
// database, the queue on it, the active policy, the meaning of requests.
//
// It trusts the configuration. It decides nothing about requests.
package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/metrics"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets/hygiene/sandbox"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/readiness"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet/descriptorpg"
)

// Node is what every service works with beside its own part.
type Node struct {
	*boot.Deployment
	DB          *sql.DB
	Queue       *queue.Queue
	Policy      *activation.Holder
	Descriptors *descriptorpg.Reader
	Interpreter transaction.Interpreter
	Attester    attestation.Attester
	Metrics     *metrics.Metrics
	// Writable says whether the service may write to the database.
	Writable *readiness.Writable

	confined config.Sandbox // how much of the sandbox must be there
	needs    sandbox.Config // what it leaves open
}

// Connect opens the database (without connecting yet) and the parts on top of
// it. A service that applies a document's rules says by check whether it can:
// no document is active without that, nor without the files of its lists. For
// others check is nil. The caller closes DB.
func Connect(service string, cfg config.Service, check func(*document.Active) error) (*Node, error) {
	d, err := boot.Open(service, cfg)
	if err != nil {
		return nil, err
	}
	attester, err := attestation.New(d.Genesis.AttestationRoots)
	if err != nil {
		return nil, fmt.Errorf("attestation: %w", err)
	}
	dbConfig, err := d.Database(cfg.Database)
	if err != nil {
		return nil, err
	}
	needs, err := boot.Needs(cfg)
	if err != nil {
		return nil, err
	}
	db, err := database.Open(dbConfig)
	if err != nil {
		return nil, err
	}
	q := queue.New(db, dbConfig, d.Log)
	descriptors := descriptorpg.New(db)
	var options []activation.Option
	if check != nil {
		options = append(options, activation.WithFiles(q), activation.WithCheck(check))
	}
	n := &Node{
		Deployment: d, DB: db, Queue: q, Descriptors: descriptors, Attester: attester,
		Policy: activation.New(d.Genesis, d.ID, q, d.Log, options...),
		Interpreter: transaction.Interpreter{
			Deployment: d.ID, Roles: d.Genesis.Roles, Generation: d.Keyring.Generation(),
			Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: descriptors,
		},
		Writable: readiness.NewWritable(db, service),
		confined: cfg.Sandbox, needs: needs,
	}
	n.Metrics = metrics.New(metrics.Config{
		Service: service, DB: db, PolicyVersion: n.policyVersion, MemoryLocked: d.Hardened.MemoryLocked,
	})
	q.Observe(n.Metrics)
	return n, nil
}

func (n *Node) policyVersion() int {
	if active := n.Policy.Active(); active != nil {
		return active.Version
	}
	return 0
}

// PolicyActive returns ErrNoPolicy where no policy document is active.
func (n *Node) PolicyActive(context.Context) error {
	if n.Policy.Active() == nil {
		return ErrNoPolicy
	}
	return nil
}

// ErrNoPolicy says that no policy document is active.
var ErrNoPolicy = errors.New("no policy document is active")

// Allow adds to what the service may still do while it serves: what every service
// needs is known by itself.
func (n *Node) Allow(needs sandbox.Config) { n.needs = n.needs.Merge(needs) }

// AllowListening adds a host:port to listen on.
func (n *Node) AllowListening(address string) error {
	port, err := sandbox.Port(address)
	if err != nil {
		return fmt.Errorf("address to listen on: %w", err)
	}
	n.Allow(sandbox.Config{BindTCP: []uint16{port}})
	return nil
}

// Part is one thing that runs for as long as its service does.
type Part func(ctx context.Context) error

// Serve gives up what the service does not need any more (see boot.Confine),
// and runs the queue, the policy's activation, the health server and the
// service's own parts until ctx ends or one of them fails. The service is
// ready when own says so and the database is writable.
func (n *Node) Serve(ctx context.Context, health string, own readiness.Check, parts ...Part) error {
	if err := n.Confine(n.confined, n.needs); err != nil {
		return err
	}
	ready := readiness.New(n.Log, own, readiness.Check{Ready: n.Writable.PingContext, Otherwise: readiness.DatabaseUnwritable})
	face := boot.Face{Address: health, Ready: ready, Metrics: n.Metrics.Handler()}
	g, ctx := errgroup.WithContext(ctx)
	all := append([]Part{
		n.Queue.Run,
		n.Policy.Run,
		func(ctx context.Context) error { return boot.Health(ctx, face) },
	}, parts...)
	for _, part := range all {
		g.Go(func() error { return part(ctx) })
	}
	n.Log.Info("service started", "generation", n.Keyring.Generation())
	err := g.Wait()
	n.Log.Info("service stopped")
	return err
}

// Now is the clock of every service.
func Now() time.Time { return time.Now() }
