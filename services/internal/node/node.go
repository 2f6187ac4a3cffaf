// Package node is what every service works with beside its own part: the
// database, the queue on it, the active policy, the meaning of requests.
//
// It trusts the configuration. It decides nothing about requests.
package node

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet/walletpg"
)

// Node is what every service works with beside its own part.
type Node struct {
	*boot.Deployment
	DB          *sql.DB
	Queue       *queue.Queue
	Policy      *activation.Holder
	Store       *walletpg.Store
	Interpreter transaction.Interpreter
	Attester    attestation.Attester
}

// Connect opens the database (without connecting yet) and the parts on top of
// it. The caller closes DB.
func Connect(service string, cfg config.Service) (*Node, error) {
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
	db, err := database.Open(dbConfig)
	if err != nil {
		return nil, err
	}
	q := queue.New(db, dbConfig, d.Log)
	store := walletpg.New(db)
	return &Node{
		Deployment: d, DB: db, Queue: q, Store: store, Attester: attester,
		Policy: activation.New(d.Genesis, d.ID, q, d.Log),
		Interpreter: transaction.Interpreter{
			Deployment: d.ID, Roles: d.Genesis.Roles, Generation: d.Keyring.Generation(),
			Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: store,
		},
	}, nil
}

// Part is one thing that runs for as long as its service does.
type Part func(ctx context.Context) error

// Serve runs the queue, the policy's activation, the health server and the
// service's own parts until ctx ends or one of them fails.
func (n *Node) Serve(ctx context.Context, health string, ready func(context.Context) error, parts ...Part) error {
	g, ctx := errgroup.WithContext(ctx)
	all := append([]Part{
		n.Queue.Run,
		n.Policy.Run,
		func(ctx context.Context) error { return boot.Health(ctx, health, ready, n.Log) },
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
