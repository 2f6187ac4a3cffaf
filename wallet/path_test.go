package wallet_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet"
)

func TestParsePath(t *testing.T) {
	const h = 1 << 31
	for path, want := range map[string][]uint32{
		"m/44'/60'/0'/0/0":      {h + 44, h + 60, h, 0, 0},
		"m/0":                   {0},
		"m/2147483647'":         {h + 2147483647},
		"m/2147483647":          {2147483647},
		"m/1/2/3/4/5/6/7/8/9/0": {1, 2, 3, 4, 5, 6, 7, 8, 9, 0},
	} {
		got, err := wallet.ParsePath(wallet.CurveSecp256k1, path)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
}

// badPaths are ways to abuse a path: each is refused on both curves.
var badPaths = map[string]string{
	"empty":               "",
	"root":                "m",
	"root-slash":          "m/",
	"no-root":             "44'/60'",
	"upper-root":          "M/0'",
	"leading-slash":       "/m/0'",
	"trailing-slash":      "m/0'/",
	"double-slash":        "m//0'",
	"h-hardened":          "m/44h/60'",
	"upper-h-hardened":    "m/44H",
	"double-hardened":     "m/44''",
	"typographic-quote":   "m/44’",
	"hardened-in-number":  "m/2147483692'",
	"index-overflow":      "m/2147483648",
	"index-overflow-32":   "m/4294967296'",
	"index-overflow-64":   "m/18446744073709551616'",
	"leading-zero":        "m/00'",
	"leading-zero-2":      "m/044'",
	"plus":                "m/+4'",
	"minus":               "m/-4'",
	"minus-zero":          "m/-0'",
	"hex":                 "m/0x4'",
	"underscore":          "m/4_4'",
	"space":               "m/ 4'",
	"space-behind":        "m/4' ",
	"newline":             "m/4'\n",
	"arabic-digits":       "m/٤'",
	"float":               "m/4.0'",
	"only-quote":          "m/'",
	"quote-before":        "m/'4",
	"eleven-levels":       "m/0'/0'/0'/0'/0'/0'/0'/0'/0'/0'/0'",
	"enormous":            "m" + strings.Repeat("/0'", 100000),
	"enormous-number":     "m/" + strings.Repeat("9", 100000),
	"nul":                 "m/4'\x00",
	"relative":            "m/../0'",
	"wildcard":            "m/*'",
	"comma":               "m/0',0'",
	"backslash":           `m\0'`,
	"invalid-utf8":        "m/\xff'",
	"hardened-no-number":  "m/0'/'",
	"mixed-h-and-quote":   "m/44'/60h/0'",
	"mixed-quote-h-after": "m/44'h",
}

func TestAttackDerivationPathAbuse(t *testing.T) {
	for name, path := range badPaths {
		for _, curve := range []string{wallet.CurveSecp256k1, wallet.CurveEd25519} {
			t.Run("fail/"+name+"/"+curve, func(t *testing.T) {
				if _, err := wallet.ParsePath(curve, path); !errors.Is(err, wallet.ErrPath) {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
	t.Run("fail/not-hardened-on-ed25519", func(t *testing.T) {
		for _, path := range []string{"m/0", "m/44'/501'/0"} {
			if _, err := wallet.ParsePath(wallet.CurveEd25519, path); !errors.Is(err, wallet.ErrPath) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	t.Run("fail/unknown-curve", func(t *testing.T) {
		for _, curve := range []string{"", "Secp256k1", "secp256k1 ", "p256"} {
			if _, err := wallet.ParsePath(curve, "m/0'"); err == nil {
				t.Errorf("%q accepted", curve)
			}
		}
	})
}

// FuzzParsePath holds our parser against the check that every service makes:
// what one refuses the other refuses.
func FuzzParsePath(f *testing.F) {
	for _, path := range badPaths {
		f.Add(path)
	}
	f.Add("m/44'/60'/0'/0/0")
	f.Add("m/44'/501'/0'")
	f.Fuzz(func(t *testing.T, path string) {
		for _, curve := range []string{wallet.CurveSecp256k1, wallet.CurveEd25519} {
			_, ours := wallet.ParsePath(curve, path)
			theirs := transaction.CheckPath(path, curve)
			if (ours == nil) != (theirs == nil) {
				t.Errorf("%q on %s: wallet says %v, transaction says %v", path, curve, ours, theirs)
			}
		}
	})
}
