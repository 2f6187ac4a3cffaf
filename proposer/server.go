package proposer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/fairness"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/token"
	"github.com/countersign/countersign/queue"
)

// Queue is what the proposer needs of the queue; *queue.Queue has it.
type Queue interface {
	// Submit commits a batch and says of each submission, in order, what
	// became of it.
	Submit(ctx context.Context, batch []queue.Submission, to queue.Recipients) ([]queue.Outcome, error)
	// Await returns a request's result as soon as it is there.
	Await(ctx context.Context, id uuid.UUID) (queue.Result, error)
	// Cancel asks the gatherer to end a request, and says if it is too late.
	Cancel(ctx context.Context, gatherer string, request uuid.UUID) (queue.Cancellation, error)
	// Get returns queue.ErrNotFound where there is no such request.
	Get(ctx context.Context, id uuid.UUID) (queue.View, error)
	List(ctx context.Context, f queue.Filter) ([]queue.View, error)
}

// Policy holds the active policy document; *activation.Holder does.
type Policy interface {
	// Active returns nil as long as no document is active.
	Active() *document.Active
	// Refresh looks for a newer one at once.
	Refresh(ctx context.Context) (changed bool, err error)
}

// Tokens verifies access tokens; *token.Verifier does.
type Tokens interface {
	// Verify returns token.ErrKeysUnavailable where it cannot tell now, any
	// other error where the token is refused.
	Verify(ctx context.Context, token string, now time.Time) (token.Claims, error)
	// Ready returns nil if a token could let somebody in.
	Ready() error
}

// Pinger says whether the database answers; *sql.DB is one.
type Pinger interface {
	PingContext(ctx context.Context) error
}

// Config is everything that a proposer needs.
type Config struct {
	Deployment message.Hash
	// Roles are the policy roles of the genesis document, in its order.
	Roles   []string
	Queue   Queue
	Wallets Wallets
	Policy  Policy
	DB      Pinger
	Tokens  Tokens // nil: no token is accepted
	// ClientCAs sign client certificates; nil: none is accepted. A certificate
	// lets in only the user under whom its fingerprint stands in the policy.
	ClientCAs *x509.CertPool
	Limits    Limits
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: slog.Default
}

// Server answers the API. It is safe for concurrent use.
type Server struct {
	deployment message.Hash
	roles      []string
	queue      Queue
	wallets    Wallets
	policy     Policy
	db         Pinger
	door       *doorkeeper
	clientCAs  *x509.CertPool
	limits     Limits
	now        func() time.Time
	log        *slog.Logger
	batcher    *batcher
	waits      *fairness.Places // of calls that wait for results
	cancels    *fairness.Places // of those to cancel, which wait too
	lists      *fairness.Turns
	buckets    buckets
	froze      seen
	streams    *fairness.Places
	follower   *follower
	stopping   context.Context
	stop       context.CancelFunc
	readiness  readiness
}

