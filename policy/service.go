package policy

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/attestation"
)

// auditEvery is how often the whole chain is verified again, so that an
// alteration of old entries is noticed while the service runs too.
const auditEvery = 5 * time.Minute

// lookEvery is how often an instance reads what others have appended, although
// it has nothing to decide: what it has read nobody can take back.
const lookEvery = time.Second

// Tasks is the part of the queue that gives requests. *queue.Queue is one.
type Tasks interface {
	Consume(ctx context.Context, c queue.Consumer, h queue.Handler) error
	Unpark(ctx context.Context, consumer string, request uuid.UUID) error
	Say(ctx context.Context, sender string, request uuid.UUID, r queue.Reply) error
}

// Notices is the part of the queue that carries hellos and announcements.
// *queue.Queue is one.
type Notices interface {
	Publish(ctx context.Context, n queue.Notice) error
	Notices(ctx context.Context, topic string) ([]queue.Notice, error)
	Changed(topic string) <-chan struct{}
}

// Queue is what the runtime needs of the queue. Its listener is run by whoever
// made it.
type Queue interface {
	Tasks
	Notices
}

// Policies gives the active policy document. *activation.Holder is one; it is
// run by whoever made it.
type Policies interface {
	// Active returns nil before version 1.
	Active() *document.Active
	Refresh(ctx context.Context) (changed bool, err error)
	// RequireAtLeast makes the document the floor: no other of its version and
	// above counts until it was seen.
	RequireAtLeast(floor message.PolicyRef)
	// Examine says why a document would not be activated now. That it cannot be
	// told now is activation.ErrAway or activation.ErrInactive.
	Examine(ctx context.Context, bundle message.PolicyBundle) error
}

// Config is all that a policy service is made of.
type Config struct {
	Role       string
	Genesis    message.Genesis
	Deployment message.Hash
	Keyring    *secrets.Keyring // of the role
	DB         *sql.DB          // logged in as the role, for its records
	Queue      Queue
	// Interpreter's descriptors are cached here for a minute.
	Interpreter transaction.Interpreter
	Policy      Policies
	Decider     Decider
	Attester    attestation.Attester
	Now         func() time.Time // nil: the system's clock
	Log         *slog.Logger     // nil: the default
}

// validate reports every fault at once.
func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, what string) {
		if bad {
			faults = append(faults, errors.New(what))
		}
	}
	fault(!slices.Contains(c.Genesis.Roles, c.Role), "role is not one of the genesis document")
	fault(c.Keyring == nil, "keyring is missing")
	fault(c.Keyring != nil && c.Keyring.Service() != c.Role, "keyring is another service's")
	fault(c.Keyring != nil && c.Keyring.Deployment() != c.Deployment, "keyring is of another deployment")
	fault(c.Interpreter.Deployment != c.Deployment, "interpreter is of another deployment")
	fault(!slices.Equal(c.Interpreter.Roles, c.Genesis.Roles), "interpreter has other roles than the genesis document")
	fault(c.Keyring != nil && c.Interpreter.Generation != c.Keyring.Generation(), "interpreter is of another generation")
	fault(c.Interpreter.Descriptors == nil, "interpreter has no descriptors")
	fault(c.DB == nil, "database is missing")
	fault(c.Queue == nil, "queue is missing")
	fault(c.Policy == nil, "policy is missing")
	fault(c.Decider == nil, "decider is missing")
	fault(c.Attester == nil, "attester is missing")
	return errors.Join(faults...)
}

// Service is one instance of one policy role. It is safe for concurrent use.
type Service struct {
	cfg         Config
	instance    string
	key         ed25519.PrivateKey // ephemeral, never stored
	jwk         message.JWK        // its public half
	kid         string             // and thumbprint
	identity    ed25519.PrivateKey // identity/<role>, newest generation
	interpreter transaction.Interpreter
	memory      *memory
	links       *links
}

// New returns a service with a new ephemeral key that nobody knows yet.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("policy service %s: %w", cfg.Role, err)
	}
	chain, err := history.New(cfg.Role, cfg.Keyring, cfg.DB, cfg.Log)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, instance: instanceName(cfg.Role), interpreter: cfg.Interpreter,
		memory: newMemory(cfg.Decider, chain, cfg.Now, cfg.Log),
		links:  newLinks(),
	}
	s.interpreter.Descriptors = newDescriptors(cfg.Interpreter.Descriptors, cfg.Now)
	s.interpreter.Accounts = transaction.NewAccounts(maxAccounts)
	return s, s.makeKeys()
}

// instanceName tells this process from every other of its role.
func instanceName(role string) string {
	b := make([]byte, 8)
	rand.Read(b) // never returns an error (crypto/rand)
	return role + "-" + hex.EncodeToString(b)
}

