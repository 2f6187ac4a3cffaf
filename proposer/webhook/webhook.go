// Package webhook tells the webhooks of the policy document how requests have
// ended: signed posts by the Standard Webhooks specification, each delivered at
// least once, through the queue.
//
// It trusts the policy document, which a quorum signed, with the addresses, and
// the proposer with telling a result of the signing service from a forged row.
// Nobody trusts it: the result in a message is signed by the signing service, and
// a receiver that acts on one verifies that. It never follows a redirect, never
// connects to an address that is not of the public internet unless its
// configuration names the network, and never logs an address, a body or a secret.
package webhook

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// Prefix begins the names of the queue's consumers for webhooks.
const Prefix = "webhook:"

// Consumers are the names of the consumers for the webhooks that a user's requests
// concern; active may be nil.
func Consumers(active *document.Active, user string) (names []string) {
	if active == nil {
		return nil
	}
	for _, w := range active.Webhooks {
		if w.Concerns(user) {
			names = append(names, Prefix+w.ID)
		}
	}
	return names
}

// Queue is what is needed of the queue; *queue.Queue has it.
type Queue interface {
	Consume(ctx context.Context, c queue.Consumer, h queue.Handler) error
	// Ends returns requests with their results, as they lie in the database.
	Ends(ctx context.Context, requests []uuid.UUID) (map[uuid.UUID]queue.View, error)
	// Abandon ends the open tasks of consumers that nobody is any more.
	Abandon(ctx context.Context, prefix string, except []string, note string) (int64, error)
}

// Policy holds the active policy document; *activation.Holder does.
type Policy interface {
	// Active returns nil as long as no document is active.
	Active() *document.Active
	// Changed returns a channel that receives after each activation.
	Changed() <-chan struct{}
}

// Outcomes tell how a request has ended; *proposer.Server does.
type Outcomes interface {
	// Outcome returns the event of a request that has a result, or ErrUnverified.
	Outcome(ctx context.Context, v queue.View) (Event, error)
}

// ErrUnverified says that the signing service did not sign the stored result, or
// not for this request: it is not told to anybody.
var ErrUnverified = errors.New("the stored result is not signed by the signing service")

// Keys make the secret of each webhook, newest first; *secrets.Keyring does.
type Keys interface {
	WebhookSecrets(id string) ([]*secrets.Secret, error)
}

// Event is what a receiver is sent, in the one encoding of package message.
type Event struct {
	// Type is "request." and the status.
	Type string `json:"type"`
	// Timestamp is when the request ended, by the signing service's clock.
	Timestamp message.Time `json:"timestamp"`
	Data      Data         `json:"data"`
}

// Data says how a request has ended. All of it but Result is for convenience.
type Data struct {
	Request string               `json:"request"`
	Kind    message.Kind         `json:"kind"`
	Wallet  string               `json:"wallet"`
	Account string               `json:"account"`
	Status  message.Status       `json:"status"`
	Reasons []message.RoleReason `json:"reasons"`
	// Result is the signing service's signed result, a compact JWS.
	Result string `json:"result"`
}

// End is how one delivery ended, for figures.
type End string

// The ends of deliveries.
const (
	Delivered  End = "delivered"
	Failed     End = "failed"     // it is tried again
	GivenUp    End = "given_up"   // for three days
	Gone       End = "gone"       // the receiver wants it no more
	Unverified End = "unverified" // the stored result is not the signing service's
	Skipped    End = "skipped"    // the webhook does not want this one
)

// Config is everything that the deliveries need.
type Config struct {
	Queue    Queue
	Policy   Policy
	Outcomes Outcomes
	Keys     Keys
	HTTP     HTTP
	// Observe, if set, hears of each end; it must not block.
	Observe func(End)
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default
	// Recheck is how often a request without a result is looked at, and documents
	// for webhooks that were removed; 0: 30 s.
	Recheck time.Duration
	// FirstRetry is the delay after the first failure, from which the others
	// follow; 0: 5 s.
	FirstRetry time.Duration
}

// Service delivers to all webhooks of the active document.
type Service struct {
	Config
	poster *poster
}

