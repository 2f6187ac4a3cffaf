package wallet_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch/scratchtest"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/wallet"
)

// TestSealingIsWiped: nothing is left of shares, sealing keys, seeds and account
// keys once their holder has wiped them, whether it opened or not.
func TestSealingIsWiped(t *testing.T) {
	both(t, func(t *testing.T, f, _ fixture, _ holders) {
		input, key := "wallet.Sealing.input", "wallet.Sealing.aead"
		for name, c := range map[string]struct {
			change func(*fixture)
			by     []string
		}{
			"opens":                {func(*fixture) {}, []string{input, key, "wallet.open"}},
			"fail/ciphertext":      {func(f *fixture) { f.ciphertext[20] ^= 1 }, []string{input, key}},
			"fail/missing-share":   {func(f *fixture) { f.shares["approval"] = nil }, []string{input}},
			"fail/too-short-share": {func(f *fixture) { f.shares["fraud"] = secrets.NewSecret([]byte("short")) }, []string{input}},
		} {
			t.Run(name, func(t *testing.T) {
				f := f.with(c.change)
				scratchtest.WantNone(t, func() {
					if err := f.open(); (err == nil) != (name == "opens") {
						t.Errorf("opening: %v", err)
					}
				}, c.by...)
			})
		}
	})
}

func TestSeedIsWipedAfterSealing(t *testing.T) {
	f := sealedSeed(t, newHolders(), "wallet")
	scratchtest.WantNone(t, func() {
		seed, err := wallet.NewSoftwareSource().NewSeed(t.Context(), "raw")
		if err != nil {
			t.Fatal(err)
		}
		defer seed.Wipe()
		if _, err := wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, seed); err != nil {
			t.Error(err)
		}
	}, "wallet.softwareSource.NewSeed", "wallet.Sealing.input")
}

// TestWrongKeyIsWiped: what was opened but is no key of the descriptor's.
func TestWrongKeyIsWiped(t *testing.T) {
	_, public, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := sealedAccount(t, newHolders(), "account")
	for name, curve := range map[string]string{"out-of-range": wallet.CurveSecp256k1, "another-key": wallet.CurveEd25519, "no-curve": "p256"} {
		t.Run("fail/"+name, func(t *testing.T) {
			f := f.with(func(*fixture) {})
			if f.account.Curve = curve; curve == wallet.CurveEd25519 {
				f.account.PublicKey = []byte(public)[:32]
			}
			f.descriptor = encode(t, f.account)
			plain := secrets.NewSecret(bytes.Repeat([]byte{0xff}, wallet.KeySize))
			if f.ciphertext, err = wallet.Seal(f.sealing, f.own, f.shares, f.descriptor, plain); err != nil {
				t.Fatal(err)
			}
			scratchtest.WantNone(t, func() {
				if _, err := wallet.OpenKey(f.sealing, f.own, f.shares, f.account, f.descriptor, f.ciphertext); !errors.Is(err, wallet.ErrSealed) {
					t.Errorf("got %v, want ErrSealed", err)
				}
			}, "wallet.open")
			scratchtest.WantNone(t, func() {
				key, err := wallet.NewKeyForTest(curve, plain.Bytes())
				if (err == nil) != (curve == wallet.CurveEd25519) {
					t.Errorf("key: %v", err)
				}
				key.Wipe()
			})
		})
	}
	scratchtest.WantNone(t, func() {
		if _, err := wallet.NewKeyForTest(wallet.CurveEd25519, []byte("short")); !errors.Is(err, secrets.ErrSize) {
			t.Errorf("got %v, want ErrSize", err)
		}
	}, "wallet_test.TestWrongKeyIsWiped.func2")
}

// TestDerivationIsWiped: every level of a derivation, the numbers that the
// curves' code takes keys as, and the account key.
func TestDerivationIsWiped(t *testing.T) {
	seed := wallet.NewSeedForTest(bytes.Repeat([]byte("0123456789abcdef"), 4))
	digest := bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct {
		curve, path, algorithm string
		by                     []string
	}{
		{wallet.CurveSecp256k1, "m/44'/60'/0'/0/0", message.AlgorithmSecp256k1, []string{
			"wallet.newNode", "wallet.checkMaster", "wallet.checkChild", "wallet.hmac512", "wallet.addModOrder",
			"wallet.inRangeOrZero", "wallet.publicSecp256k1", "wallet.(*Key).signSecp256k1",
		}},
		{wallet.CurveEd25519, "m/44'/501'/0'", message.AlgorithmEd25519, []string{
			"wallet.newNode", "wallet.deriveEd25519", "wallet.hmac512", "wallet.publicEd25519", "wallet.(*Key).signEd25519",
		}},
	} {
		t.Run(c.curve, func(t *testing.T) {
			scratchtest.WantNone(t, func() {
				key, err := seed.Derive(c.curve, c.path)
				if err != nil {
					t.Fatal(err)
				}
				defer key.Wipe()
				if _, err := key.Sign(message.Digest{Algorithm: c.algorithm, Value: digest}); err != nil {
					t.Error(err)
				}
			}, c.by...)
		})
	}
	scratchtest.WantNone(t, func() {
		if _, err := wallet.DeriveNode(digest, wallet.CurveEd25519, []uint32{1<<31 + 44, 60}); !errors.Is(err, wallet.ErrPath) {
			t.Errorf("got %v, want ErrPath", err)
		}
	}, "wallet.deriveEd25519")
}

// TestRefusedChildIsWiped: what was computed to refuse a child key.
func TestRefusedChildIsWiped(t *testing.T) {
	node := func(key byte) wallet.Node {
		return wallet.Node{Key: bytes.Repeat([]byte{key}, 32), Chain: bytes.Repeat([]byte{3}, 32)}
	}
	for name, c := range map[string]struct {
		parent, child byte
		want          error
	}{
		"fail/mismatch": {1, 2, wallet.ErrMismatch},
		"fail/invalid":  {1, 0xff, wallet.ErrInvalidKey},
	} {
		t.Run(name, func(t *testing.T) {
			scratchtest.WantNone(t, func() {
				for _, index := range []uint32{0, 1 << 31} {
					if err := wallet.CheckChild(node(c.parent), node(c.child), index); !errors.Is(err, c.want) {
						t.Errorf("index %d: got %v, want %v", index, err, c.want)
					}
				}
			}, "wallet.checkChild")
		})
	}
}
