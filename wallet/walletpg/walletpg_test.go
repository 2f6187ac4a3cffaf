package walletpg_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet"
	"github.com/countersign/countersign/wallet/walletpg"
)

// inserted runs insert in a transaction of its own.
func inserted(t *testing.T, db *sql.DB, insert func(*sql.Tx) error) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := insert(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func record(id, wallet, owner string) stored {
	return stored{ID: id, Wallet: wallet, Descriptor: fmt.Appendf(nil, `{"id":%q,"owner":%q}`, id, owner), Ciphertext: []byte("sealed " + id)}
}

type stored = wallet.Record

func TestStore(t *testing.T) {
	d := databasetest.New(t)
	s := walletpg.New(d.As("signing"))
	w, a := record("w1", "", "alice"), record("a1", "w1", "alice")
	insert := func(tx *sql.Tx) error {
		return errors.Join(s.InsertWallet(t.Context(), tx, w), s.InsertAccount(t.Context(), tx, a))
	}
	if err := inserted(t, d.As("signing"), insert); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Wallet(t.Context(), "w1"); err != nil || fmt.Sprint(got) != fmt.Sprint(w) {
		t.Errorf("wallet %v, %v", got, err)
	}
	if got, err := s.Account(t.Context(), "a1"); err != nil || fmt.Sprint(got) != fmt.Sprint(a) {
		t.Errorf("account %v, %v", got, err)
	}
	other := w
	other.Ciphertext = []byte("another seed")
	err := inserted(t, d.As("signing"), func(tx *sql.Tx) error { return s.InsertWallet(t.Context(), tx, other) })
	if !errors.Is(err, wallet.ErrExists) {
		t.Errorf("second wallet under one id: %v", err)
	}
	err = inserted(t, d.As("signing"), func(tx *sql.Tx) error { return s.InsertAccount(t.Context(), tx, a) })
	if !errors.Is(err, wallet.ErrExists) {
		t.Errorf("second account under one id: %v", err)
	}
	if got, _ := s.Wallet(t.Context(), "w1"); string(got.Ciphertext) != string(w.Ciphertext) {
		t.Error("the first wallet does not stand")
	}
}

func TestMissing(t *testing.T) {
	s := walletpg.New(databasetest.New(t).As("signing"))
	_, walletErr := s.Wallet(t.Context(), "none")
	_, accountErr := s.Account(t.Context(), "none")
	for i, err := range []error{walletErr, accountErr} {
		if !errors.Is(err, transaction.ErrNoRecord) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Policy services and the proposer never read ciphertexts.
func TestOthersReadNothingSealed(t *testing.T) {
	d := databasetest.New(t)
	signing := walletpg.New(d.As("signing"))
	if err := inserted(t, d.As("signing"), func(tx *sql.Tx) error {
		return errors.Join(signing.InsertWallet(t.Context(), tx, record("w1", "", "alice")),
			signing.InsertAccount(t.Context(), tx, record("a1", "w1", "alice")))
	}); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"proposer", "authorization", "fraud", "approval"} {
		s := walletpg.New(d.As(service))
		if _, err := s.Wallet(t.Context(), "w1"); err == nil {
			t.Errorf("%s reads a sealed seed", service)
		}
		if _, err := s.Account(t.Context(), "a1"); err == nil {
			t.Errorf("%s reads a sealed account key", service)
		}
	}
}
