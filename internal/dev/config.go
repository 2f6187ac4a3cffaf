package dev

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/loopback"
	"github.com/countersign/countersign/secrets"
)

// addresses are where one run's services and its database listen.
type addresses struct {
	database *loopback.Port
	proposer *loopback.Port
	console  *loopback.Port
	receiver *loopback.Port            // where a webhook's receiver may listen; nothing of ours does
	health   map[string]*loopback.Port // by service
}

// reserveAddresses reserves loopback ports, which are held until release: the
// services listen seconds later, and again whenever they are started again, and
// another deployment that is made meanwhile must not choose the same.
func reserveAddresses() (addresses, error) {
	a := addresses{health: map[string]*loopback.Port{}}
	var err error
	reserve := func() (p *loopback.Port) {
		if err == nil {
			p, err = loopback.Reserve()
		}
		return p
	}
	a.database, a.proposer, a.console, a.receiver = reserve(), reserve(), reserve(), reserve()
	for _, s := range services() {
		a.health[s] = reserve()
	}
	if err != nil {
		return a, errors.Join(err, a.release())
	}
	return a, nil
}

// release gives the ports back.
func (a addresses) release() (err error) {
	held := []*loopback.Port{a.database, a.proposer, a.console, a.receiver}
	for _, p := range a.health {
		held = append(held, p)
	}
	for _, p := range slices.DeleteFunc(held, func(p *loopback.Port) bool { return p == nil }) {
		err = errors.Join(err, p.Close())
	}
	return err
}

// writeConfigs writes the configuration of every service and the operator's.
func writeConfigs(l layout, a addresses, db config.Database) error {
	for service, cfg := range configs(l, a, db) {
		b, err := yaml.Marshal(cfg)
		if err != nil {
			return fmt.Errorf("writing configuration of %s: %w", service, err)
		}
		if err := writeFile(l.config(service), b); err != nil {
			return fmt.Errorf("writing configuration of %s: %w", service, err)
		}
	}
	return nil
}

func configs(l layout, a addresses, db config.Database) map[string]any {
	out := map[string]any{}
	for _, s := range services() {
		out[s] = config.Role{Service: base(l, s, a.health[s].Addr, db)}
	}
	operator := base(l, secrets.ServiceOperator, "", db)
	operator.Log = config.Log{Level: "error", Format: "text"} // it speaks to a person
	out[secrets.ServiceOperator] = config.Operator{Service: operator}
	out[serviceApproval] = config.Approval{
		Service: base(l, serviceApproval, a.health[serviceApproval].Addr, db),
		Listen:  listener(l, serviceApproval, a.console.Addr), Authorities: []string{a.console.Addr},
	}
	out[serviceProposer] = config.Proposer{
		Service:  base(l, serviceProposer, a.health[serviceProposer].Addr, db),
		Listen:   listener(l, serviceProposer, a.proposer.Addr),
		Tokens:   &config.Tokens{JWKS: l.tls("jwks.json"), Issuer: tokenIssuer, Audience: tokenAudience},
		ClientCA: l.tls("users.pem"),
		Limits:   config.Limits{Submissions: plenty, Reads: plenty},
		Webhooks: config.Webhooks{CA: l.tls("ca.pem"), AllowNetworks: []string{"127.0.0.0/8", "::1/128"}, Ports: []uint16{a.receiver.Number}},
	}
	return out
}

// plenty lets one user load a whole deployment, as benchmarks do.
var plenty = config.Rate{PerSecond: 20_000, Burst: 20_000}

func base(l layout, service, health string, db config.Database) config.Service {
	return config.Service{
		Development: true,
		Genesis:     l.genesis(),
		Branches: []config.Branches{{
			Build:  l.branch(service, string(secrets.HalfBuild)),
			Deploy: l.branch(service, string(secrets.HalfDeploy)),
		}},
		Database: db,
		Health:   health,
	}
}

func listener(l layout, service, address string) config.Listener {
	return config.Listener{Address: address, Certificate: l.tls(service + ".pem"), Key: l.tls(service + ".key")}
}
