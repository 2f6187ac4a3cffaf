// Package activation keeps the policy document that is active: the one with
// the highest version that this process has verified by the quorum of the
// genesis document's admins.
//
// It trusts the genesis document alone. Where the documents come from is not
// trusted: what does not verify is passed over, and an older version that is
// put back changes nothing, for this process never goes back.
package activation

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
)

// poll is how often documents are looked for without being woken: a lost
// wake-up delays a new policy by no more.
const poll = 5 * time.Second

// maxRemembered bounds the memory for documents that were looked at already.
// More than these are looked at again, which costs time only.
const maxRemembered = 1024

// Notices reads the policy bundles that were published, and says when to look
// again. *queue.Queue is one.
type Notices interface {
	Notices(ctx context.Context, topic string) ([]queue.Notice, error)
	Changed(topic string) <-chan struct{}
}

// Holder holds the active document. It is safe for concurrent use.
type Holder struct {
	genesis    message.Genesis
	deployment message.Hash
	notices    Notices
	log        *slog.Logger

	refresh sync.Mutex // one refresh at a time
	seen    map[message.Hash]bool

	mu      sync.RWMutex
	active  *document.Active
	floor   int
	changed []chan struct{}
}

// New returns a holder without an active document.
func New(genesis message.Genesis, deployment message.Hash, notices Notices, log *slog.Logger) *Holder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Holder{
		genesis: genesis, deployment: deployment, notices: notices, log: log,
		seen: map[message.Hash]bool{},
	}
}

// Active returns the active document; nil before version 1.
func (h *Holder) Active() *document.Active {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.active
}

// RequireAtLeast makes versions below the given one unacceptable, also at the
// start: the caller remembers which versions it has seen.
func (h *Holder) RequireAtLeast(version int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = max(h.floor, version)
	if h.active != nil && h.active.Version < h.floor {
		h.active = nil
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

// Refresh reads the published documents and activates the highest verified
// version, if that is above the active one. It says whether that happened.
func (h *Holder) Refresh(ctx context.Context) (bool, error) {
	h.refresh.Lock()
	defer h.refresh.Unlock()
	notices, err := h.notices.Notices(ctx, queue.TopicPolicy)
	if err != nil {
		return false, fmt.Errorf("reading policy documents: %w", err)
	}
	changed := false
	for _, n := range notices {
		sum := message.Sum(n.Body)
		if h.seen[sum] {
			continue
		}
		if len(h.seen) >= maxRemembered {
			clear(h.seen)
		}
		h.seen[sum] = true
		if h.offer(n.Body) {
			changed = true
		}
	}
	if changed {
		h.wake()
	}
	return changed, nil
}

// offer verifies one bundle and activates it if it is newer. What fails is
// logged and left: anybody can write into the table.
func (h *Holder) offer(body []byte) bool {
	var bundle message.PolicyBundle
	if err := message.Decode(body, &bundle); err != nil {
		h.log.Warn("policy document refused", "error", err)
		return false
	}
	a, err := document.VerifyBundle(bundle, h.genesis, h.deployment)
	if err != nil {
		h.log.Warn("policy document refused", "error", err)
		return false
	}
	return h.activate(a)
}

func (h *Holder) activate(a *document.Active) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case a.Version < h.floor:
		h.log.Warn("policy document is older than one seen before", "version", a.Version, "least", h.floor)
		return false
	case h.active != nil && a.Version == h.active.Version && a.Ref != h.active.Ref:
		// The quorum has signed two documents with one number. The first one
		// stands here; approvals name the hash, so that services that hold
		// different ones sign nothing together.
		h.log.Error("two signed policy documents have one version", "version", a.Version)
		return false
	case h.active != nil && a.Version <= h.active.Version:
		return false
	}
	h.active, h.floor = a, a.Version
	h.log.Info("policy document activated", "version", a.Version, "hash", a.Ref.Hash.String())
	return true
}

func (h *Holder) wake() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, c := range h.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Run refreshes whenever documents were published, and now and then besides,
// until ctx ends. Errors are logged and tried again: the active document stays.
func (h *Holder) Run(ctx context.Context) error {
	published := h.notices.Changed(queue.TopicPolicy)
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
		case <-ticker.C:
		}
	}
}
