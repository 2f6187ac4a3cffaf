package proposer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/transaction"
)

// memory is a queue and a wallet store that the test holds the strings of. It
// passes the same tests as the real ones (see backends).
type memory struct {
	mu        sync.Mutex
	cancelled []uuid.UUID
	views     map[uuid.UUID]queue.View
	ended     map[uuid.UUID]chan struct{}
	wallets   map[string]message.WalletDescriptor
	accounts  map[string]message.AccountDescriptor
	batches   [][]queue.Submission
	consumers []string
	// hold, if set, is received from before each commit; committing is sent to
	// when one begins.
	hold       chan struct{}
	committing chan int
	fault      error
	failures   int  // so many commits fail first
	intended   bool // an intent stands for every request
}

func newMemory() *memory {
	return &memory{
		views: map[uuid.UUID]queue.View{}, ended: map[uuid.UUID]chan struct{}{},
		wallets: map[string]message.WalletDescriptor{}, accounts: map[string]message.AccountDescriptor{},
	}
}

func memoryBackend(t testing.TB) (backend, *memory) {
	m := newMemory()
	return backend{deployment: deploymenttest.New(t), queue: m, wallets: m, db: m}, m
}

func (m *memory) broken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

func (m *memory) breakDown(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func (m *memory) PingContext(context.Context) error { return m.broken() }

func (m *memory) Submit(ctx context.Context, batch []queue.Submission, to queue.Recipients) ([]queue.Outcome, error) {
	if ctx.Done() != nil {
		return nil, errors.New("one caller could end what is submitted for many")
	}
	if m.committing != nil {
		m.committing <- len(batch)
	}
	if m.hold != nil {
		<-m.hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return nil, m.fault
	}
	if m.failures > 0 {
		m.failures--
		return nil, errors.New("connection lost")
	}
	m.batches, m.consumers = append(m.batches, batch), append(slices.Clone(to.Consumers), to.Gatherer)
	out := make([]queue.Outcome, len(batch))
	for i, s := range batch {
		out[i] = m.insert(s)
	}
	return out, nil
}

func (m *memory) insert(s queue.Submission) queue.Outcome {
	if have, ok := m.views[s.ID]; ok {
		if have.Fingerprint == s.Fingerprint && have.Owner == s.Owner {
			return queue.Repeated
		}
		return queue.Conflict
	}
	m.views[s.ID] = queue.View{Submission: s, Submitted: time.Now()}
	m.ended[s.ID] = make(chan struct{})
	return queue.Accepted
}

func (m *memory) Await(ctx context.Context, id uuid.UUID) (queue.Result, error) {
	m.mu.Lock()
	ended := m.ended[id]
	m.mu.Unlock()
	select {
	case <-ended:
		m.mu.Lock()
		defer m.mu.Unlock()
		return *m.views[id].Result, nil
	case <-ctx.Done():
		return queue.Result{}, ctx.Err()
	}
}

// Cancel counts; what comes of it is what the test has stored as the result, or
// says of an intent.
func (m *memory) Cancel(_ context.Context, _ string, id uuid.UUID) (queue.Cancellation, error) {
	if err := m.broken(); err != nil {
		return queue.Cancellation{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancelled = append(m.cancelled, id)
	return queue.Cancellation{Marked: true, TooLate: m.intended}, nil
}

func (m *memory) Get(_ context.Context, id uuid.UUID) (queue.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.views[id]
	if m.fault != nil {
		return v, m.fault
	}
	if !ok {
		return v, queue.ErrNotFound
	}
	return v, nil
}

func (m *memory) List(_ context.Context, f queue.Filter) ([]queue.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []queue.View
	for _, v := range m.views {
		status := "pending"
		if v.Result != nil {
			status = v.Result.Status
		}
		if v.Owner == f.Owner && (f.Status == "" || f.Status == status) && (f.ParkedBy == nil || parked(v, f.ParkedBy)) && (f.Kind == "" || f.Kind == v.Kind) &&
			(f.Wallet == "" || f.Wallet == v.Wallet) && (f.Before == uuid.UUID{} || v.ID.String() < f.Before.String()) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b queue.View) int { return strings.Compare(b.ID.String(), a.ID.String()) })
	return out[:min(len(out), f.Limit)], m.fault
}

// parked says whether one of these has put a request aside.
func parked(v queue.View, by []string) bool {
	return slices.ContainsFunc(v.Tasks, func(t queue.TaskView) bool {
		return t.State == "parked" && slices.Contains(by, t.Consumer)
	})
}

// change edits what the queue holds of a request.
func (m *memory) change(t testing.TB, id string, edit func(*queue.View)) {
	t.Helper()
	key := uuid.MustParse(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.views[key]
	if !ok {
		t.Fatal(errors.New("no such request"))
	}
	had := v.Result != nil
	edit(&v)
	m.views[key] = v
	if v.Result != nil && !had {
		close(m.ended[key])
	}
}

func (m *memory) WalletDescriptor(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.wallets[id]
	if !ok {
		return nil, transaction.ErrNoRecord
	}
	return message.Encode(d)
}

func (m *memory) AccountDescriptor(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.accounts[id]
	if !ok {
		return nil, transaction.ErrNoRecord
	}
	return message.Encode(d)
}

func (m *memory) ListWallets(_ context.Context, f proposer.WalletFilter, after string, limit int) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, d := range m.wallets {
		if (after == "" || id < after) && (f.Any || d.Owner == f.Owner || slices.Contains(f.IDs, id)) {
			ids = append(ids, id)
		}
	}
	return newest(m.wallets, ids, limit), nil
}

func (m *memory) ListAccounts(_ context.Context, wallet, after string, limit int) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, d := range m.accounts {
		if (after == "" || id < after) && d.Wallet == wallet {
			ids = append(ids, id)
		}
	}
	return newest(m.accounts, ids, limit), nil
}

// newest are the first of these records: the fake's newest is the highest.
func newest[R any](records map[string]R, ids []string, limit int) (out [][]byte) {
	slices.Sort(ids)
	slices.Reverse(ids)
	for _, id := range ids[:min(len(ids), limit)] {
		b, _ := message.Encode(records[id])
		out = append(out, b)
	}
	return out
}
