package descriptorpg_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet/descriptorpg"
)

// stored is a database with three wallets of two owners and three accounts, each
// stored after the one before.
func stored(t *testing.T) *databasetest.DB {
	t.Helper()
	d := databasetest.New(t)
	for _, row := range []string{"w1 alice", "w2 bob", "w3 alice", "a1 alice w1", "a2 bob w2", "a3 alice w1"} {
		f := strings.Fields(row)
		table, columns, values := "wallet", "", ""
		args := []any{f[0], f[1], fmt.Appendf(nil, `{"id":%q}`, f[0])}
		if len(f) == 3 {
			table, columns, values, args = "account", ", wallet_id", ", $4", append(args, f[2])
		}
		insert := "INSERT INTO countersign." + table + " (id, owner, descriptor, ciphertext" + columns + ") VALUES ($1, $2, $3, 'sealed'" + values + ")"
		if _, err := d.As("signing").Exec(insert, args...); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestEveryServiceReadsDescriptors(t *testing.T) {
	d := stored(t)
	for _, service := range []string{"proposer", "authorization", "fraud", "approval", "signing", "operator"} {
		r := descriptorpg.New(d.As(service))
		if b, err := r.WalletDescriptor(t.Context(), "w1"); err != nil || string(b) != `{"id":"w1"}` {
			t.Errorf("%s: wallet descriptor: %s, %v", service, b, err)
		}
		if b, err := r.AccountDescriptor(t.Context(), "a1"); err != nil || string(b) != `{"id":"a1"}` {
			t.Errorf("%s: account descriptor: %s, %v", service, b, err)
		}
		_, walletErr := r.WalletDescriptor(t.Context(), "none")
		_, accountErr := r.AccountDescriptor(t.Context(), "none")
		if !errors.Is(walletErr, transaction.ErrNoRecord) || !errors.Is(accountErr, transaction.ErrNoRecord) {
			t.Errorf("%s: missing: %v, %v", service, walletErr, accountErr)
		}
	}
}

func TestLists(t *testing.T) {
	s := descriptorpg.New(stored(t).As("proposer"))
	list := func(es []descriptorpg.Entry, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range es {
			out = append(out, e.ID)
		}
		return fmt.Sprint(out)
	}
	for _, c := range []struct{ name, got, want string }{
		{"all", list(s.ListWallets(t.Context(), descriptorpg.Page{All: true})), "[w3 w2 w1]"},
		{"owned", list(s.ListWallets(t.Context(), descriptorpg.Page{Owner: "alice"})), "[w3 w1]"},
		{"owned-and-granted", list(s.ListWallets(t.Context(), descriptorpg.Page{Owner: "alice", IDs: []string{"w2"}})), "[w3 w2 w1]"},
		{"nobody", list(s.ListWallets(t.Context(), descriptorpg.Page{})), "[]"},
		{"page", list(s.ListWallets(t.Context(), descriptorpg.Page{All: true, Limit: 2})), "[w3 w2]"},
		{"next-page", list(s.ListWallets(t.Context(), descriptorpg.Page{All: true, After: "w2"})), "[w1]"},
		{"accounts", list(s.ListAccounts(t.Context(), "w1", descriptorpg.Page{All: true})), "[a3 a1]"},
		{"accounts-of-another", list(s.ListAccounts(t.Context(), "w1", descriptorpg.Page{Owner: "bob"})), "[]"},
		{"accounts-granted", list(s.ListAccounts(t.Context(), "w1", descriptorpg.Page{Owner: "bob", IDs: []string{"w1"}})), "[a3 a1]"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}
