package main

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/proposer/token"
	"github.com/countersign/countersign/services/internal/node"
)

// newTokens returns what verifies access tokens, nil where none is accepted.
func newTokens(n *node.Node, cfg config.Proposer) (*token.Verifier, error) {
	issuers, err := issuers(cfg)
	if err != nil || len(issuers) == 0 {
		return nil, err
	}
	v, err := token.New(token.Config{Issuers: issuers, Log: n.Log})
	if err != nil {
		return nil, err
	}
	for _, name := range v.Issuers() {
		n.Metrics.Issuer(name, func() (keys int, read time.Time, failing bool) {
			state := v.State(name)
			return state.Keys, state.Read, state.Failing
		})
	}
	return v, nil
}

func issuers(cfg config.Proposer) ([]token.Issuer, error) {
	var out []token.Issuer
	if t := cfg.Tokens; t != nil {
		out = append(out, token.Issuer{Name: t.Issuer, Audiences: []string{t.Audience}, KeyFile: t.JWKS})
	}
	for i, one := range cfg.Issuers {
		issuer := token.Issuer{Name: one.Issuer, Audiences: one.Audiences}
		if one.CAFile != "" {
			var err error
			if issuer.Roots, err = config.CertPool(one.CAFile); err != nil {
				return nil, fmt.Errorf("issuers[%d].ca_file: %w", i, err)
			}
		}
		out = append(out, issuer)
	}
	return out, nil
}
