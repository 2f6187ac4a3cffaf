package transaction_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/transaction"
)

func TestCheckPath(t *testing.T) {
	for path, curve := range map[string]string{
		"m/44'/60'/0'/0/0":                 "secp256k1",
		"m/44'/60'/0'/0":                   "secp256k1",
		"m/0":                              "secp256k1",
		"m/0'":                             "ed25519",
		"m/44'/501'/0'/0'":                 "ed25519",
		"m/2147483647'/2147483647":         "secp256k1",
		"m" + strings.Repeat("/0", 10):     "secp256k1",
		"m" + strings.Repeat("/1'", 10):    "ed25519",
		"m/1852'/1815'/0'/0'/1'/2'/3'/4'":  "ed25519",
		"m/10/200/3000/40000/500000/60000": "secp256k1",
	} {
		if err := transaction.CheckPath(path, curve); err != nil {
			t.Errorf("%s on %s: %v", path, curve, err)
		}
	}
}

// TestAttackDerivationPathAbuse: one text for one path, no work without bound,
// no index that wraps, no level of ed25519 that would be derived publicly.
func TestAttackDerivationPathAbuse(t *testing.T) {
	for name, path := range map[string]string{
		"fail/empty":               "",
		"fail/master":              "m",
		"fail/no level":            "m/",
		"fail/no m":                "44'/60'/0'/0/0",
		"fail/slash first":         "/44'",
		"fail/M":                   "M/44'",
		"fail/empty level":         "m/44'//0",
		"fail/trailing slash":      "m/44'/",
		"fail/h":                   "m/44h/60h/0h/0/0",
		"fail/H":                   "m/44H",
		"fail/h and ' mixed":       "m/44'/60h/0'",
		"fail/hardened twice":      "m/44''",
		"fail/' first":             "m/'44",
		"fail/' alone":             "m/'",
		"fail/other apostrophe":    "m/44’",
		"fail/leading zero":        "m/044'",
		"fail/00":                  "m/00",
		"fail/sign":                "m/+1",
		"fail/negative":            "m/-1",
		"fail/space":               "m/ 1",
		"fail/hex":                 "m/0x1",
		"fail/underscore":          "m/1_0",
		"fail/other digits":        "m/١",
		"fail/index 2^31":          "m/2147483648",
		"fail/index 2^31 hardened": "m/2147483648'",
		"fail/index 2^32":          "m/4294967296",
		"fail/index 2^32 plus 44":  "m/4294967340'",
		"fail/index 2^64":          "m/18446744073709551616",
		"fail/enormous index":      "m/" + strings.Repeat("9", 1000),
		"fail/eleven levels":       "m" + strings.Repeat("/0", 11),
		"fail/enormous path":       "m" + strings.Repeat("/0", 1<<20),
		"fail/wildcard":            "m/44'/*",
		"fail/NUL":                 "m/44'\x00",
		"fail/newline":             "m/44'\n",
	} {
		if err := transaction.CheckPath(path, "secp256k1"); !errors.Is(err, transaction.ErrPath) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"m/0", "m/44'/501'/0'/0", "m/44/501'"} {
		if err := transaction.CheckPath(path, "ed25519"); !errors.Is(err, transaction.ErrPath) {
			t.Errorf("%s on ed25519: %v", path, err)
		}
	}
	for _, curve := range []string{"", "Secp256k1", "p256", "secp256k1 "} {
		if err := transaction.CheckPath("m/0'", curve); !errors.Is(err, transaction.ErrPath) {
			t.Errorf("curve %q: %v", curve, err)
		}
	}
}

// FuzzCheckPath: what is accepted is in its one form, and short.
func FuzzCheckPath(f *testing.F) {
	f.Add("m/44'/60'/0'/0/0", "secp256k1")
	f.Add("m/44'/501'", "ed25519")
	f.Fuzz(func(t *testing.T, path, curve string) {
		if transaction.CheckPath(path, curve) != nil {
			return
		}
		levels := strings.Split(path, "/")
		if levels[0] != "m" || len(levels) < 2 || len(levels) > 11 || len(path) > 1+10*12 {
			t.Fatalf("accepted %q", path)
		}
	})
}
