package countersigned_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch/scratchtest"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/wallet"
)

var errFault = errors.New("a fault of the test's")

// faulty is a chain, and a seed source, that fails where a test says so.
type faulty struct {
	transaction.Chain
	address, assemble, seed error
	seedSize                int
}

func (f *faulty) Address(chain, curve string, public []byte) (string, error) {
	if f.address != nil {
		return "", f.address
	}
	return f.Chain.Address(chain, curve, public)
}

func (f *faulty) Assemble(tx transaction.Transaction, a message.AccountDescriptor, s [][]byte) (jsontext.Value, error) {
	if f.assemble != nil {
		return nil, f.assemble
	}
	return f.Chain.Assemble(tx, a, s)
}

func (f *faulty) NewSeed(ctx context.Context, seedType string) (*secrets.Secret, error) {
	seed, err := wallet.NewSoftwareSource().NewSeed(ctx, seedType)
	if err != nil || f.seed != nil {
		seed.Wipe()
		return nil, errors.Join(err, f.seed)
	}
	defer seed.Wipe()
	return secrets.NewSecret(seed.Bytes()[:f.seedSize]), nil
}

// TestKeysAreWipedAfterEveryRequest: of the shares, the sealing keys, the seed
// and the account key nothing is left when a request was carried out, and nothing
// when that failed, wherever it did.
func TestKeysAreWipedAfterEveryRequest(t *testing.T) {
	const (
		openShares, newSeed     = "countersigned.(*Request).openShares", "countersigned_test.(*faulty).NewSeed"
		openSeed, openKey, seal = "wallet.OpenSeed", "wallet.OpenKey", "wallet.Seal"
		derive, sign            = "wallet.(*Seed).Derive", "wallet.(*Key).signSecp256k1"
	)
	create, account, transfer := (*world).walletCreate, (*world).accountCreate, (*world).transfer
	damage := func(w *world) {
		for _, table := range []map[string]wallet.Record{w.store.wallets, w.store.accounts} {
			for id, r := range table {
				r.Ciphertext = append([]byte{r.Ciphertext[0] ^ 1}, r.Ciphertext[1:]...)
				table[id] = r
			}
		}
	}
	tests := map[string]struct {
		ask   func(*world) policytest.Asked
		fault func(*world, *faulty)
		by    []string
	}{
		"wallet-create":               {create, nil, []string{openShares, newSeed, seal}},
		"account-create":              {account, nil, []string{openShares, openSeed, derive, seal}},
		"transfer":                    {transfer, nil, []string{openShares, openKey, sign}},
		"fail/no-seed":                {create, func(_ *world, f *faulty) { f.seed = errFault }, []string{openShares}},
		"fail/seed-of-another-length": {create, func(_ *world, f *faulty) { f.seedSize = 32 }, []string{openShares, newSeed}},
		"fail/seed-does-not-open":     {account, func(w *world, _ *faulty) { damage(w) }, []string{openShares, openSeed}},
		"fail/no-address":             {account, func(_ *world, f *faulty) { f.address = errFault }, []string{openShares, derive}},
		"fail/key-does-not-open":      {transfer, func(w *world, _ *faulty) { damage(w) }, []string{openShares, openKey}},
		"fail/not-assembled":          {transfer, func(_ *world, f *faulty) { f.assemble = errFault }, []string{openShares, sign}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.needAccount()
			f := &faulty{Chain: ethereum.New(), seedSize: wallet.SeedSize}
			w.replace(f)
			asked := tt.ask(w)
			if tt.fault != nil {
				tt.fault(w, f)
			}
			finding := w.verify(asked, w.approvals(asked, ""))
			wantWiped(t, finding.Request, tt.fault == nil, tt.by...)
		})
	}
}

// replace has the world's instance be one that fails where f does.
func (w *world) replace(f *faulty) {
	w.t.Helper()
	w.v = w.verifier("signing-2", func(c *countersigned.Config) {
		c.Seeds, c.Interpreter.Chains = f, map[string]transaction.Chain{"eip155": f}
	})
	w.open()
	for _, role := range w.d.Genesis.Roles {
		w.roles[role] = policytest.New(w.t, w.d, role)
	}
	w.announceAll()
}

func wantWiped(t *testing.T, r *countersigned.Request, ok bool, by ...string) {
	t.Helper()
	_, err := r.Intent()
	must(t, err)
	scratchtest.WantNone(t, func() {
		if _, err := r.CarryOut(t.Context()); (err == nil) != ok {
			t.Errorf("carried out: %v", err)
		}
	}, by...)
}

// TestOpenedSharesAreWipedWhenAnotherDoesNotOpen: the signing service's own
// share, and those of the roles before the one that fails.
func TestOpenedSharesAreWipedWhenAnotherDoesNotOpen(t *testing.T) {
	for _, role := range []string{"authorization", "approval"} {
		t.Run("fail/"+role, func(t *testing.T) {
			w := newWorld(t)
			asked := w.transfer()
			f := w.verify(asked, w.approvals(asked, role, func(a *message.Approval, at *message.Attachment) {
				flip(at)
				a.Epochs = w.roles[role].Named(at.Shares)
			}))
			wantWiped(t, f.Request, false, "countersigned.(*Request).openShares")
		})
	}
}

// TestChannelsAreWiped: of an epoch's channels nothing is left when it is over,
// and nothing of one key's when that has expired.
func TestChannelsAreWiped(t *testing.T) {
	const received = "hpkeshare.Receive"
	for name, end := range map[string]func(*world){
		"epoch-expired": func(w *world) { w.clock.advance(countersigned.MaxLifetime); w.v.Sweep() },
		"epoch-expired-by-the-monotonic-clock": func(w *world) {
			w.clock.advance(countersigned.MaxLifetime)
			w.clock.set(-countersigned.MaxLifetime)
			w.v.Sweep()
		},
		"keys-expired":   func(w *world) { w.clock.advance(policytest.Lifetime); w.v.Sweep() },
		"another-policy": func(w *world) { w.activate(func(d *document.Document) { d.Version = 2 }); w.v.Sweep() },
		"orderly-stop":   func(w *world) { w.v.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := bareWorld(t)
			left := scratchtest.Left(t, func() {
				w.open()
				w.announceAll()
				end(w)
			}, received)
			for _, by := range left {
				if strings.Contains(by, received) {
					t.Errorf("not wiped: %s", by)
				}
			}
		})
	}
}
