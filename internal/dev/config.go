package dev

import (
	"fmt"
	"net"
	"net/netip"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/secrets"
)

// addresses are where one run's services listen.
type addresses struct {
	proposer string
	console  string
	receiver string            // where a webhook's receiver may listen; nothing of ours does
	health   map[string]string // by service
}

// pickAddresses finds free loopback ports. Another process could take one
// before its service does: the service then fails and is started again, which
// does not help, so that the launcher says which one it was.
func pickAddresses() (addresses, error) {
	a := addresses{health: map[string]string{}}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	pick := func() (string, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("finding a free port: %w", err)
		}
		listeners = append(listeners, l)
		return l.Addr().String(), nil
	}
	var err error
	if a.proposer, err = pick(); err != nil {
		return a, err
	}
	if a.console, err = pick(); err != nil {
		return a, err
	}
	if a.receiver, err = pick(); err != nil {
		return a, err
	}
	for _, s := range services() {
		if a.health[s], err = pick(); err != nil {
			return a, err
		}
	}
	return a, nil
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
		out[s] = config.Role{Service: base(l, s, a.health[s], db)}
	}
	operator := base(l, secrets.ServiceOperator, "", db)
	operator.Log = config.Log{Level: "error", Format: "text"} // it speaks to a person
	out[secrets.ServiceOperator] = config.Operator{Service: operator}
	out[serviceApproval] = config.Approval{
		Service: base(l, serviceApproval, a.health[serviceApproval], db),
		Listen:  listener(l, serviceApproval, a.console), Authorities: []string{a.console},
	}
	out[serviceProposer] = config.Proposer{
		Service:  base(l, serviceProposer, a.health[serviceProposer], db),
		Listen:   listener(l, serviceProposer, a.proposer),
		Tokens:   &config.Tokens{JWKS: l.tls("jwks.json"), Issuer: tokenIssuer, Audience: tokenAudience},
		ClientCA: l.tls("users.pem"),
		Limits:   config.Limits{Submissions: plenty, Reads: plenty},
		Webhooks: config.Webhooks{CA: l.tls("ca.pem"), AllowNetworks: []string{"127.0.0.0/8", "::1/128"}, Ports: []uint16{portOf(a.receiver)}},
	}
	return out
}

// portOf returns the port of an address that was picked.
func portOf(address string) uint16 {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		panic(err) // it is one that net.Listen gave
	}
	return a.Port()
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
