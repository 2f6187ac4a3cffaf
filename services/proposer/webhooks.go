package main

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/services/internal/node"
)

func newWebhooks(n *node.Node, server *proposer.Server, cfg config.Webhooks) (*webhook.Service, error) {
	http, err := webhookHTTP(cfg)
	if err != nil {
		return nil, err
	}
	return webhook.New(webhook.Config{
		Queue: n.Queue, Policy: n.Policy, Outcomes: server, Keys: n.Keyring, HTTP: http,
		Observe: func(end webhook.End) { n.Metrics.Webhook(string(end)) }, Now: node.Now, Log: n.Log,
	})
}

func webhookHTTP(cfg config.Webhooks) (out webhook.HTTP, err error) {
	if cfg.CA != "" {
		if out.CAs, err = config.CertPool(cfg.CA); err != nil {
			return out, fmt.Errorf("webhooks.ca: %w", err)
		}
	}
	if cfg.Proxy != "" {
		if out.Proxy, err = url.Parse(cfg.Proxy); err != nil {
			return out, fmt.Errorf("webhooks.proxy: %w", err)
		}
	}
	for _, text := range cfg.AllowNetworks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return out, fmt.Errorf("webhooks.allow_networks: %w", err)
		}
		out.Allowed = append(out.Allowed, network)
	}
	return out, nil
}

// webhookSecret prints a webhook's secret to standard output and nowhere else. The
// webhook need not be in the policy document yet: its receiver comes first.
func webhookSecret(_ context.Context, path, id string) error {
	if !document.WebhookID(id) {
		return fmt.Errorf("%q is not the id of a webhook", id)
	}
	var cfg config.Proposer
	if err := config.Load(path, &cfg); err != nil {
		return err
	}
	d, err := boot.Open(secrets.ServiceProposer, cfg.Service)
	if err != nil {
		return err
	}
	keys, err := d.Keyring.WebhookSecrets(id)
	if err != nil {
		return err
	}
	text := secrets.FormatWebhook(keys[0])
	defer text.Wipe()
	_, err = os.Stdout.Write(append(text.Bytes(), '\n'))
	return err
}
