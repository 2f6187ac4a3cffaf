package wallet_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/wallet"
)

var roles = []string{"authorization", "fraud", "approval"}

// fixture is one sealed record with everything that opens it.
type fixture struct {
	sealing    wallet.Sealing
	own        *secrets.Secret
	shares     wallet.Shares
	account    message.AccountDescriptor // of an account record
	descriptor []byte
	ciphertext []byte
}

// holders are the keys that shares are made from.
type holders struct {
	wallet *secrets.Secret
	role   map[string]*secrets.Secret
}

func newHolders() holders {
	h := holders{wallet: secrets.Generate(), role: map[string]*secrets.Secret{}}
	for _, r := range roles {
		h.role[r] = secrets.Generate()
	}
	return h
}

func (h holders) shares(tb testing.TB, scope message.Scope, id string) (*secrets.Secret, wallet.Shares) {
	tb.Helper()
	own, err := wallet.NewShare(h.wallet, scope, id)
	if err != nil {
		tb.Fatal(err)
	}
	out := wallet.Shares{}
	for r, key := range h.role {
		if out[r], err = wallet.NewShare(key, scope, id); err != nil {
			tb.Fatal(err)
		}
	}
	return own, out
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := message.Encode(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

var deployment = message.Sum([]byte("deployment"))

func walletDescriptor(id message.Hash) message.WalletDescriptor {
	return message.WalletDescriptor{
		Version: message.Version, Deployment: deployment, ID: id.String(), Owner: "alice",
		Roles: roles, Generation: 1, SeedType: "raw", Source: "software", Create: id,
	}
}

func accountDescriptor(id, walletID message.Hash, public []byte) message.AccountDescriptor {
	return message.AccountDescriptor{
		Version: message.Version, Deployment: deployment, ID: id.String(), Owner: "alice",
		Roles: roles, Generation: 1, SeedType: "raw", Source: "software", Create: id,
		Wallet: walletID.String(), WalletHash: message.Sum([]byte("wallet descriptor")),
		Chain: "eip155:1", Curve: wallet.CurveSecp256k1, Path: "m/44'/60'/0'/0/0",
		PublicKey: public, Address: "0x00",
	}
}

func sealedSeed(tb testing.TB, h holders, name string) fixture {
	tb.Helper()
	id := message.Sum([]byte(name))
	f := fixture{
		sealing:    wallet.Sealing{Deployment: deployment, Roles: roles, Scope: message.ScopeSeed, ID: id.String(), Generation: 1},
		descriptor: encode(tb, walletDescriptor(id)),
	}
	f.own, f.shares = h.shares(tb, message.ScopeSeed, id.String())
	seed, err := wallet.NewSoftwareSource().NewSeed(tb.Context(), "raw")
	if err != nil {
		tb.Fatal(err)
	}
	if f.ciphertext, err = wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, seed); err != nil {
		tb.Fatal(err)
	}
	return f
}

func sealedAccount(tb testing.TB, h holders, name string) fixture {
	tb.Helper()
	id := message.Sum([]byte(name))
	key, err := wallet.NewSeedForTest(bytes.Repeat([]byte(name), 64)[:64]).Derive(wallet.CurveSecp256k1, "m/44'/60'/0'/0/0")
	if err != nil {
		tb.Fatal(err)
	}
	f := fixture{
		sealing: wallet.Sealing{Deployment: deployment, Roles: roles, Scope: message.ScopeAccount, ID: id.String(), Generation: 1},
		account: accountDescriptor(id, message.Sum([]byte("w")), key.PublicKey()),
	}
	f.descriptor = encode(tb, f.account)
	f.own, f.shares = h.shares(tb, message.ScopeAccount, id.String())
	if f.ciphertext, err = key.Seal(f.sealing, f.own, f.shares, f.descriptor); err != nil {
		tb.Fatal(err)
	}
	return f
}

// open opens whichever record the fixture is.
func (f fixture) open() error {
	if f.sealing.Scope == message.ScopeSeed {
		s, err := wallet.OpenSeed(f.sealing, f.own, f.shares, f.descriptor, f.ciphertext)
		s.Wipe()
		return err
	}
	k, err := wallet.OpenKey(f.sealing, f.own, f.shares, f.account, f.descriptor, f.ciphertext)
	k.Wipe()
	return err
}

// copy lets a test change one thing.
func (f fixture) copy() fixture {
	f.shares = wallet.Shares{}
	f.descriptor, f.ciphertext = bytes.Clone(f.descriptor), bytes.Clone(f.ciphertext)
	f.sealing.Roles = slices.Clone(f.sealing.Roles)
	return f
}

func (f fixture) with(change func(*fixture)) fixture {
	out := f.copy()
	for r, s := range f.shares {
		out.shares[r] = s
	}
	change(&out)
	return out
}

func mustNotOpen(t *testing.T, f fixture) {
	t.Helper()
	if err := f.open(); !errors.Is(err, wallet.ErrSealed) {
		t.Errorf("error is %v, want ErrSealed", err)
	}
}

// both runs a test on a sealed seed and on a sealed account key; other is a
// second record under the same holders' keys.
func both(t *testing.T, run func(t *testing.T, f, other fixture, h holders)) {
	t.Helper()
	h := newHolders()
	t.Run("seed", func(t *testing.T) { run(t, sealedSeed(t, h, "one"), sealedSeed(t, h, "two"), h) })
	t.Run("account", func(t *testing.T) { run(t, sealedAccount(t, h, "one"), sealedAccount(t, h, "two"), h) })
}

func TestSealedRecordOpens(t *testing.T) {
	both(t, func(t *testing.T, f, other fixture, _ holders) {
		for _, f := range []fixture{f, other} {
			if err := f.open(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAttackOneShareMissing(t *testing.T) {
	both(t, func(t *testing.T, f, _ fixture, _ holders) {
		for _, role := range roles {
			mustNotOpen(t, f.with(func(f *fixture) { delete(f.shares, role) }))
			mustNotOpen(t, f.with(func(f *fixture) { f.shares[role] = nil }))
			mustNotOpen(t, f.with(func(f *fixture) { f.shares[role] = secrets.NewSecret(make([]byte, 32)) }))
			mustNotOpen(t, f.with(func(f *fixture) { f.shares[role] = secrets.NewSecret(f.shares[role].Bytes()[:31]) }))
			mustNotOpen(t, f.with(func(f *fixture) { f.shares[role] = f.own }))
		}
		mustNotOpen(t, f.with(func(f *fixture) { f.own = nil }))
		mustNotOpen(t, f.with(func(f *fixture) { f.own = secrets.NewSecret(make([]byte, 32)) }))
		mustNotOpen(t, f.with(func(f *fixture) { f.shares = nil }))
		mustNotOpen(t, f.with(func(f *fixture) { f.shares["fourth"] = secrets.Generate() }))
	})
}

// Fewer roles in the record's own text do not help: the key depends on the
// roles too.
func TestAttackRoleDroppedFromRecord(t *testing.T) {
	h := newHolders()
	f := sealedSeed(t, h, "one")
	mustNotOpen(t, f.with(func(f *fixture) {
		d := walletDescriptor(message.Sum([]byte("one")))
		d.Roles = roles[:2]
		f.descriptor, f.sealing.Roles = encode(t, d), roles[:2]
		delete(f.shares, roles[2])
	}))
}

func TestAttackShareOfAnotherWallet(t *testing.T) {
	both(t, func(t *testing.T, f, other fixture, h holders) {
		for _, role := range roles {
			mustNotOpen(t, f.with(func(f *fixture) { f.shares[role] = other.shares[role] }))
		}
		mustNotOpen(t, f.with(func(f *fixture) { f.own = other.own }))
		mustNotOpen(t, f.with(func(f *fixture) { f.shares = other.shares }))
	})
	t.Run("other-scope", func(t *testing.T) {
		h := newHolders()
		f := sealedSeed(t, h, "one")
		_, shares := h.shares(t, message.ScopeAccount, f.sealing.ID)
		mustNotOpen(t, f.with(func(f *fixture) { f.shares = shares }))
	})
	t.Run("exchanged-roles", func(t *testing.T) {
		f := sealedSeed(t, newHolders(), "one")
		mustNotOpen(t, f.with(func(f *fixture) {
			f.shares[roles[0]], f.shares[roles[1]] = f.shares[roles[1]], f.shares[roles[0]]
		}))
	})
}

func TestAttackChangedDescriptor(t *testing.T) {
	h := newHolders()
	t.Run("seed", func(t *testing.T) {
		f := sealedSeed(t, h, "one")
		id := message.Sum([]byte("one"))
		for name, change := range map[string]func(*message.WalletDescriptor){
			"version":    func(d *message.WalletDescriptor) { d.Version = 2 },
			"deployment": func(d *message.WalletDescriptor) { d.Deployment[0] ^= 1 },
			"id":         func(d *message.WalletDescriptor) { d.ID = message.Sum([]byte("x")).String() },
			"owner":      func(d *message.WalletDescriptor) { d.Owner = "mallory" },
			"roles":      func(d *message.WalletDescriptor) { d.Roles = roles[:1] },
			"role-order": func(d *message.WalletDescriptor) { d.Roles = []string{roles[1], roles[0], roles[2]} },
			"generation": func(d *message.WalletDescriptor) { d.Generation = 2 },
			"seed-type":  func(d *message.WalletDescriptor) { d.SeedType = "bip39" },
			"source":     func(d *message.WalletDescriptor) { d.Source = "hsm" },
			"create":     func(d *message.WalletDescriptor) { d.Create[0] ^= 1 },
		} {
			t.Run("fail/"+name, func(t *testing.T) {
				d := walletDescriptor(id)
				change(&d)
				mustNotOpen(t, f.with(func(f *fixture) { f.descriptor = encode(t, d) }))
				// Nor if the opener follows the text.
				mustNotOpen(t, f.with(func(f *fixture) {
					f.descriptor = encode(t, d)
					f.sealing.Deployment, f.sealing.ID = d.Deployment, d.ID
					f.sealing.Roles, f.sealing.Generation = d.Roles, d.Generation
				}))
			})
		}
		everyByte(t, f)
	})
	t.Run("account", func(t *testing.T) {
		f := sealedAccount(t, h, "one")
		for name, change := range map[string]func(*message.AccountDescriptor){
			"owner":       func(d *message.AccountDescriptor) { d.Owner = "mallory" },
			"wallet":      func(d *message.AccountDescriptor) { d.Wallet = message.Sum([]byte("x")).String() },
			"wallet-hash": func(d *message.AccountDescriptor) { d.WalletHash[0] ^= 1 },
			"chain":       func(d *message.AccountDescriptor) { d.Chain = "eip155:5" },
			"curve":       func(d *message.AccountDescriptor) { d.Curve = wallet.CurveEd25519 },
			"path":        func(d *message.AccountDescriptor) { d.Path = "m/0" },
			"public-key": func(d *message.AccountDescriptor) {
				d.PublicKey = append(message.Bytes{d.PublicKey[0] ^ 1}, d.PublicKey[1:]...)
			},
			"address":    func(d *message.AccountDescriptor) { d.Address = "0x01" },
			"generation": func(d *message.AccountDescriptor) { d.Generation = 2 },
		} {
			t.Run("fail/"+name, func(t *testing.T) {
				d := f.account
				change(&d)
				if bytes.Equal(encode(t, d), f.descriptor) {
					t.Fatal("the test changes nothing")
				}
				mustNotOpen(t, f.with(func(f *fixture) { f.account, f.descriptor = d, encode(t, d) }))
				mustNotOpen(t, f.with(func(f *fixture) { f.account = d }))
			})
		}
		everyByte(t, f)
	})
	t.Run("fail/not-canonical", func(t *testing.T) {
		f := sealedSeed(t, h, "one")
		mustNotOpen(t, f.with(func(f *fixture) { f.descriptor = append(f.descriptor, ' ') }))
	})
}

func everyByte(t *testing.T, f fixture) {
	t.Helper()
	for i := range f.descriptor {
		mustNotOpen(t, f.with(func(f *fixture) { f.descriptor[i] ^= 1 }))
	}
}

func TestAttackRowMoved(t *testing.T) {
	both(t, func(t *testing.T, f, other fixture, _ holders) {
		// The ciphertext of one row under another's id and descriptor.
		mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext = other.ciphertext }))
		// The whole row under another id, whichever shares are released.
		mustNotOpen(t, f.with(func(f *fixture) {
			f.ciphertext, f.descriptor, f.account = other.ciphertext, other.descriptor, other.account
		}))
		mustNotOpen(t, f.with(func(f *fixture) { f.sealing.ID = other.sealing.ID }))
		mustNotOpen(t, f.with(func(f *fixture) { f.sealing.Generation = 2 }))
		mustNotOpen(t, f.with(func(f *fixture) { f.sealing.Deployment = message.Sum([]byte("other")) }))
	})
	t.Run("seed-as-account", func(t *testing.T) {
		f := sealedSeed(t, newHolders(), "one")
		if _, err := wallet.OpenKey(f.sealing, f.own, f.shares, f.account, f.descriptor, f.ciphertext); err == nil {
			t.Error("a seed opens as an account key")
		}
		f.sealing.Scope = message.ScopeAccount
		if _, err := wallet.OpenSeed(f.sealing, f.own, f.shares, f.descriptor, f.ciphertext); err == nil {
			t.Error("an account opens as a seed")
		}
	})
}

func TestAttackCiphertextChanged(t *testing.T) {
	both(t, func(t *testing.T, f, _ fixture, _ holders) {
		for i := range f.ciphertext {
			for bit := range 8 {
				mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext[i] ^= 1 << bit }))
			}
		}
		for n := range f.ciphertext {
			mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext = f.ciphertext[:n] }))
		}
		mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext = append(f.ciphertext, 0) }))
		mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext = append(f.ciphertext, f.ciphertext...) }))
		mustNotOpen(t, f.with(func(f *fixture) { f.ciphertext = nil }))
	})
}

