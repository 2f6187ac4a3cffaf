// Package signing is the signing service: it opens epochs and greets the
// policy services, gathers their approvals, has each request verified from
// scratch, records the intent, has the one approved key used, and commits the
// signed result, in this order. Package countersigned does all that touches
// keys. Nothing is decided inside an open transaction: a request is leased, and
// each write is one statement (a new wallet's or account's: two, with its
// result). Who dies leaves the lease to end, after which another instance
// verifies the request from scratch.
//
// It trusts its own keyring, the genesis document and the policy document that
// the admins' quorum signed. It believes nothing that it reads from the queue
// or the database. It never lets a signature out before its result is
// committed, and never logs a payload, a share or a key.
package signing

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
)

// Config is what the service works with. Queue.Run and Policy.Run are the
// caller's to run beside it.
type Config struct {
	Genesis    message.Genesis
	Deployment message.Hash
	// Keyring is the signing service's own.
	Keyring *secrets.Keyring
	// DB is the connection as countersign_signing.
	DB    *sql.DB
	Queue *queue.Queue
	Store wallet.Store
	Seeds wallet.SeedSource
	// Interpreter's Descriptors are replaced by reads through Store.
	Interpreter transaction.Interpreter
	Policy      *activation.Holder
	Attester    attestation.Attester
	Now         func() time.Time
	Log         *slog.Logger
	// Instance names this process among its replicas; empty: a random name.
	Instance string
	// Lease is how long a request that this instance has taken is kept from
	// others; zero: 5 s.
	Lease time.Duration
	// Tidy is how often expired notices are deleted, and requests looked for
	// that have passed their expiry unnoticed; zero: one minute.
	Tidy time.Duration
	// Ended, if set, hears of each request that this instance has ended, when
	// its result is committed. It must not block.
	Ended func(message.Status)
}

// Service is one instance of the signing service.
type Service struct {
	cfg      Config
	verifier *countersigned.Verifier
	identity ed25519.PrivateKey
	kid      string
	asked    *asked
	refused  *once
	early    chan countersigned.Case

	unpublished []countersigned.Hello // of the epoch loop alone
	turnover    turnover              // of the asking loop alone
}

// New returns a service that does nothing before Run.
func New(cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("signing service: %w", err)
	}
	if cfg.Instance == "" {
		cfg.Instance = randomName()
	}
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Tidy == 0 {
		cfg.Tidy = defaultTidy
	}
	verifier, err := countersigned.New(countersigned.Config{
		Genesis: cfg.Genesis, Deployment: cfg.Deployment, Keyring: cfg.Keyring, Instance: cfg.Instance,
		Store: cfg.Store, Seeds: cfg.Seeds, Interpreter: cfg.Interpreter,
		Policy: cfg.Policy.Active, Examine: cfg.Policy.Examine, Attester: cfg.Attester, Now: cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("signing service: %w", err)
	}
	identity, err := identityKey(cfg.Keyring)
	if err != nil {
		return nil, fmt.Errorf("signing service: %w", err)
	}
	cfg.Log = cfg.Log.With("instance", cfg.Instance)
	s := &Service{cfg: cfg, verifier: verifier, identity: identity, asked: newAsked(cfg.Now), refused: newOnce(maxRemembered),
		early: make(chan countersigned.Case, maxEarly)}
	s.kid = s.IdentityKey().Thumbprint()
	return s, nil
}

func (c Config) check() error {
	var faults []error
	for what, missing := range map[string]bool{
		"keyring": c.Keyring == nil, "database": c.DB == nil, "queue": c.Queue == nil,
		"policy": c.Policy == nil, "clock": c.Now == nil, "log": c.Log == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("%s is missing", what))
		}
	}
	return errors.Join(faults...)
}

func randomName() string {
	var b [6]byte
	rand.Read(b[:]) // never returns an error (crypto/rand)
	return "signing-" + hex.EncodeToString(b[:])
}

func identityKey(keyring *secrets.Keyring) (ed25519.PrivateKey, error) {
	key, err := keyring.Key(secrets.PurposeIdentitySigning, keyring.Generation())
	if err != nil {
		return nil, err
	}
	return secrets.IdentityKey(key)
}

// IdentityKey returns the public key of the service's results, for the policy
// document.
func (s *Service) IdentityKey() message.JWK {
	jwk, err := message.NewJWK(s.identity.Public())
	if err != nil {
		panic(err) // an Ed25519 public key always has a JWK form
	}
	return jwk
}

// Run works until ctx ends. Errors of the database are logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	defer s.verifier.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.keepEpochs(ctx) })
	g.Go(func() error { return s.hearAnnouncements(ctx) })
	g.Go(func() error { return s.keepAsking(ctx) })
	g.Go(func() error { return s.keepTidy(ctx) })
	g.Go(func() error { return s.lookEarly(ctx) })
	g.Go(func() error {
		return s.cfg.Queue.Gather(ctx, s.gatherer(), s.handle)
	})
	return g.Wait()
}

// ErrNotReady says that nothing can be signed at this moment; the others say
// why.
var (
	ErrNotReady = errors.New("signing service is not ready")
	ErrNoPolicy = errors.New("no policy document is active")
	ErrNoKeys   = errors.New("keys are not exchanged")
)

// Ready returns nil if a request could be signed now: a policy is active, an
// epoch is open, every role has announced a key and the database answers.
func (s *Service) Ready(ctx context.Context) error {
	var faults []error
	if s.cfg.Policy.Active() == nil {
		faults = append(faults, ErrNoPolicy)
	}
	if s.Epochs() == 0 {
		faults = append(faults, fmt.Errorf("%w: no epoch is open", ErrNoKeys))
	} else if silent := s.verifier.Silent(); len(silent) > 0 {
		faults = append(faults, fmt.Errorf("%w: none announced by %s", ErrNoKeys, strings.Join(silent, ", ")))
	}
	if err := s.cfg.DB.PingContext(ctx); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotReady, errors.Join(faults...))
}

// Epochs returns how many epochs are open.
func (s *Service) Epochs() int { return len(s.verifier.Epochs()) }
