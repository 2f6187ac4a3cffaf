// Package countersigned is the only way to a private key. It keeps the epochs
// and the policy services' announced keys, verifies a request and its
// approvals from scratch, and makes from them a *Request: a single-use value
// that alone can open the one key that it was approved for, after its intent
// was recorded. Nothing else in the program imports what opens shares, seeds
// and account keys (a test holds it).
//
// It trusts the genesis document, the policy document that the admins' quorum
// signed, and the keys of its own keyring. It does not trust the queue, the
// database, the proposer, or any single policy service: every byte that
// arrives is verified here, and a record that was changed does not open. It
// never returns a seed, a share or a private key, and never writes to the
// database.
package countersigned

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
)

// Bounds of time. The receiver caps what a message says of itself.
const (
	// MaxLifetime is the longest life of an epoch, an announcement and an
	// approval.
	MaxLifetime = 10 * time.Minute
	// Skew is how far another machine's clock may be ahead of ours.
	Skew = 30 * time.Second
	// RenewAfter is the age at which an epoch's successor is opened, so that
	// the two overlap for two minutes: time enough to announce, and for
	// approvals under way to be used.
	RenewAfter = 8 * time.Minute
)

// maxKeys bounds the announced keys of one role in one epoch: only holders of
// the role's MAC key can add any, and a policy service has few replicas.
const maxKeys = 256

// maxRecords bounds the records kept in memory, which have about 1 KiB each
// and as much again in their decoded form; what is larger than maxRecord bytes is not kept.
const (
	maxRecords = 10_000
	maxRecord  = 8 << 10
)

// instanceName keeps instance names usable in logs and keys of notices.
var instanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Config is what a Verifier works with. All fields but Elapsed are needed.
type Config struct {
	Genesis    message.Genesis
	Deployment message.Hash
	// Keyring is the signing service's own.
	Keyring *secrets.Keyring
	// Instance names this process among the replicas of the signing service.
	Instance string
	// Store reads sealed records. It is not trusted.
	Store wallet.Store
	Seeds wallet.SeedSource
	// Interpreter's Descriptors are replaced by reads through Store.
	Interpreter transaction.Interpreter
	// Policy returns the active policy document; nil before version 1.
	Policy func() *document.Active
	// Examine says why a document would not be activated now.
	Examine  func(context.Context, message.PolicyBundle) error
	Attester attestation.Attester
	// Now is the wall clock, by which messages' times are judged.
	Now func() time.Time
	// Elapsed is a monotonic clock, by which keys are aged as well, so that
	// setting the wall clock back revives nothing. Nil: the process's own.
	Elapsed func() time.Duration
}

// Verifier keeps epochs and keys and verifies requests. It is safe for
// concurrent use.
type Verifier struct {
	cfg     Config
	own     map[int]*secrets.Secret // key "wallet" by generation
	records *records
	early   *early

	mu     sync.RWMutex
	epochs []*epoch          // oldest first
	first  message.PolicyRef // of the first of all epochs
}

// New returns a verifier without an epoch: nothing verifies until OpenEpoch
// was called and keys were announced.
func New(cfg Config) (*Verifier, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	if cfg.Elapsed == nil {
		start := time.Now()
		cfg.Elapsed = func() time.Duration { return time.Since(start) }
	}
	v := &Verifier{cfg: cfg, own: map[int]*secrets.Secret{}, records: newRecords(cfg.Store, maxRecords), early: newEarly()}
	v.cfg.Interpreter.Descriptors = v.records
	v.cfg.Interpreter.Accounts = transaction.NewAccounts(maxRecords)
	for _, g := range cfg.Keyring.Generations() {
		key, err := cfg.Keyring.Key(secrets.PurposeWallet, g)
		if err != nil {
			return nil, fmt.Errorf("verifier: %w", err)
		}
		v.own[g] = key
	}
	return v, nil
}

func (c Config) check() error {
	var faults []error
	fault := func(missing bool, what string) {
		if missing {
			faults = append(faults, errors.New(what))
		}
	}
	fault(len(c.Genesis.Roles) == 0, "genesis names no roles")
	fault(c.Keyring == nil, "keyring is missing")
	fault(!instanceName.MatchString(c.Instance), "instance name is not usable")
	fault(c.Store == nil, "store is missing")
	fault(c.Seeds == nil, "seed source is missing")
	fault(c.Policy == nil || c.Examine == nil, "policy is missing")
	fault(c.Attester == nil, "attester is missing")
	fault(c.Now == nil, "clock is missing")
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	fault(c.Keyring.Service() != secrets.ServiceSigning, "keyring is not the signing service's")
	fault(c.Keyring.Deployment() != c.Deployment, "keyring is of another deployment")
	fault(c.Interpreter.Deployment != c.Deployment, "interpreter is of another deployment")
	fault(!equalRoles(c.Interpreter.Roles, c.Genesis.Roles), "interpreter has other roles than the genesis")
	fault(c.Interpreter.Generation != c.Keyring.Generation(), "interpreter is of another generation")
	return errors.Join(faults...)
}
