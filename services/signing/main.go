// Command signing is the service that verifies every countersignature, opens
// one account's key and signs. See package signing.
package main

import (
	"context"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/readiness"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/wallet"
	"github.com/countersign/countersign/wallet/walletpg"
)

func main() {
	boot.Main(secrets.ServiceSigning,
		boot.Command{Name: "run", Does: "sign approved requests until SIGTERM", Run: run},
		boot.Command{Name: "init", Does: "print the identity public key for the policy document", Run: initialise},
		boot.Command{Name: "verifiers", Does: "print the SCRAM verifiers of all services for: countersign database init", Run: verifiers},
	)
}

func load(path string) (config.Service, error) {
	var cfg config.Signing
	err := config.Load(path, &cfg)
	return cfg.Service, err
}

func run(ctx context.Context, path string) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	n, err := node.Connect(secrets.ServiceSigning, cfg, nil)
	if err != nil {
		return err
	}
	defer n.DB.Close()
	service, err := signing.New(signing.Config{
		Genesis: n.Genesis, Deployment: n.ID, Keyring: n.Keyring, DB: n.DB, Queue: n.Queue,
		Store: walletpg.New(n.DB), Seeds: wallet.NewSoftwareSource(), Interpreter: n.Interpreter,
		Policy: n.Policy, Attester: n.Attester, Now: node.Now, Log: n.Log,
		Ended: n.Metrics.Ended,
	})
	if err != nil {
		return err
	}
	n.Metrics.Epochs(service.Epochs)
	return n.Serve(ctx, cfg.Health, ready(service), service.Run)
}

func ready(service *signing.Service) readiness.Check {
	return readiness.Check{Ready: service.Ready, Otherwise: readiness.DatabaseUnwritable, Causes: []readiness.Cause{
		{Err: signing.ErrNoPolicy, Code: readiness.PolicyInactive},
		{Err: signing.ErrNoKeys, Code: readiness.KeysNotExchanged},
	}}
}

func initialise(_ context.Context, path string) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	d, err := boot.Open(secrets.ServiceSigning, cfg)
	if err != nil {
		return err
	}
	secret, err := d.Keyring.Key(secrets.PurposeIdentitySigning, d.Keyring.Generation())
	if err != nil {
		return err
	}
	key, err := secrets.IdentityKey(secret)
	if err != nil {
		return err
	}
	jwk, err := message.NewJWK(key.Public())
	if err != nil {
		return err
	}
	return boot.PrintKey(jwk)
}

func verifiers(_ context.Context, path string) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	d, err := boot.Open(secrets.ServiceSigning, cfg)
	if err != nil {
		return err
	}
	out, err := signing.Verifiers(d.Keyring, d.Genesis.Roles)
	if err != nil {
		return err
	}
	return boot.PrintJSON(out)
}
