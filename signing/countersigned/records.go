package countersigned

import (
	"context"
	"sync"

	"github.com/countersign/countersign/wallet"
)

// records reads sealed records through memory. A record is never updated, so
// one that was good stays good; one that was not - the database may say
// anything once - is forgotten as soon as something does not fit.
type records struct {
	store wallet.Store
	most  int

	mu   sync.Mutex
	kept map[recordKey]wallet.Record
}

type recordKey struct{ table, id string }

const (
	tableWallet  = "wallet"
	tableAccount = "account"
)

func newRecords(store wallet.Store, most int) *records {
	return &records{store: store, most: most, kept: map[recordKey]wallet.Record{}}
}

// WalletDescriptor implements transaction.Descriptors.
func (r *records) WalletDescriptor(ctx context.Context, id string) ([]byte, error) {
	record, err := r.wallet(ctx, id)
	return record.Descriptor, err
}

// AccountDescriptor implements transaction.Descriptors.
func (r *records) AccountDescriptor(ctx context.Context, id string) ([]byte, error) {
	record, err := r.account(ctx, id)
	return record.Descriptor, err
}

func (r *records) wallet(ctx context.Context, id string) (wallet.Record, error) {
	return r.read(ctx, recordKey{tableWallet, id}, r.store.Wallet)
}

func (r *records) account(ctx context.Context, id string) (wallet.Record, error) {
	return r.read(ctx, recordKey{tableAccount, id}, r.store.Account)
}

func (r *records) read(ctx context.Context, key recordKey, load func(context.Context, string) (wallet.Record, error)) (wallet.Record, error) {
	r.mu.Lock()
	record, ok := r.kept[key]
	r.mu.Unlock()
	if ok {
		return record, nil
	}
	record, err := load(ctx, key.id)
	if err != nil {
		return wallet.Record{}, err
	}
	if len(record.Descriptor)+len(record.Ciphertext) > maxRecord {
		return record, nil // no record of ours is that large
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.kept {
		if len(r.kept) < r.most {
			break
		}
		delete(r.kept, k) // any one: map order is as good as another
	}
	r.kept[key] = record
	return record, nil
}

// forget drops what is kept of a wallet and an account.
func (r *records) forget(walletID, accountID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kept, recordKey{tableWallet, walletID})
	delete(r.kept, recordKey{tableAccount, accountID})
}
