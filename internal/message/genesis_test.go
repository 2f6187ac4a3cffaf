package message_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

func TestGenesis(t *testing.T) {
	b := encode(t, sampleGenesis(t))
	g, id, err := message.ParseGenesis(b)
	if err != nil || id != message.Sum(b) || g.Threshold != 2 {
		t.Fatalf("%+v, %s, %v", g, id, err)
	}
	if _, _, err := message.ParseGenesis(append(b, '\n')); !errors.Is(err, message.ErrNotCanonical) {
		t.Errorf("line feed behind: %v", err)
	}
	for name, change := range map[string]func(*message.Genesis){
		"version":            func(g *message.Genesis) { g.Version = 2 },
		"no-name":            func(g *message.Genesis) { g.Name = "" },
		"long-name":          func(g *message.Genesis) { g.Name = strings.Repeat("x", 129) },
		"mode":               func(g *message.Genesis) { g.Mode = "Strict" },
		"no-mode":            func(g *message.Genesis) { g.Mode = "" },
		"nonce":              func(g *message.Genesis) { g.Nonce = g.Nonce[:15] },
		"threshold-zero":     func(g *message.Genesis) { g.Threshold = 0 },
		"threshold-one":      func(g *message.Genesis) { g.Threshold = 1 },
		"threshold-too-high": func(g *message.Genesis) { g.Threshold = 3 },
		"no-admins":          func(g *message.Genesis) { g.Admins = nil },
		"admin-twice":        func(g *message.Genesis) { g.Admins[1] = g.Admins[0] },
		"one-key-two-admins": func(g *message.Genesis) { g.Admins[1].Key = g.Admins[0].Key },
		"one-name-two-keys":  func(g *message.Genesis) { g.Admins[1].Name = g.Admins[0].Name },
		"no-admin-name":      func(g *message.Genesis) { g.Admins[0].Name = "" },
		"no-admin-key":       func(g *message.Genesis) { g.Admins[0].Key = message.JWK{} },
		"no-roles":           func(g *message.Genesis) { g.Roles = nil },
		"role-twice":         func(g *message.Genesis) { g.Roles[1] = g.Roles[0] },
		"role-signing":       func(g *message.Genesis) { g.Roles[0] = "signing" },
		"role-proposer":      func(g *message.Genesis) { g.Roles[0] = "proposer" },
		"role-operator":      func(g *message.Genesis) { g.Roles[0] = "operator" },
		"role-with-slash":    func(g *message.Genesis) { g.Roles[0] = "a/b" },
		"role-upper":         func(g *message.Genesis) { g.Roles[0] = "Fraud" },
		"role-empty":         func(g *message.Genesis) { g.Roles[0] = "" },
		"role-quote":         func(g *message.Genesis) { g.Roles[0] = `a";drop` },
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			g := sampleGenesis(t)
			change(&g)
			if _, _, err := message.ParseGenesis(encode(t, g)); err == nil {
				t.Error("accepted")
			}
		})
	}
	for name, mutant := range mutants(t, sampleGenesis(t)) {
		if bytes.Equal(encode(t, mutant), b) {
			t.Errorf("%s does not change the deployment id", name)
		}
	}
}

// Under a key of small order the signature R = A, S = 0 verifies for anything.
func TestAttackKeyOfSmallOrder(t *testing.T) {
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		key, err := hex.DecodeString(y)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (message.JWK{Kty: "OKP", Crv: "Ed25519", X: key}).Ed25519(); err == nil {
			t.Errorf("%s accepted", y)
		}
		if _, err := message.NewJWK(ed25519.PublicKey(key)); err == nil {
			t.Errorf("%s made into a JWK", y)
		}
	}
	// That the attack is real: one signature, any message.
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(bytes.Clone(identity), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("anything"), forged) {
		t.Error("the standard library now refuses the forgery: the table may go")
	}
}

func TestJWKRefuses(t *testing.T) {
	ok := jwk(t, 5)
	p256 := elliptic.P256().Params()
	for name, j := range map[string]message.JWK{
		"empty":         {},
		"other-kty":     {Kty: "EC", Crv: ok.Crv, X: ok.X},
		"other-crv":     {Kty: ok.Kty, Crv: "X25519", X: ok.X},
		"short":         {Kty: ok.Kty, Crv: ok.Crv, X: ok.X[:31]},
		"with-y":        {Kty: ok.Kty, Crv: ok.Crv, X: ok.X, Y: ok.X},
		"off-the-curve": {Kty: "EC", Crv: "P-256", X: bytes.Repeat([]byte{1}, 32), Y: bytes.Repeat([]byte{1}, 32)},
		"infinity":      {Kty: "EC", Crv: "P-256", X: make([]byte, 32), Y: make([]byte, 32)},
		"not-reduced":   {Kty: "EC", Crv: "P-256", X: p256.P.Bytes(), Y: p256.Gy.Bytes()},
		"secp256k1":     {Kty: "EC", Crv: "secp256k1", X: p256.Gx.Bytes(), Y: p256.Gy.Bytes()},
	} {
		if _, err := j.PublicKey(); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if _, err := (message.JWK{Kty: "EC", Crv: "P-256", X: p256.Gx.Bytes(), Y: p256.Gy.Bytes()}).Ed25519(); err == nil {
		t.Error("a P-256 key passes as Ed25519")
	}
	// RFC 8037 appendix A.3.
	x, err := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if err != nil {
		t.Fatal(err)
	}
	if got := (message.JWK{Kty: "OKP", Crv: "Ed25519", X: x}).Thumbprint(); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint of RFC 8037 is %s", got)
	}
}