// An older row put back is one that was sealed before under the same id: of an
// earlier generation of secrets, or with another text. Nothing that is
// approved now opens it.
func TestAttackOlderRowPutBack(t *testing.T) {
	before, now := newHolders(), newHolders()
	old := sealedSeed(t, before, "one")
	current := sealedSeed(t, now, "one")
	mustNotOpen(t, current.with(func(f *fixture) { f.ciphertext = old.ciphertext }))

	h := newHolders()
	account := sealedAccount(t, h, "one")
	older := account.account
	older.Owner = "former"
	descriptor := encode(t, older)
	key, err := wallet.OpenKey(account.sealing, account.own, account.shares, account.account, account.descriptor, account.ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	ciphertext, err := key.Seal(account.sealing, account.own, account.shares, descriptor)
	if err != nil {
		t.Fatal(err)
	}
	// Under the descriptor that the approvals name, the older row's seal
	// breaks.
	mustNotOpen(t, account.with(func(f *fixture) { f.ciphertext = ciphertext }))
}

func TestAttackNonceReuse(t *testing.T) {
	f := sealedSeed(t, newHolders(), "one")
	seed := secrets.NewSecret(bytes.Repeat([]byte{7}, wallet.SeedSize))
	seen := map[string]bool{}
	const n = 5000
	for range n {
		ciphertext, err := wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, seed)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(ciphertext[:12])] = true
	}
	if len(seen) != n {
		t.Errorf("%d nonces in %d seals", len(seen), n)
	}
}

