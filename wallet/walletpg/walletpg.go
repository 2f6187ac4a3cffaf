// Package walletpg keeps sealed wallet and account records in PostgreSQL.
//
// It trusts the database with nothing: a record that was changed, moved or put
// back does not open, which is for the reader to find. It never sees a seed or
// a key.
package walletpg

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet"
)

// Store is a wallet.Store. It is safe for concurrent use. Services other than
// signing may read descriptors only: see package descriptorpg.
type Store struct {
	db *sql.DB

	wallet, account             *database.Statement
	insertWallet, insertAccount *database.Statement
}

var _ wallet.Store = (*Store)(nil)

// New returns the store in a database; transactions handed to it must come
// from db.
func New(db *sql.DB) *Store {
	return &Store{
		db:      db,
		wallet:  database.NewStatement("SELECT descriptor, ciphertext, '' FROM countersign.wallet WHERE id = $1"),
		account: database.NewStatement("SELECT descriptor, ciphertext, wallet_id FROM countersign.account WHERE id = $1"),
		insertWallet: database.NewStatement(`
			INSERT INTO countersign.wallet (id, owner, descriptor, ciphertext)
			VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`),
		insertAccount: database.NewStatement(`
			INSERT INTO countersign.account (id, wallet_id, owner, descriptor, ciphertext)
			VALUES ($1, $5, $2, $3, $4) ON CONFLICT DO NOTHING`),
	}
}

// Wallet implements wallet.Store.
func (s *Store) Wallet(ctx context.Context, id string) (wallet.Record, error) {
	r, err := s.record(ctx, s.wallet, id)
	if err != nil {
		return r, fmt.Errorf("reading wallet %s: %w", id, err)
	}
	return r, nil
}

// Account implements wallet.Store.
func (s *Store) Account(ctx context.Context, id string) (wallet.Record, error) {
	r, err := s.record(ctx, s.account, id)
	if err != nil {
		return r, fmt.Errorf("reading account %s: %w", id, err)
	}
	return r, nil
}

func (s *Store) record(ctx context.Context, query *database.Statement, id string) (wallet.Record, error) {
	stmt, err := query.On(ctx, s.db, nil)
	if err != nil {
		return wallet.Record{}, err
	}
	r := wallet.Record{ID: id}
	err = stmt.QueryRowContext(ctx, id).Scan(&r.Descriptor, &r.Ciphertext, &r.Wallet)
	if errors.Is(err, sql.ErrNoRows) {
		return wallet.Record{}, transaction.ErrNoRecord
	}
	return r, err
}

// InsertWallet implements wallet.Store.
func (s *Store) InsertWallet(ctx context.Context, tx *sql.Tx, r wallet.Record) error {
	if err := s.insert(ctx, tx, s.insertWallet, r); err != nil {
		return fmt.Errorf("inserting wallet %s: %w", r.ID, err)
	}
	return nil
}

// InsertAccount implements wallet.Store.
func (s *Store) InsertAccount(ctx context.Context, tx *sql.Tx, r wallet.Record) error {
	if err := s.insert(ctx, tx, s.insertAccount, r, r.Wallet); err != nil {
		return fmt.Errorf("inserting account %s: %w", r.ID, err)
	}
	return nil
}

func (s *Store) insert(ctx context.Context, tx *sql.Tx, query *database.Statement, r wallet.Record, more ...any) error {
	if tx == nil {
		return errors.New("no transaction")
	}
	stmt, err := query.On(ctx, s.db, tx)
	if err != nil {
		return err
	}
	args := append([]any{r.ID, owner(r.Descriptor), r.Descriptor, r.Ciphertext}, more...)
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return wallet.ErrExists
	}
	return nil
}

// owner reads the owner out of a descriptor for the column that lists use. A
// descriptor without one is listed under nobody.
func owner(descriptor []byte) string {
	var d struct {
		Owner string `json:"owner"`
	}
	if json.Unmarshal(descriptor, &d) != nil {
		return ""
	}
	return d.Owner
}
