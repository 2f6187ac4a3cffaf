package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/secrets/hygiene/sandbox"
	"github.com/countersign/countersign/services/internal/node"
)

// httpsPort is where an issuer may have its keys, wherever it is itself.
const httpsPort = 443

// allow says what the proposer needs beside what every service does: to listen
// for users, to read a file of keys again, to ask issuers, and to tell outcomes to
// receivers.
func allow(n *node.Node, cfg config.Proposer) error {
	if err := n.AllowListening(cfg.Listen.Address); err != nil {
		return err
	}
	if t := cfg.Tokens; t != nil {
		folders, err := foldersOf(t.JWKS)
		if err != nil {
			return fmt.Errorf("tokens.jwks: %w", err)
		}
		n.Allow(sandbox.Config{Read: folders})
	}
	for i, one := range cfg.Issuers {
		port, err := issuerPort(one.Issuer)
		if err != nil {
			return fmt.Errorf("issuers[%d].issuer: %w", i, err)
		}
		n.Allow(sandbox.Config{ConnectTCP: []uint16{port, httpsPort}, Names: true, Roots: one.CAFile == ""})
	}
	ports, err := receiverPorts(cfg.Webhooks)
	if err != nil {
		return fmt.Errorf("webhooks.proxy: %w", err)
	}
	n.Allow(sandbox.Config{ConnectTCP: ports, Names: true, Roots: cfg.Webhooks.CA == ""})
	return nil
}

// receiverPorts returns where receivers of outcomes listen, or the proxy that
// makes the connections to them.
func receiverPorts(w config.Webhooks) ([]uint16, error) {
	if w.Proxy != "" {
		u, err := url.Parse(w.Proxy)
		if err != nil {
			return nil, err
		}
		port, err := portOf(u)
		return []uint16{port}, err
	}
	if len(w.Ports) > 0 {
		return w.Ports, nil
	}
	return []uint16{httpsPort}, nil
}

// foldersOf returns the folder of a file that others replace, and of what it
// links to: the file itself will be another one.
func foldersOf(path string) ([]string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return []string{filepath.Dir(path), filepath.Dir(real)}, nil
}

// issuerPort returns the port that an issuer is asked at, or that of the proxy
// which the environment names.
func issuerPort(issuer string) (uint16, error) {
	r, err := http.NewRequest(http.MethodGet, issuer, nil)
	if err != nil {
		return 0, err
	}
	proxy, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return 0, err
	}
	if proxy != nil {
		return portOf(proxy)
	}
	return portOf(r.URL)
}

// schemePorts are the ports that an URL means when it names none.
var schemePorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

func portOf(u *url.URL) (uint16, error) {
	if u.Port() == "" {
		return sandbox.Port(net.JoinHostPort(u.Hostname(), schemePorts[u.Scheme]))
	}
	return sandbox.Port(u.Host)
}