func TestSealRefuses(t *testing.T) {
	h := newHolders()
	f := sealedSeed(t, h, "one")
	seed := secrets.NewSecret(bytes.Repeat([]byte{7}, wallet.SeedSize))
	for name, c := range map[string]struct {
		change func(*fixture)
		seed   *secrets.Secret
	}{
		"short-seed":        {func(*fixture) {}, secrets.NewSecret(make([]byte, 63))},
		"no-seed":           {func(*fixture) {}, nil},
		"share-missing":     {func(f *fixture) { delete(f.shares, "fraud") }, seed},
		"own-missing":       {func(f *fixture) { f.own = nil }, seed},
		"other-id":          {func(f *fixture) { f.sealing.ID = message.Sum(nil).String() }, seed},
		"id-no-hash":        {func(f *fixture) { f.sealing.ID = "1" }, seed},
		"no-roles":          {func(f *fixture) { f.sealing.Roles, f.shares = nil, nil }, seed},
		"role-twice":        {func(f *fixture) { f.sealing.Roles = []string{"fraud", "fraud", "approval"} }, seed},
		"generation-zero":   {func(f *fixture) { f.sealing.Generation = 0 }, seed},
		"unknown-scope":     {func(f *fixture) { f.sealing.Scope = "key" }, seed},
		"no-deployment":     {func(f *fixture) { f.sealing.Deployment = message.Hash{} }, seed},
		"account-scope":     {func(f *fixture) { f.sealing.Scope = message.ScopeAccount }, seed},
		"descriptor-absent": {func(f *fixture) { f.descriptor = nil }, seed},
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			f := f.with(c.change)
			if _, err := wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, c.seed); err == nil {
				t.Error("sealed")
			}
		})
	}
	t.Run("fail/key-under-another-descriptor", func(t *testing.T) {
		a, b := sealedAccount(t, h, "a"), sealedAccount(t, h, "b")
		key, err := wallet.OpenKey(a.sealing, a.own, a.shares, a.account, a.descriptor, a.ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := key.Seal(b.sealing, b.own, b.shares, b.descriptor); err == nil {
			t.Error("sealed under the descriptor of another key")
		}
	})
}

