package signing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// Bounds of asking again. A role that answers usefully is asked once; one that
// does not is asked ever more rarely, until the request's own time is over.
const (
	firstWait = time.Second
	longWait  = time.Minute
	// stalledAfter is how long a request may lie with replies missing and
	// nobody at work on it: longer than a policy service's own way from task
	// to reply.
	stalledAfter = 2 * time.Second
	stalledLimit = 200
	// maxAsked bounds the memory; the oldest is forgotten and found again as
	// stalled.
	maxAsked = 10_000
	// maxFailures is how often carrying out may fail for reasons that lie in
	// the request or its records before the request ends as failed.
	maxFailures = 5
	// maxRemembered bounds the messages remembered as logged.
	maxRemembered = 10_000
)

// asked remembers which requests wait for an answer of which roles, and how
// often carrying one out has failed. It is memory only: what is lost with it
// is found again as stalled.
type asked struct {
	now  func() time.Time
	mu   sync.Mutex
	open map[uuid.UUID]*question
}

type question struct {
	roles    []string
	times    int
	next     time.Time
	failures int
}

func newAsked(now func() time.Time) *asked {
	return &asked{now: now, open: map[uuid.UUID]*question{}}
}

// ask notes that roles are missing and reports whether to ask them now, rather
// than wait for an answer to the last time.
func (a *asked) ask(id uuid.UUID, roles []string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.get(id)
	unasked := slices.ContainsFunc(roles, func(r string) bool { return !slices.Contains(q.roles, r) })
	q.roles = slices.Clone(roles)
	if !unasked && a.now().Before(q.next) {
		return false
	}
	q.next = a.now().Add(min(firstWait<<min(q.times, 6), longWait))
	q.times++
	return true
}

// get is called with a.mu held.
func (a *asked) get(id uuid.UUID) *question {
	q := a.open[id]
	if q == nil {
		a.makeRoom()
		q = &question{}
		a.open[id] = q
	}
	return q
}

func (a *asked) makeRoom() {
	for id := range a.open {
		if len(a.open) < maxAsked {
			return
		}
		delete(a.open, id) // any one: it is found again as stalled
	}
}

// due lists the requests to be asked for again.
func (a *asked) due() map[uuid.UUID][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[uuid.UUID][]string{}
	for id, q := range a.open {
		if q.times > 0 && !a.now().Before(q.next) {
			out[id] = q.roles
		}
	}
	return out
}

// failed counts a failure and reports whether it was one too many.
func (a *asked) failed(id uuid.UUID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.get(id)
	q.failures++
	return q.failures >= maxFailures
}

// answered says that nothing is missing at the moment.
func (a *asked) answered(id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.open[id]; q != nil {
		q.times, q.roles = 0, nil
	}
}

func (a *asked) forget(id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, id)
}

// askDue asks again for requests whose last answers were of no use. One that
// another instance has ended is forgotten.
func (s *Service) askDue(ctx context.Context) error {
	var faults []error
	for id, roles := range s.asked.due() {
		_, err := s.cfg.Queue.ResultOf(ctx, id)
		switch {
		case err == nil:
			s.asked.forget(id)
		case errors.Is(err, queue.ErrNotFound):
			if s.asked.ask(id, roles) {
				faults = append(faults, s.cfg.Queue.AskAgain(ctx, id, roles))
			}
		default:
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// askStalled asks again where replies for the live epochs are missing and
// nobody is at work: after a restart, or when an epoch has ended.
func (s *Service) askStalled(ctx context.Context) error {
	epochs := s.verifier.Epochs()
	if len(epochs) == 0 || len(s.verifier.Silent()) > 0 {
		return nil // nobody could answer for an epoch of ours
	}
	stalled, err := s.cfg.Queue.Stalled(ctx, s.cfg.Genesis.Roles, epochs, stalledAfter, stalledLimit)
	if err != nil {
		return fmt.Errorf("looking for stalled requests: %w", err)
	}
	var faults []error
	for _, r := range stalled {
		if s.asked.ask(r.Request, r.Missing) {
			faults = append(faults, s.cfg.Queue.AskAgain(ctx, r.Request, r.Missing))
		}
	}
	return errors.Join(faults...)
}

// once remembers messages, so that each is logged once.
type once struct {
	most int
	mu   sync.Mutex
	seen map[message.Hash]bool
}

func newOnce(most int) *once { return &once{most: most, seen: map[message.Hash]bool{}} }

func (o *once) first(sum message.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[sum] {
		return false
	}
	if len(o.seen) >= o.most {
		clear(o.seen)
	}
	o.seen[sum] = true
	return true
}