func (s *Service) makeKeys() error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making the instance's key: %w", err)
	}
	if s.jwk, err = message.NewJWK(public); err != nil {
		return fmt.Errorf("making the instance's key: %w", err)
	}
	s.key, s.kid = private, s.jwk.Thumbprint()
	secret, err := s.cfg.Keyring.Key(secrets.Identity(s.cfg.Role), s.cfg.Keyring.Generation())
	if err != nil {
		return err
	}
	s.identity, err = secrets.IdentityKey(secret)
	return err
}

// Instance returns this instance's name, as its messages carry it.
func (s *Service) Instance() string { return s.instance }

// IdentityKey returns the role's identity public key of the newest
// generation, which the policy document must name.
func (s *Service) IdentityKey() (message.JWK, error) {
	return message.NewJWK(s.identity.Public())
}

// Init writes the first entry of the role's record chain and returns the
// role's identity key, for version 1 of the policy document. It is done once
// in the life of a deployment: history.ErrExists if it was done before.
func (s *Service) Init(ctx context.Context) (message.JWK, error) {
	jwk, err := s.IdentityKey()
	if err != nil {
		return message.JWK{}, err
	}
	body, err := message.Encode(entry{Version: message.Version, Records: []record{{
		Kind: recordInit,
		Init: &initRecord{
			Role: s.cfg.Role, Generation: s.cfg.Keyring.Generation(), Identity: jwk, Time: message.At(s.cfg.Now()),
		},
	}}})
	if err != nil {
		return message.JWK{}, err
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return jwk, s.memory.chain.Init(ctx, body)
}

// Run works until ctx ends: it answers hellos, decides requests and verifies
// the role's records. It returns nil when ctx ended.
func (s *Service) Run(ctx context.Context) error {
	defer s.links.close()
	if err := s.memory.check(ctx, s.cfg.Policy.Active()); err != nil {
		s.cfg.Log.Error("reading the role's records failed", "role", s.cfg.Role, "error", err)
	}
	s.cfg.Policy.RequireAtLeast(s.memory.newestPolicy())
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return s.follow(inner) })
	group.Go(func() error { return s.auditLoop(inner) })
	group.Go(func() error { return s.consume(inner) })
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("policy service %s: %w", s.cfg.Role, err)
	}
	return nil
}

func (s *Service) auditLoop(ctx context.Context) error {
	look, audit := time.NewTicker(lookEvery), time.NewTicker(auditEvery)
	defer look.Stop()
	defer audit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			_ = s.memory.check(ctx, s.cfg.Policy.Active()) // a broken chain has said so; an outage is said by all else
			continue
		case <-audit.C:
		}
		if err := s.Audit(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("verifying the role's records failed", "role", s.cfg.Role, "error", err)
		}
	}
}

// Audit verifies the role's whole record chain from its first entry. If it is
// broken the service denies everything from now on.
func (s *Service) Audit(ctx context.Context) error { return s.memory.audit(ctx) }

// Append adds one record of the decider's own to the chain, durably, for
// example a vote. The decider's Replay is called before Append returns; the
// caller must not hold a lock that Replay takes. After an error the record may
// still have been written (the connection broke in the commit).
func (s *Service) Append(ctx context.Context, body []byte) error {
	return s.memory.add(ctx, body)
}

// Unpark has a waiting request decided again. Call it after Append: then
// neither who decides it at this moment nor who decides it next misses the
// record.
func (s *Service) Unpark(ctx context.Context, request uuid.UUID) error {
	if err := s.cfg.Queue.Unpark(ctx, s.cfg.Role, request); err != nil {
		return fmt.Errorf("waking request %s: %w", request, err)
	}
	return nil
}

// ErrNotSaid says that the role cannot speak now.
var ErrNotSaid = errors.New("the decision cannot be said now")

// Overrule decides on a request at once, whatever the role has said of it and
// whether or not it has a task, and says it if it is a rejection: that stands
// beside an approval, and wins until the request's intent is being written. Call it after
// Append. It reports whether it was one.
func (s *Service) Overrule(ctx context.Context, request uuid.UUID, envelope []byte) (rejected bool, err error) {
	work, err := s.handle(ctx, []queue.Task{{Request: request, Body: envelope, Hash: message.Sum(envelope)}})
	if err != nil {
		return false, err
	}
	switch v := work.Verdicts[0]; {
	case v.Disposition == queue.Retry:
		return false, fmt.Errorf("%w: %s", ErrNotSaid, v.Note)
	case v.Reply == nil || !v.Reply.Decisive:
		return false, nil
	default:
		return true, s.cfg.Queue.Say(ctx, s.cfg.Role, request, *v.Reply)
	}
}

func (s *Service) origin(generation int) message.Origin {
	return message.Origin{Version: message.Version, Deployment: s.cfg.Deployment, Generation: generation}
}
