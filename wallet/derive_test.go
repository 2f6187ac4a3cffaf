package wallet_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/tyler-smith/go-bip32"
	"github.com/tyler-smith/go-bip39"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/wallet"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// indices reads a vector's path, which unlike ours may be the root alone.
func indices(tb testing.TB, path string) []uint32 {
	tb.Helper()
	var out []uint32
	for _, level := range strings.Split(path, "/")[1:] {
		digits, isHardened := strings.CutSuffix(level, "'")
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil {
			tb.Fatal(err)
		}
		if isHardened {
			n |= 1 << 31
		}
		out = append(out, uint32(n))
	}
	return out
}

func TestBIP32Vectors(t *testing.T) {
	var file struct {
		Cases []struct{ ID, Seed, Path, Xpub, Xprv string }
	}
	vectors.Load(t, "1-hd/bip32-derivation.json", &file)
	if len(file.Cases) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			n, err := wallet.DeriveNode(unhex(t, c.Seed), wallet.CurveSecp256k1, indices(t, c.Path))
			if err != nil {
				t.Fatal(err)
			}
			checkExtended(t, n, c.Xprv, true)
			checkExtended(t, n, c.Xpub, false)
		})
	}
}

// checkExtended compares with an xprv or xpub.
func checkExtended(t *testing.T, n wallet.Node, extended string, private bool) {
	t.Helper()
	want, err := bip32.B58Deserialize(extended)
	if err != nil {
		t.Fatal(err)
	}
	key := n.Key
	if !private {
		if key, err = wallet.PublicSecp256k1(n.Key); err != nil {
			t.Fatal(err)
		}
	}
	if want.IsPrivate != private || !bytes.Equal(want.Key, key) || !bytes.Equal(want.ChainCode, n.Chain) {
		t.Errorf("derived key is not %s", extended)
	}
}

func TestBIP39Roots(t *testing.T) {
	var file struct {
		Cases []struct{ ID, Mnemonic, Passphrase, Seed, Xprv string }
	}
	vectors.Load(t, "1-hd/bip39-english.json", &file)
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			seed := bip39.NewSeed(c.Mnemonic, c.Passphrase)
			if !bytes.Equal(seed, unhex(t, c.Seed)) {
				t.Fatal("seed differs")
			}
			n, err := wallet.DeriveNode(seed, wallet.CurveSecp256k1, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkExtended(t, n, c.Xprv, true)
		})
	}
}

func TestSLIP10Vectors(t *testing.T) {
	var file struct {
		Cases []struct{ ID, Curve, Seed, Path, ChainCode, PrivateKey, PublicKey string }
	}
	vectors.Load(t, "1-hd/slip10.json", &file)
	ran := map[string]int{}
	for _, c := range file.Cases {
		if c.Curve != wallet.CurveSecp256k1 && c.Curve != wallet.CurveEd25519 {
			continue // nist256p1 and curve25519 are not offered
		}
		ran[c.Curve]++
		t.Run(c.ID, func(t *testing.T) {
			n, err := wallet.DeriveNode(unhex(t, c.Seed), c.Curve, indices(t, c.Path))
			if err != nil {
				t.Fatal(err)
			}
			var public []byte
			if c.Curve == wallet.CurveEd25519 {
				// The vectors put a zero byte before Ed25519 keys.
				public = append([]byte{0}, wallet.PublicEd25519(n.Key)...)
			} else if public, err = wallet.PublicSecp256k1(n.Key); err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(n.Key) != c.PrivateKey || hex.EncodeToString(n.Chain) != c.ChainCode ||
				hex.EncodeToString(public) != c.PublicKey {
				t.Error("derived key differs")
			}
		})
	}
	if ran[wallet.CurveSecp256k1] == 0 || ran[wallet.CurveEd25519] == 0 {
		t.Fatalf("vectors by curve: %v", ran)
	}
}

func TestTrezorEthereumKeys(t *testing.T) {
	var file struct {
		Cases []struct {
			ID, Mnemonic, Passphrase string
			Parameters               struct{ Path string }
			Result                   struct {
				Address   string
				PublicKey string `json:"public_key"`
				ChainCode string `json:"chain_code"`
			}
		}
	}
	vectors.Load(t, "1-hd/trezor-ethereum-keys.json", &file)
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			n, err := wallet.DeriveNode(bip39.NewSeed(c.Mnemonic, c.Passphrase), wallet.CurveSecp256k1, indices(t, c.Parameters.Path))
			if err != nil {
				t.Fatal(err)
			}
			public, err := wallet.PublicSecp256k1(n.Key)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.Result.PublicKey; want != "" && want != hex.EncodeToString(public) {
				t.Errorf("public key is %x, want %s", public, want)
			}
			if want := c.Result.ChainCode; want != "" && want != hex.EncodeToString(n.Chain) {
				t.Errorf("chain code is %x, want %s", n.Chain, want)
			}
			pub, err := crypto.DecompressPubkey(public)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.Result.Address; want != "" && want != crypto.PubkeyToAddress(*pub).Hex() {
				t.Errorf("address is %s, want %s", crypto.PubkeyToAddress(*pub), want)
			}
		})
	}
}