func TestSoftwareSource(t *testing.T) {
	source := wallet.NewSoftwareSource()
	a, errA := source.NewSeed(t.Context(), "raw")
	b, errB := source.NewSeed(t.Context(), "raw")
	if errA != nil || errB != nil || a.Len() != wallet.SeedSize || a.Equal(b) {
		t.Errorf("seeds: %v, %v, %d bytes", errA, errB, a.Len())
	}
	if _, err := source.NewSeed(t.Context(), "bip39"); err == nil || !strings.Contains(err.Error(), "bip39") {
		t.Errorf("unknown seed type: %v", err)
	}
}

// TestAttackOtherKeyUnderADescriptor: a key that was sealed under another
// key's descriptor. On ed25519 it does not open; on secp256k1 it is found out by
// its first signature, by Check, and by whoever seals it again.
func TestAttackOtherKeyUnderADescriptor(t *testing.T) {
	h := newHolders()
	other := secrets.NewSecret(bytes.Repeat([]byte{0x42}, wallet.KeySize))
	for _, curve := range []string{wallet.CurveSecp256k1, wallet.CurveEd25519} {
		t.Run(curve, func(t *testing.T) {
			f := sealedAccount(t, h, "a")
			f.account.Curve = curve
			if curve == wallet.CurveEd25519 {
				f.account.PublicKey = wallet.PublicEd25519(bytes.Repeat([]byte{0x41}, wallet.KeySize))
			}
			f.descriptor = encode(t, f.account)
			var err error
			if f.ciphertext, err = wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, other); err != nil {
				t.Fatal(err)
			}
			key, err := wallet.OpenKey(f.sealing, f.own, f.shares, f.account, f.descriptor, f.ciphertext)
			if curve == wallet.CurveEd25519 {
				if !errors.Is(err, wallet.ErrSealed) {
					t.Errorf("opened: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Check(); !errors.Is(err, wallet.ErrSealed) {
				t.Errorf("Check: %v", err)
			}
			if _, err := key.Seal(f.sealing, f.own, f.shares, f.descriptor); !errors.Is(err, wallet.ErrSealed) {
				t.Errorf("Seal: %v", err)
			}
			digest := message.Sum([]byte("d"))
			sig, err := key.Sign(message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest[:]})
			if err == nil && crypto.VerifySignature(f.account.PublicKey, digest[:], sig[:64]) {
				t.Error("the signature verifies under the descriptor's key")
			}
		})
	}
}

func BenchmarkOpenKey(b *testing.B) {
	f := sealedAccount(b, newHolders(), "one")
	for b.Loop() {
		if err := f.open(); err != nil {
			b.Fatal(err)
		}
	}
}
