// Command proposer is the service that lets end users in, puts their requests
// on the queue and gives back results. See package proposer.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/readiness"
)

func main() {
	boot.Main(secrets.ServiceProposer,
		boot.Command{Name: "run", Does: "serve the API until SIGTERM", Run: run},
	)
}

func run(ctx context.Context, path string) error {
	var cfg config.Proposer
	if err := config.Load(path, &cfg); err != nil {
		return err
	}
	n, err := node.Connect(secrets.ServiceProposer, cfg.Service)
	if err != nil {
		return err
	}
	defer n.DB.Close()
	server, err := newServer(n, cfg)
	if err != nil {
		return err
	}
	certificate, err := cfg.Listen.Load()
	if err != nil {
		return err
	}
	ready := readiness.Check{Ready: n.PolicyActive, Otherwise: readiness.PolicyInactive}
	return n.Serve(ctx, cfg.Health, ready, func(ctx context.Context) error {
		return serve(ctx, server, cfg.Listen.Address, certificate)
	})
}

func newServer(n *node.Node, cfg config.Proposer) (*proposer.Server, error) {
	c := proposer.Config{
		Deployment: n.ID, Roles: n.Genesis.Roles, Queue: counted{n.Queue, n.Metrics},
		Wallets: wallets{n.Store}, Policy: n.Policy, DB: n.Writable, Now: node.Now, Log: n.Log,
		Limits: limits(cfg.Limits),
	}
	var err error
	if t := cfg.Tokens; t != nil {
		if c.JWKS, err = os.ReadFile(t.JWKS); err != nil {
			return nil, fmt.Errorf("tokens.jwks: %w", err)
		}
		c.Issuer, c.Audience = t.Issuer, t.Audience
	}
	if cfg.ClientCA != "" {
		if c.ClientCAs, err = config.CertPool(cfg.ClientCA); err != nil {
			return nil, fmt.Errorf("client_ca: %w", err)
		}
	}
	return proposer.New(c)
}

func limits(l config.Limits) proposer.Limits {
	return proposer.Limits{
		Submissions: proposer.Rate(l.Submissions), Reads: proposer.Rate(l.Reads),
		UserStreams: l.Streams.PerUser, Streams: l.Streams.Total,
	}
}

func serve(ctx context.Context, server *proposer.Server, address string, certificate tls.Certificate) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for the API: %w", err)
	}
	return errors.Join(server.Serve(ctx, listener, certificate), ctx.Err())
}
