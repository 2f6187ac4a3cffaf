package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/policy/document"
)

// treasury is the folder of the template that is compared with the simplest
// document.
const treasury = "deploy/policies/treasury"

// receiver is where the load pays, as rules see it.
const receiver = "eip155:1:" + receiverAddress

// activationTime is how long a new document may take to be in force everywhere.
const activationTime = 30 * time.Second

// measurePolicy compares the rates under the treasury template and under the
// simplest document (policies.Simple): simple, treasury, treasury, simple, on one
// deployment that is never restarted.
func (c *comparison) measurePolicy(ctx context.Context, p compared, one *contender) error {
	simple, err := readDocument(filepath.Join(one.Dir, "policy.yaml"))
	if err != nil {
		return err
	}
	template, err := os.ReadFile(filepath.Join(treasury, "policy.yaml"))
	if err != nil {
		return err
	}
	with := *one
	one.windows, with.windows = nil, nil
	for i, turn := range []*contender{one, &with, &with, one} {
		version := simple.Version + 1 + i
		var lists []string
		raw, err := policies.Simple(simple, version)
		if turn == &with {
			raw, err = policies.Treasury(template, simple, version, receiver)
			lists = []string{"--list", filepath.Join(treasury, "sanctions.txt")}
		}
		if err != nil {
			return err
		}
		if err := one.activate(ctx, raw, version, lists...); err != nil {
			return fmt.Errorf("putting policy version %d in force: %w", version, err)
		}
		if err := turn.window(ctx, p); err != nil {
			return err
		}
	}
	c.fromPolicies(one.windows, with.windows)
	return nil
}

func readDocument(path string) (*document.Document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return document.Parse(raw)
}

// activate signs and publishes a document as the admins and the operator do,
// with the files of its lists, and waits until requests are signed under it.
func (c *contender) activate(ctx context.Context, raw []byte, version int, lists ...string) error {
	path := filepath.Join(c.folder, fmt.Sprintf("policy-%d.yaml", version))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return err
	}
	push := append([]string{"policy", "push", path, "--config", filepath.Join(c.Dir, "config", "operator.yaml")}, lists...)
	for _, admin := range []string{"ada", "ben"} {
		signature := path + "." + admin
		if _, err := c.Countersign(ctx, "policy", "sign", path, "--genesis", filepath.Join(c.Dir, "genesis.json"),
			"--key", filepath.Join(c.Dir, "keys", "admin-"+admin+".pem"), "--out", signature); err != nil {
			return err
		}
		push = append(push, "--signature", signature)
	}
	if _, err := c.Countersign(ctx, push...); err != nil {
		return err
	}
	return c.underVersion(ctx, version)
}

// underVersion waits until a request is signed under a version, by all roles.
func (c *contender) underVersion(ctx context.Context, version int) error {
	ctx, cancel := context.WithTimeout(ctx, activationTime)
	defer cancel()
	for {
		if err := c.load.one(ctx, c.client); err != nil {
			return err
		}
		var newest int
		err := c.db.QueryRowContext(ctx, `SELECT (convert_from(body, 'UTF8')::jsonb -> 'policy' ->> 'version')::integer
			FROM countersign.intent ORDER BY id DESC LIMIT 1`).Scan(&newest)
		switch {
		case err != nil:
			return fmt.Errorf("looking for the version in force: %w", err)
		case newest == version:
			return nil
		case newest > version:
			return errors.New("a newer document is in force")
		}
	}
}