// How a webhook's consumer works. A message takes at most postTime, and the
// messages of a batch go out at once, so that the lease outlives it.
const (
	batchSize = 8
	workers   = 2
	lease     = 45 * time.Second
	poll      = 2 * time.Second
)

const defaultRecheck = 30 * time.Second

// New returns the deliveries; Run begins them.
func New(cfg Config) (*Service, error) {
	if cfg.Queue == nil || cfg.Policy == nil || cfg.Outcomes == nil || cfg.Keys == nil {
		return nil, errors.New("webhooks: queue, policy, outcomes or keys are missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(End) {}
	}
	if cfg.Recheck == 0 {
		cfg.Recheck = defaultRecheck
	}
	if cfg.FirstRetry == 0 {
		cfg.FirstRetry = firstRetry
	}
	return &Service{Config: cfg, poster: newPoster(cfg.HTTP)}, nil
}

// Run delivers to the webhooks of the active document, whatever that is at each
// moment, until ctx ends; deliveries under way are brought to their end, or given
// back.
func (s *Service) Run(ctx context.Context) error {
	f := follower{service: s, running: map[string]context.CancelFunc{}}
	defer s.poster.close()
	defer f.consumers.Wait()
	changed := s.Policy.Changed()
	recheck := time.NewTicker(s.Recheck)
	defer recheck.Stop()
	for {
		f.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-recheck.C:
			f.abandon(ctx)
		}
	}
}

// follower keeps one consumer running for each webhook of the active document.
type follower struct {
	service   *Service
	running   map[string]context.CancelFunc
	consumers sync.WaitGroup
	// told is the document that was followed last, settled the one that was active
	// at the last recheck too.
	told, settled message.PolicyRef
}

func (f *follower) follow(ctx context.Context) {
	active := f.service.Policy.Active()
	if active == nil || active.Ref == f.told || ctx.Err() != nil {
		return
	}
	f.told = active.Ref
	for id, stop := range f.running {
		if _, ok := active.Webhook(id); !ok {
			stop()
			delete(f.running, id)
		}
	}
	for _, w := range active.Webhooks {
		if f.running[w.ID] == nil {
			f.start(ctx, w.ID)
		}
	}
}

func (f *follower) start(ctx context.Context, id string) {
	s := f.service
	keys, err := s.Keys.WebhookSecrets(id)
	if err != nil {
		s.Log.Error("webhook is not delivered: its tasks stay", "webhook", id, "error", err)
		return
	}
	ctx, stop := context.WithCancel(ctx)
	f.running[id] = stop
	e := &endpoint{service: s, id: id, keys: keys, log: s.Log.With("webhook", id), stopping: ctx}
	f.consumers.Go(func() {
		defer stop()
		if err := s.Queue.Consume(ctx, consumer(id), e.handle); err != nil {
			s.Log.Error("webhook is not delivered: its tasks stay", "webhook", id, "error", err)
		}
	})
}

func consumer(id string) queue.Consumer {
	return queue.Consumer{
		Name: Prefix + id, Ended: true, Batch: batchSize, Workers: workers, Lease: lease, Poll: poll,
	}
}

// removed is the note of a task whose webhook is gone.
const removed = "the policy document names this webhook no more"

// abandon ends the tasks of webhooks that the document does not name, once it has
// been the active one for a while: at its start an instance may see an older one.
func (f *follower) abandon(ctx context.Context) {
	active := f.service.Policy.Active()
	if active == nil {
		return
	}
	if active.Ref != f.settled {
		f.settled = active.Ref
		return
	}
	names := []string{}
	for _, w := range active.Webhooks {
		names = append(names, Prefix+w.ID)
	}
	n, err := f.service.Queue.Abandon(ctx, Prefix, names, removed)
	if err != nil && ctx.Err() == nil {
		f.service.Log.Warn("ending tasks of removed webhooks failed", "error", err)
	}
	if n > 0 {
		f.service.Log.Warn("tasks of removed webhooks were ended", "tasks", n)
	}
}

// MessageID names a message: the same at each attempt, and of no other request or
// webhook.
func MessageID(request, webhook string) string {
	return strings.Join([]string{request, webhook}, "_")
}
