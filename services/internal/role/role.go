// Package role is what the mains of the policy services share: everything but
// the decider.
//
// It trusts the configuration. It decides nothing itself.
package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/readiness"
)

// Main is the main of a policy service that has no outer face.
func Main(name string, decider func() policy.Decider) {
	boot.Main(name,
		boot.Command{Name: "run", Does: "decide on requests until SIGTERM", Run: func(ctx context.Context, path string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return run(ctx, name, cfg, decider())
		}},
		InitCommand(name, load),
	)
}

func load(path string) (config.Service, error) {
	var cfg config.Role
	err := config.Load(path, &cfg)
	return cfg.Service, err
}

// InitCommand is the verb that begins a role's record chain, once in the life of
// a deployment, and prints its identity key, each time that it is given.
func InitCommand(name string, load func(path string) (config.Service, error)) boot.Command {
	return boot.Command{
		Name: "init", Does: "begin the role's records, once, and print the identity public key",
		Run: func(ctx context.Context, path string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			return initialise(ctx, name, cfg, os.Stderr)
		},
	}
}

// initialise changes nothing where there is a chain: what it printed then may not
// have reached anybody.
func initialise(ctx context.Context, name string, cfg config.Service, notes io.Writer) error {
	n, service, err := New(name, cfg, undecided{})
	if err != nil {
		return err
	}
	defer n.DB.Close()
	key, err := service.Init(ctx)
	if errors.Is(err, history.ErrExists) {
		fmt.Fprintf(notes, "%s: %v; nothing was changed\n", name, err)
		err = nil
	}
	if err != nil {
		return err
	}
	return boot.PrintKey(key)
}

// undecided is the decider of a runtime that never runs.
type undecided struct{}

func (undecided) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{}, errors.New("this process decides nothing")
}

func run(ctx context.Context, name string, cfg config.Service, decider policy.Decider) error {
	n, service, err := New(name, cfg, decider)
	if err != nil {
		return err
	}
	defer n.DB.Close()
	return n.Serve(ctx, cfg.Health, Ready(service), service.Run)
}

// checker is a decider that says whether it can decide under a document.
type checker interface {
	Check(active *document.Active) error
}

// New makes the runtime of a policy service. No document is active for it that
// the decider's Check refuses, if it has one.
func New(name string, cfg config.Service, decider policy.Decider) (*node.Node, *policy.Service, error) {
	var check func(*document.Active) error
	if c, ok := decider.(checker); ok {
		check = c.Check
	}
	n, err := node.Connect(name, cfg, check)
	if err != nil {
		return nil, nil, err
	}
	service, err := policy.New(policy.Config{
		Role: name, Genesis: n.Genesis, Deployment: n.ID, Keyring: n.Keyring,
		DB: n.DB, Queue: n.Queue, Interpreter: n.Interpreter, Policy: n.Policy,
		Decider: decider, Attester: n.Attester, Now: node.Now, Log: n.Log,
	})
	if err != nil {
		n.DB.Close()
		return nil, nil, err
	}
	n.Metrics.Epochs(service.Epochs)
	n.Metrics.Records(service.Records)
	return n, service, nil
}

// Ready is how a policy service is asked whether it is ready.
func Ready(service *policy.Service) readiness.Check {
	return readiness.Check{Ready: service.Ready, Otherwise: readiness.NotReady, Causes: []readiness.Cause{
		{Err: policy.ErrNoPolicy, Code: readiness.PolicyInactive},
		{Err: policy.ErrOld, Code: readiness.PolicyOld},
		{Err: policy.ErrNotNamed, Code: readiness.IdentityNotNamed},
		{Err: policy.ErrNoKeys, Code: readiness.KeysNotExchanged},
		{Err: history.ErrBroken, Code: readiness.RecordsBroken},
		{Err: history.ErrEmpty, Code: readiness.RecordsEmpty},
		{Err: policy.ErrUnread, Code: readiness.RecordsUnread},
	}}
}
