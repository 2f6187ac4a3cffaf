// Command proposer is the service that lets end users in, puts their requests
// on the queue and gives back results. See package proposer.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/token"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/readiness"
)

func main() {
	boot.Main(secrets.ServiceProposer,
		boot.Command{Name: "run", Does: "serve the API until SIGTERM", Run: run},
		boot.Command{Name: "webhook-secret", Argument: "ID", Does: "print the secret of a webhook, for its receiver", RunWith: webhookSecret},
	)
}

func run(ctx context.Context, path string) error {
	var cfg config.Proposer
	if err := config.Load(path, &cfg); err != nil {
		return err
	}
	n, err := node.Connect(secrets.ServiceProposer, cfg.Service, nil)
	if err != nil {
		return err
	}
	defer n.DB.Close()
	tokens, err := newTokens(n, cfg)
	if err != nil {
		return err
	}
	server, err := newServer(n, cfg, tokens)
	if err != nil {
		return err
	}
	certificate, err := cfg.Listen.Load()
	if err != nil {
		return err
	}
	if err := allow(n, cfg); err != nil {
		return err
	}
	webhooks, err := newWebhooks(n, server, cfg.Webhooks)
	if err != nil {
		return err
	}
	ready := readiness.Check{
		Ready:     func(ctx context.Context) error { return errors.Join(n.PolicyActive(ctx), server.Entry()) },
		Causes:    []readiness.Cause{{Err: node.ErrNoPolicy, Code: readiness.PolicyInactive}, {Err: proposer.ErrNoEntry, Code: readiness.IssuersUnread}},
		Otherwise: readiness.NotReady,
	}
	parts := []node.Part{webhooks.Run, func(ctx context.Context) error {
		return serve(ctx, server, cfg.Listen.Address, certificate)
	}}
	if tokens != nil {
		parts = append(parts, tokens.Run)
	}
	return n.Serve(ctx, cfg.Health, ready, parts...)
}

func newServer(n *node.Node, cfg config.Proposer, tokens *token.Verifier) (*proposer.Server, error) {
	c := proposer.Config{
		Deployment: n.ID, Roles: n.Genesis.Roles, Queue: counted{n.Queue, n.Metrics},
		Wallets: wallets{n.Descriptors}, Policy: n.Policy, DB: n.Writable, Now: node.Now, Log: n.Log,
		Limits: limits(cfg.Limits),
	}
	if tokens != nil { // or Tokens would be an interface that is not nil
		c.Tokens = tokens
	}
	if cfg.ClientCA != "" {
		var err error
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