// BIP-32's invalid extended keys: we read none at all (see
// TestAttackBIP32LibraryTraps/only-safe-calls); those whose fault lies in the
// private key itself are refused by the check that every derived key passes.
func TestBIP32InvalidKeys(t *testing.T) {
	var file struct {
		Cases []struct{ ID, Key, Reason string }
	}
	vectors.Load(t, "1-hd/bip32-invalid.json", &file)
	checked := 0
	for _, c := range file.Cases {
		if !strings.Contains(c.Reason, "private key") || !strings.Contains(c.Reason, "1..n-1") {
			continue
		}
		checked++
		t.Run(c.ID, func(t *testing.T) {
			k, err := bip32.B58Deserialize(c.Key)
			if err != nil {
				t.Skip("the library refuses it too")
			}
			if wallet.InRange(k.Key) {
				t.Errorf("%s: accepted", c.Reason)
			}
		})
	}
	if checked == 0 {
		t.Fatal("no case about the private key's range")
	}
}

func TestAttackBIP32LibraryTraps(t *testing.T) {
	seed := bytes.Repeat([]byte{0xa5, 0x5a, 0x11}, 22)[:wallet.SeedSize]
	t.Run("concurrent-derivation", func(t *testing.T) {
		s := wallet.NewSeedForTest(seed)
		want := map[string][]byte{}
		for i := range 8 {
			path := "m/44'/60'/0'/0/" + strconv.Itoa(i)
			k, err := s.Derive(wallet.CurveSecp256k1, path)
			if err != nil {
				t.Fatal(err)
			}
			want[path] = k.PublicKey()
		}
		var wg sync.WaitGroup
		for range 4 {
			for path, public := range want {
				wg.Go(func() {
					k, err := s.Derive(wallet.CurveSecp256k1, path)
					if err != nil || !bytes.Equal(k.PublicKey(), public) {
						t.Errorf("%s: another key beside other goroutines (%v)", path, err)
					}
				})
			}
		}
		wg.Wait()
	})
	t.Run("only-safe-calls", testOnlySafeCalls)
	t.Run("left-half-not-below-the-order", func(t *testing.T) {
		// No such child can be found; the check itself is tried on keys at
		// the borders.
		n := crypto.S256().Params().N.FillBytes(make([]byte, 32))
		for name, key := range map[string][]byte{"zero": make([]byte, 32), "order": n, "short": n[:31], "none": nil} {
			if wallet.InRange(key) {
				t.Errorf("%s is accepted as a private key", name)
			}
		}
		n[31]--
		if !wallet.InRange(n) {
			t.Error("the greatest private key is refused")
		}
	})
	t.Run("wrong-result-is-noticed", func(t *testing.T) {
		parent, err := wallet.DeriveNode(seed, wallet.CurveSecp256k1, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range []uint32{0, 7, 1 << 31} {
			child, err := wallet.DeriveNode(seed, wallet.CurveSecp256k1, []uint32{index})
			if err != nil {
				t.Fatal(err)
			}
			if err := wallet.CheckChild(parent, child, index); err != nil {
				t.Fatal(err)
			}
			child.Key[5] ^= 1
			if err := wallet.CheckChild(parent, child, index); !errors.Is(err, wallet.ErrMismatch) {
				t.Errorf("changed key: %v", err)
			}
			child.Key[5] ^= 1
			child.Chain[5] ^= 1
			if err := wallet.CheckChild(parent, child, index); !errors.Is(err, wallet.ErrMismatch) {
				t.Errorf("changed chain code: %v", err)
			}
			child.Chain[5] ^= 1
			if err := wallet.CheckChild(parent, child, index^1); !errors.Is(err, wallet.ErrMismatch) {
				t.Errorf("other index: %v", err)
			}
			if err := wallet.CheckChild(parent, wallet.Node{Key: make([]byte, 32), Chain: child.Chain}, index); !errors.Is(err, wallet.ErrInvalidKey) {
				t.Errorf("zero key: %v", err)
			}
		}
	})
}

// testOnlySafeCalls reads the package's source: of go-bip32 only the two
// private derivations may be called. Deserialising overwrites its input and
// accepts invalid keys, public derivation races.
func testOnlySafeCalls(t *testing.T) {
	allowed := map[string]bool{"NewMasterKey": true}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	users := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(src, []byte("go-bip32\"")) {
			continue
		}
		users++
		file, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "bip32" && !allowed[sel.Sel.Name] {
				t.Errorf("%s uses bip32.%s", name, sel.Sel.Name)
			}
			if forbidden := sel.Sel.Name; forbidden == "B58Serialize" || forbidden == "Serialize" || forbidden == "PublicKey" && isIdent(sel.X, "key") {
				t.Errorf("%s calls %s on an extended key", name, forbidden)
			}
			return true
		})
	}
	if users != 1 {
		t.Errorf("%d files use go-bip32, want 1", users)
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

func TestDeriveRefuses(t *testing.T) {
	s := wallet.NewSeedForTest(bytes.Repeat([]byte{1, 2, 3, 4}, 16))
	if _, err := s.Derive("p256", "m/0"); err == nil {
		t.Error("unknown curve accepted")
	}
	for _, n := range []int{0, 15, 65} {
		if _, err := wallet.NewSeedForTest(make([]byte, n)).Derive(wallet.CurveEd25519, "m/0'"); err == nil {
			t.Errorf("seed of %d bytes accepted", n)
		}
	}
	s.Wipe()
	if _, err := s.Derive(wallet.CurveSecp256k1, "m/0"); err == nil {
		t.Error("wiped seed derives")
	}
	s.Wipe()
	var none *wallet.Seed
	none.Wipe()
	if _, err := none.Derive(wallet.CurveSecp256k1, "m/0"); err == nil {
		t.Error("no seed derives")
	}
}
