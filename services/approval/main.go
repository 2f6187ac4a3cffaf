// Command approval is the policy service that says which people must agree to
// a request, and that takes their votes in.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/approvalpg"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/role"
)

func main() {
	boot.Main(message.RoleApproval,
		boot.Command{Name: "run", Does: "decide on requests and take votes until SIGTERM", Run: run},
		role.InitCommand(message.RoleApproval, initConfig),
	)
}

func initConfig(path string) (config.Service, error) {
	var cfg config.Approval
	err := config.Load(path, &cfg)
	return cfg.Service, err
}

func run(ctx context.Context, path string) error {
	var cfg config.Approval
	if err := config.Load(path, &cfg); err != nil {
		return err
	}
	decider := approval.New(node.Now)
	n, service, err := role.New(message.RoleApproval, cfg.Service, decider)
	if err != nil {
		return err
	}
	defer n.DB.Close()
	handler, err := newHandler(n, service, decider, cfg)
	if err != nil {
		return err
	}
	certificate, err := cfg.Listen.Load()
	if err != nil {
		return err
	}
	if err := n.AllowListening(cfg.Listen.Address); err != nil {
		return err
	}
	return n.Serve(ctx, cfg.Health, role.Ready(service), service.Run, func(ctx context.Context) error {
		return serve(ctx, cfg.Listen.Address, certificate, handler)
	})
}

func newHandler(n *node.Node, service *policy.Service, decider *approval.Decider, cfg config.Approval) (http.Handler, error) {
	server, err := approval.NewServer(approval.Config{
		Deployment: n.ID, Decider: decider, Requests: approvalpg.New(n.DB, message.RoleApproval),
		Runtime: service, Interpreter: n.Interpreter, Policy: n.Policy,
		Authorities: cfg.Authorities, Now: node.Now, Log: n.Log,
	})
	if err != nil {
		return nil, err
	}
	return server.Handler(), nil
}

func serve(ctx context.Context, address string, certificate tls.Certificate, handler http.Handler) error {
	plain, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for approvers: %w", err)
	}
	return boot.Serve(ctx, tls.NewListener(plain, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate},
	}), handler)
}
