package policy

import (
	"context"
	"sync"
	"time"

	"github.com/countersign/countersign/transaction"
)

// Descriptors are immutable once they are there, so that a short memory saves
// a round trip per request. It is short, so that a false one, put in by
// somebody who writes the database, does not outlive its correction for long:
// it opens nothing in any case.
const (
	descriptorsKept = time.Minute
	maxDescriptors  = 4096
	// maxDescriptor is the size in bytes beyond which nothing is remembered:
	// ours have about 1 KiB, and anybody could have written the row.
	maxDescriptor = 8 << 10
	// maxAccounts is how many decoded account descriptors are remembered; each
	// holds some 2 KiB. A decoded form depends on the bytes alone, so that it
	// need not be forgotten.
	maxAccounts = 1024
)

// descriptors remembers what the store returned. Errors are not remembered.
type descriptors struct {
	store transaction.Descriptors
	now   func() time.Time

	mu       sync.Mutex
	wallets  map[string][]byte
	accounts map[string][]byte
	since    time.Time
}

func newDescriptors(store transaction.Descriptors, now func() time.Time) *descriptors {
	return &descriptors{store: store, now: now, wallets: map[string][]byte{}, accounts: map[string][]byte{}}
}

// WalletDescriptor returns the stored bytes, at most a minute old.
func (d *descriptors) WalletDescriptor(ctx context.Context, id string) ([]byte, error) {
	return d.get(ctx, d.wallets, id, d.store.WalletDescriptor)
}

// AccountDescriptor returns the stored bytes, at most a minute old.
func (d *descriptors) AccountDescriptor(ctx context.Context, id string) ([]byte, error) {
	return d.get(ctx, d.accounts, id, d.store.AccountDescriptor)
}

func (d *descriptors) get(ctx context.Context, known map[string][]byte, id string, read func(context.Context, string) ([]byte, error)) ([]byte, error) {
	if b := d.recall(known, id); b != nil {
		return b, nil
	}
	b, err := read(ctx, id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(known) < maxDescriptors && len(b) <= maxDescriptor {
		known[id] = b
	}
	return b, nil
}

// recall forgets everything once a minute.
func (d *descriptors) recall(known map[string][]byte, id string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.now(); now.Sub(d.since) >= descriptorsKept || now.Before(d.since) {
		clear(d.wallets)
		clear(d.accounts)
		d.since = now
	}
	return known[id]
}