// New checks the configuration and returns a server; it reports every fault at
// once.
func New(cfg Config) (*Server, error) {
	limits, faults := cfg.Limits.withDefaults(), cfg.faults()
	door := &doorkeeper{policy: cfg.Policy, tokens: cfg.Tokens, now: cfg.Now, certificates: cfg.ClientCAs != nil}
	if door.now == nil {
		door.now = time.Now
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("proposer: %w", err)
	}
	s := &Server{
		deployment: cfg.Deployment, roles: slices.Clone(cfg.Roles), queue: cfg.Queue, wallets: cfg.Wallets, policy: cfg.Policy,
		db: cfg.DB, door: door, clientCAs: cfg.ClientCAs, limits: limits, now: door.now, log: cfg.Log,
		waits: fairness.NewPlaces(limits.UserWaiters, limits.Waiters), cancels: fairness.NewPlaces(limits.UserWaiters, limits.Waiters),
		streams: fairness.NewPlaces(limits.UserStreams, limits.Streams), lists: fairness.NewTurns(maxTurns), buckets: newBuckets(limits),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.follower = newFollower(s.log)
	s.follower.look = s.look
	s.follower.await = func(ctx context.Context, id uuid.UUID) error {
		_, err := s.queue.Await(ctx, id)
		return err
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	to := queue.Recipients{Consumers: s.roles, Gatherer: message.RoleSigning}
	s.batcher = &batcher{waiting: backlog{limit: limits.Backlog}, submit: func(ctx context.Context, batch []queue.Submission) ([]queue.Outcome, error) {
		return cfg.Queue.Submit(ctx, batch, to)
	}}
	return s, nil
}

func (c Config) faults() (faults []error) {
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.Deployment.IsZero(), "deployment id is missing")
	fault(len(c.Roles) == 0, "policy roles are missing")
	fault(c.Queue == nil || c.Wallets == nil || c.Policy == nil || c.DB == nil, "queue, wallets, policy or database is missing")
	fault(c.Tokens == nil && c.ClientCAs == nil, "neither tokens nor client certificates are accepted: nobody could enter")
	return append(faults, c.Limits.faults()...)
}

const (
	// maxTurns is how many lists of one user are read at once: two, so that a
	// slow peer does not hold up its user's next call.
	maxTurns = 2
	// headerTime bounds the TLS handshake and a call's header.
	headerTime = 5 * time.Second
	// writeTime is how long a peer may take to read one answer.
	writeTime = 10 * time.Second
	// idleTime is how long a connection is kept between calls.
	idleTime = 2 * time.Minute
	// maxHeader is the most bytes of a call's header: a token of 8 KiB and two
	// signature headers fit.
	maxHeader = 16 << 10
	// maxStreams is how many calls one HTTP/2 connection may have at once.
	maxStreams = 128
	// stopTime is how long calls that are under way may take at the end.
	stopTime = 10 * time.Second
)

// TLSConfig returns the configuration of the API's listener: TLS 1.3, and a
// client certificate verified where one is shown. There are no session
// tickets, so that every connection shows its certificate itself.
func (s *Server) TLSConfig(certificate tls.Certificate) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{certificate},
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.NoClientCert,
		Time:                   s.now,
	}
	if s.clientCAs != nil { // without a pool Go would take the system's
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, s.clientCAs
	}
	return c
}

// Serve answers calls on a plain TCP listener, over TLS, until ctx ends. Then
// those who wait for results are answered at once, and calls under way are
// brought to their end. A Server serves once.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate tls.Certificate) error {
	server := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.TLSConfig(certificate),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// "OPTIONS *" is refused like every other target that is not a path.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving the api: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("stopping the api: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// ErrNoEntry says that nobody could come in: there are only access tokens, and
// no key of any of their issuers is known.
var ErrNoEntry = errors.New("nobody could come in")

// Entry returns ErrNoEntry if nobody could come in now. It waits for nothing.
func (s *Server) Entry() error {
	if err := s.door.ready(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoEntry, err)
	}
	return nil
}

// Ready says why the server cannot do its work, nil if it can.
func (s *Server) Ready(ctx context.Context) error {
	if s.policy.Active() == nil {
		return errors.New("no policy document is active: none yet, or it has expired")
	}
	if err := s.Entry(); err != nil {
		return err
	}
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("asking the database: %w", err)
	}
	return nil
}

// readiness remembers the last answer of Ready for a moment, because anybody
// may ask.
type readiness struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

// readinessAge is for how long an answer of Ready stands.
const readinessAge = time.Second

func (s *Server) recentlyReady(ctx context.Context) error {
	s.readiness.mu.Lock()
	defer s.readiness.mu.Unlock()
	if time.Since(s.readiness.asked) < readinessAge {
		return s.readiness.err
	}
	// Whoever asks may go away; the answer is for the others too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessAge)
	defer cancel()
	s.readiness.err, s.readiness.asked = s.Ready(ctx), time.Now()
	return s.readiness.err
}
