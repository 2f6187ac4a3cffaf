// Package activation keeps the policy document that is active: the newest one of
// a succession that begins with the genesis document's admins. Each document is
// signed by the admins in force, and may name those of the next.
//
// It trusts the genesis document, its clock, and the floor that its caller
// remembers. Where the documents come from is not trusted: what does not verify
// is passed over, and an older version that is put back changes nothing, for
// this process never goes back.
package activation

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
)

// poll is how often documents are looked for without being woken: a lost
// wake-up delays a new policy by no more.
const poll = 5 * time.Second

// Notices reads the policy bundles that were published, and says when to look
// again. *queue.Queue is one.
type Notices interface {
	Notices(ctx context.Context, topic string) ([]queue.Notice, error)
	Changed(topic string) <-chan struct{}
}

// Files reads one notice: the file of a list. *queue.Queue is one.
type Files interface {
	Notice(ctx context.Context, topic, key string) (queue.Notice, error)
}

// Option is something that not every service needs.
type Option func(*Holder)

// WithClock sets the clock by which documents expire; without it time.Now.
func WithClock(now func() time.Time) Option { return func(h *Holder) { h.now = now } }

// WithFiles says where the files of lists are. A service without it, which looks
// nothing up in lists, activates documents without their files.
func WithFiles(files Files) Option { return func(h *Holder) { h.files = files } }

// WithCheck sets what else must hold of a document before it is active, such as
// that its rules compile. Its answer for a document must always be the same. The
// files are attached by then; without WithFiles, a document that names some
// fails.
func WithCheck(check func(*document.Active) error) Option {
	return func(h *Holder) { h.check = check }
}

// Holder holds the active document. It is safe for concurrent use.
type Holder struct {
	genesis    message.Genesis
	deployment message.Hash
	notices    Notices
	files      Files                        // nil: none are needed
	check      func(*document.Active) error // nil: all are good
	now        func() time.Time
	log        *slog.Logger

	refresh sync.Mutex // one refresh at a time; guards what only that touches
	looked  map[message.Hash]int
	waiting []*document.Active // accepted, newer than the active one, not yet in use
	fetched document.Lists
	said    string            // the last complaint about files
	told    message.PolicyRef // what was active when Changed was last told

	again   chan struct{} // asks Run for a refresh
	expired atomic.Bool   // that the document has expired was logged

	mu      sync.RWMutex
	past    past
	active  *document.Active // the newest accepted one that can be used
	floor   message.PolicyRef
	changed []chan struct{}
}

// New returns a holder without an active document.
func New(genesis message.Genesis, deployment message.Hash, notices Notices, log *slog.Logger, options ...Option) *Holder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Holder{
		genesis: genesis, deployment: deployment, notices: notices, log: log, now: time.Now,
		looked: map[message.Hash]int{}, fetched: document.Lists{}, again: make(chan struct{}, 1),
		past: newPast(genesis, 1),
	}
	for _, option := range options {
		option(h)
	}
	return h
}

// Active returns the active document; nil before version 1, where the newest one
// has expired, and where the floor has not been reached.
func (h *Holder) Active() *document.Active {
	h.mu.RLock()
	active, head, allowed := h.active, h.past.head, h.past.holds(h.floor)
	h.mu.RUnlock()
	if active == nil || !allowed {
		return nil
	}
	if now := h.now(); active.Expired(now) || overtaken(head, now) {
		if h.expired.CompareAndSwap(false, true) {
			h.log.Error("the policy document has expired: nothing is decided any more", "version", head.Ref.Version)
		}
		return nil
	}
	if h.expired.Load() { // by a clock that was wrong
		h.expired.Store(false)
	}
	return active
}

// overtaken says whether the newest document has expired that was accepted,
// whether or not it can be used: what it replaced does not count again.
func overtaken(head *document.Signed, now time.Time) bool {
	return !head.Expires.IsZero() && !now.Before(head.Expires.Time)
}

// Quorum returns the admins who sign the version after the newest that was
// accepted.
func (h *Holder) Quorum() document.Quorum {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.past.next
}

// Signers returns the admins who were to sign the newest document that was
// accepted: another bundle of it is judged by them.
func (h *Holder) Signers() document.Quorum {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.past.before
}

// Newest returns the newest document that was accepted, whether or not it can be
// used; zero before version 1.
func (h *Holder) Newest() message.PolicyRef {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.past.newest()
}

// RequireAtLeast makes a document the floor: nothing is active until it was
// accepted, and of its version and above nothing is accepted but itself and what
// comes after it. The caller remembers which one it has seen. So admins whom
// that document, or one before it, removed cannot sign another history for a
// process that is not shown it. A floor only rises.
func (h *Holder) RequireAtLeast(floor message.PolicyRef) {
	h.mu.Lock()
	if floor.Version > h.floor.Version {
		h.floor = floor
		h.past.round++
	}
	reached := h.past.holds(h.floor)
	h.mu.Unlock()
	if !reached {
		select {
		case h.again <- struct{}{}:
		default:
		}
	}
}

// Changed returns a channel that receives after each activation; several
// activations that were not received are one. Each caller gets its own.
func (h *Holder) Changed() <-chan struct{} {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = append(h.changed, c)
	return c
}

// Refresh reads the published documents, accepts those that follow, and activates
// the newest that can be used. It says whether another one is active now than
// after the last time.
func (h *Holder) Refresh(ctx context.Context) (bool, error) {
	h.refresh.Lock()
	defer h.refresh.Unlock()
	notices, err := h.notices.Notices(ctx, queue.TopicPolicy)
	if err != nil {
		return false, fmt.Errorf("reading policy documents: %w", err)
	}
	h.startAnew()
	h.walk(notices)
	h.activate(ctx)
	return h.tell(), nil
}

// tell wakes whoever follows where another document is active than before.
func (h *Holder) tell() bool {
	var now message.PolicyRef
	if a := h.Active(); a != nil {
		now = a.Ref
	}
	changed := now != h.told && now != (message.PolicyRef{})
	h.told = now
	if !changed {
		return false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return true
}

// Run refreshes whenever documents or files were published, and now and then
// besides, until ctx ends. Errors are logged and tried again: the active
// document stays.
func (h *Holder) Run(ctx context.Context) error {
	published := h.notices.Changed(queue.TopicPolicy)
	var files <-chan struct{}
	if h.files != nil {
		files = h.notices.Changed(queue.TopicList)
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		if _, err := h.Refresh(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("refreshing policy failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-published:
		case <-files:
		case <-h.again:
		case <-ticker.C:
		}
	}
}
