package secrets_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/secrets"
)

var (
	roles      = []string{"authorization", "fraud", "approval"}
	deployment = message.Sum([]byte("deployment"))
)

func must[T any](v T, err error) func(tb testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func TestHKDFVectors(t *testing.T) {
	for _, name := range []string{"4-crypto/rfc5869-hkdf-sha256.json", "4-crypto/wycheproof-hkdf-sha256.json"} {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Cases []struct{ ID, IKM, Salt, Info, OKM, Result string }
			}
			vectors.Load(t, name, &file)
			ran := 0
			for _, c := range file.Cases {
				ikm, okm := unhex(t, c.IKM), unhex(t, c.OKM)
				if len(ikm) == 0 || len(okm) < secrets.Size || c.Result == "invalid" {
					continue // ours are always 32 bytes, the first of any longer output
				}
				ran++
				got, err := secrets.Derive(secrets.NewSecret(ikm), unhex(t, c.Salt), unhex(t, c.Info))
				if err != nil || !bytes.Equal(got.Bytes(), okm[:secrets.Size]) {
					t.Errorf("%s: %x, %v", c.ID, got.Bytes(), err)
				}
			}
			if ran == 0 {
				t.Fatal("no vector ran")
			}
		})
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	return must(hex.DecodeString(s))(tb)
}

// Two pairs of halves must never give one key: with b||d of free lengths the
// last byte of the build half could be the first of the deploy half.
func TestAttackBoundaryAmbiguityOfBuildAndDeploy(t *testing.T) {
	both := bytes.Repeat([]byte{0xab, 0xcd, 0x12, 0x34}, 16)
	if _, err := secrets.Key(secrets.NewSecret(both[:32]), secrets.NewSecret(both[32:]), deployment, secrets.PurposeWallet); err != nil {
		t.Fatal(err)
	}
	for cut := range len(both) + 1 {
		if cut == 32 {
			continue
		}
		_, err := secrets.Key(secrets.NewSecret(both[:cut]), secrets.NewSecret(both[cut:]), deployment, secrets.PurposeWallet)
		if !errors.Is(err, secrets.ErrSize) {
			t.Errorf("halves of %d and %d bytes: %v", cut, len(both)-cut, err)
		}
	}
	a, b := secrets.Generate(), secrets.Generate()
	ab := must(secrets.Key(a, b, deployment, "wallet"))(t)
	ba := must(secrets.Key(b, a, deployment, "wallet"))(t)
	if ab.Equal(ba) {
		t.Error("the halves may be exchanged")
	}
	for name, bad := range map[string][2]*secrets.Secret{"no-build": {nil, b}, "no-deploy": {a, nil}} {
		if _, err := secrets.Key(bad[0], bad[1], deployment, "wallet"); !errors.Is(err, secrets.ErrSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := secrets.Branch(secrets.NewSecret(make([]byte, n)), "wallet"); !errors.Is(err, secrets.ErrSize) {
			t.Errorf("secret of %d bytes: %v", n, err)
		}
	}
}

// Every key differs by purpose, deployment, half and generation's secrets; a
// branch is not a key of another purpose, and a purpose is not the beginning
// of another.
func TestKeysAreApart(t *testing.T) {
	build, deploy := secrets.Generate(), secrets.Generate()
	seen := map[string]string{}
	add := func(name string, s *secrets.Secret) {
		t.Helper()
		if other, ok := seen[string(s.Bytes())]; ok {
			t.Errorf("%s equals %s", name, other)
		}
		seen[string(s.Bytes())] = name
	}
	var all []secrets.Purpose
	for _, service := range secrets.Services(roles) {
		for _, p := range must(secrets.Purposes(service, roles))(t) {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	if len(all) != 3*5+4+6 {
		t.Errorf("%d purposes: %v", len(all), all)
	}
	for _, p := range all {
		b, d := must(secrets.Branch(build, p))(t), must(secrets.Branch(deploy, p))(t)
		add("build branch "+string(p), b)
		add("deploy branch "+string(p), d)
		add("key "+string(p), must(secrets.Key(b, d, deployment, p))(t))
		add("key elsewhere "+string(p), must(secrets.Key(b, d, message.Sum([]byte("other")), p))(t))
		add("key for other purpose "+string(p), must(secrets.Key(b, d, deployment, p+"x"))(t))
	}
}

func TestPurposesRefuse(t *testing.T) {
	for _, service := range []string{"", "Signing", "fraud2", "hello/fraud", "audit"} {
		if _, err := secrets.Purposes(service, roles); err == nil {
			t.Errorf("%q has purposes", service)
		}
	}
}

func TestShareIsBound(t *testing.T) {
	key := secrets.Generate()
	id := message.Sum([]byte("id")).String()
	share := must(secrets.NewShare(key, message.ScopeSeed, id))(t)
	if !share.Equal(must(secrets.NewShare(key, message.ScopeSeed, id))(t)) {
		t.Error("two shares of one record differ")
	}
	for name, other := range map[string]*secrets.Secret{
		"scope": must(secrets.NewShare(key, message.ScopeAccount, id))(t),
		"id":    must(secrets.NewShare(key, message.ScopeSeed, message.Sum(nil).String()))(t),
		"key":   must(secrets.NewShare(secrets.Generate(), message.ScopeSeed, id))(t),
	} {
		if share.Equal(other) {
			t.Errorf("another %s gives the same share", name)
		}
	}
	for name, c := range map[string]struct {
		key   *secrets.Secret
		scope message.Scope
		id    string
	}{
		"no-key":    {nil, message.ScopeSeed, id},
		"short-key": {secrets.NewSecret(make([]byte, 31)), message.ScopeSeed, id},
		"scope":     {key, "all", id},
		"no-id":     {key, message.ScopeSeed, ""},
		"id":        {key, message.ScopeSeed, id + "0"},
	} {
		if _, err := secrets.NewShare(c.key, c.scope, c.id); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	key.Wipe()
	if _, err := secrets.NewShare(key, message.ScopeSeed, id); err == nil {
		t.Error("a wiped key gives shares")
	}
}

func TestIdentityKeyAndPassword(t *testing.T) {
	if _, err := secrets.IdentityKey(secrets.NewSecret(make([]byte, 31))); err == nil {
		t.Error("identity key of 31 bytes")
	}
	if p := secrets.DatabasePassword(secrets.Generate()); p.Len() != 43 {
		t.Errorf("password has %d characters", p.Len())
	}
	a, b := secrets.Generate(), secrets.Generate()
	if must(secrets.Fingerprint(a))(t) == must(secrets.Fingerprint(b))(t) {
		t.Error("two secrets, one fingerprint")
	}
}
