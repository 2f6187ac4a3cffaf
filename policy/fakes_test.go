package policy_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	realclock "github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/transaction"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// watch goes by the clock alone: nothing tells that it is set.
func (c *clock) watch() *realclock.Watch { return &realclock.Watch{Now: c.Now} }

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// policies is a holder that tests fill.
type policies struct {
	mu     sync.Mutex
	active *document.Active
	least  int
	// deployment is whose documents are examined.
	deployment *deploymenttest.Deployment
	looked     int
}

func (p *policies) Active() *document.Active {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active != nil && p.active.Version < p.least {
		return nil
	}
	return p.active
}

func (p *policies) Refresh(context.Context) (bool, error) { return false, nil }

func (p *policies) RequireAtLeast(floor message.PolicyRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least = max(p.least, floor.Version)
}

// Examine knows no files and no rules.
func (p *policies) Examine(_ context.Context, bundle message.PolicyBundle) error {
	p.mu.Lock()
	p.looked++
	p.mu.Unlock()
	next, err := document.VerifyBundle(bundle, p.deployment.Genesis, p.deployment.ID)
	if err == nil && next.Version <= p.Active().Version {
		return activation.ErrOld
	}
	return err
}

// examined returns how many documents were.
func (p *policies) examined() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looked
}

func (p *policies) set(a *document.Active) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = a
}

// fakeQueue hands a test's tasks to the handler, and keeps notices in memory.
// The real queue is played by TestOverTheRealQueue.
type fakeQueue struct {
	mu       sync.Mutex
	notices  map[string][]queue.Notice
	refuse   func(queue.Notice) error // of Publish
	changed  chan struct{}
	consumer chan consuming
	unparked []uuid.UUID
	said     []queue.Reply
}

type consuming struct {
	queue.Consumer
	handler queue.Handler
}

func newFakeQueue() *fakeQueue {
	return &fakeQueue{
		notices: map[string][]queue.Notice{}, changed: make(chan struct{}, 1), consumer: make(chan consuming, 1),
	}
}

func (q *fakeQueue) Consume(ctx context.Context, c queue.Consumer, h queue.Handler) error {
	q.consumer <- consuming{c, h}
	<-ctx.Done()
	return ctx.Err()
}

func (q *fakeQueue) Unpark(_ context.Context, _ string, request uuid.UUID) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unparked = append(q.unparked, request)
	return nil
}

func (q *fakeQueue) Say(_ context.Context, _ string, _ uuid.UUID, r queue.Reply) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.said = append(q.said, r)
	return nil
}

func (q *fakeQueue) Publish(_ context.Context, n queue.Notice) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		if err := q.refuse(n); err != nil {
			return err
		}
	}
	q.notices[n.Topic] = append(q.notices[n.Topic], n)
	return nil
}

func (q *fakeQueue) Notices(_ context.Context, topic string) ([]queue.Notice, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.notices[topic]), nil
}

func (q *fakeQueue) Changed(string) <-chan struct{} { return q.changed }

func (q *fakeQueue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// deciderFunc is a decider without state.
type deciderFunc func(policy.Request) (policy.Decision, error)

func (f deciderFunc) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	return f(r)
}

func always(v policy.Verdict) deciderFunc {
	return func(policy.Request) (policy.Decision, error) {
		d := policy.Decision{Verdict: v}
		if v == policy.Reject {
			d.Reasons = []message.Reason{{Code: "test_rejects"}}
		}
		return d, nil
	}
}

// none has no descriptors.
type none struct{}

func (none) WalletDescriptor(context.Context, string) ([]byte, error) {
	return nil, transaction.ErrNoRecord
}

func (none) AccountDescriptor(context.Context, string) ([]byte, error) {
	return nil, transaction.ErrNoRecord
}
