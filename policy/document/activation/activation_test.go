package activation_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
)

// board is an untrusted table of notices.
type board struct {
	mu      sync.Mutex
	rows    []queue.Notice
	err     error
	changed chan struct{}
}

func newBoard() *board { return &board{changed: make(chan struct{}, 1)} }

func (b *board) Notices(_ context.Context, topic string) ([]queue.Notice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if topic != queue.TopicPolicy {
		return nil, errors.New("another topic")
	}
	return append([]queue.Notice{}, b.rows...), b.err
}

func (b *board) Changed(string) <-chan struct{} { return b.changed }

// set replaces all rows, as the database's owner can.
func (b *board) set(t *testing.T, bundles ...message.PolicyBundle) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = nil
	for _, bundle := range bundles {
		raw, err := message.Encode(bundle)
		if err != nil {
			t.Fatal(err)
		}
		b.rows = append(b.rows, queue.Notice{Topic: queue.TopicPolicy, Body: raw})
	}
}

func version(n int) func(*document.Document) {
	return func(doc *document.Document) { doc.Version = n }
}

func refresh(t *testing.T, h *activation.Holder, changed bool, active int) {
	t.Helper()
	got, err := h.Refresh(context.Background())
	if err != nil || got != changed {
		t.Fatalf("refreshed: %v %v, want %v", got, err, changed)
	}
	if a := h.Active(); (a == nil && active != 0) || (a != nil && a.Version != active) {
		t.Fatalf("active is %+v, want version %d", a, active)
	}
}

func TestRefresh(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	refresh(t, h, false, 0)
	b.set(t, d.Policy(nil))
	refresh(t, h, true, 1)
	refresh(t, h, false, 1)
	one := h.Active()
	b.set(t, d.Policy(version(3)), d.Policy(version(2)), d.Policy(nil))
	refresh(t, h, true, 3)
	if one.Version != 1 {
		t.Fatal("a document in use has changed")
	}
}

// TestAttackOlderPolicyPutBack: rows deleted and replaced by earlier ones.
func TestAttackOlderPolicyPutBack(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	b.set(t, d.Policy(version(5)))
	refresh(t, h, true, 5)
	b.set(t, d.Policy(version(4)))
	refresh(t, h, false, 5)
	b.set(t)
	refresh(t, h, false, 5)

	// After a restart the versions seen are remembered by the caller.
	again := activation.New(d.Genesis, d.ID, b, nil)
	again.RequireAtLeast(ref(t, d, 5))
	b.set(t, d.Policy(version(4)))
	refresh(t, again, false, 0)
	b.set(t, d.Policy(version(5)))
	refresh(t, again, true, 5)
	again.RequireAtLeast(ref(t, d, 6))
	if again.Active() != nil {
		t.Fatal("a version below the least stays active")
	}
}

func TestAttackForgedPolicies(t *testing.T) {
	d, other, b := deploymenttest.New(t), deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	few := d.Policy(version(9))
	few.Signatures = few.Signatures[:1]
	b.set(t, few, other.Policy(version(8)), d.Policy(version(1)),
		message.PolicyBundle{Document: []byte("version: 7\n")})
	b.rows = append(b.rows, queue.Notice{Body: []byte("{")}, queue.Notice{})
	refresh(t, h, true, 1)
}

func TestTwoDocumentsOfOneVersion(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	b.set(t, d.Policy(nil))
	refresh(t, h, true, 1)
	ref := h.Active().Ref
	b.set(t, d.Policy(func(doc *document.Document) { deploymenttest.DenyMessages(doc) }))
	refresh(t, h, false, 1)
	if h.Active().Ref != ref {
		t.Fatal("the active document was replaced by one with the same version")
	}
}

// TestSameDocumentWithOtherSignatures is no activation.
func TestSameDocumentWithOtherSignatures(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	bundle := d.Policy(nil)
	b.set(t, bundle)
	refresh(t, h, true, 1)
	b.set(t, d.Sign(bundle.Document, d.Admins...))
	refresh(t, h, false, 1)
}

func TestRefreshError(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	b.set(t, d.Policy(nil))
	refresh(t, h, true, 1)
	b.err = errors.New("database is gone")
	if changed, err := h.Refresh(context.Background()); changed || !errors.Is(err, b.err) || h.Active() == nil {
		t.Fatalf("got %v %v", changed, err)
	}
}

func TestRunFollows(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil)
	activated, second := h.Changed(), h.Changed()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	for n := 1; n <= 3; n++ {
		b.set(t, d.Policy(version(n)))
		b.changed <- struct{}{}
		<-activated
		if got := h.Active().Version; got != n {
			t.Fatalf("active is %d, want %d", got, n)
		}
	}
	<-second
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// ref names the default policy of a version.
func ref(t *testing.T, d *deploymenttest.Deployment, n int) message.PolicyRef {
	t.Helper()
	return d.For(t).Active(version(n)).Ref
}
