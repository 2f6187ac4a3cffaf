package hpkeshare_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
)

var info = hpkeshare.Info{
	Deployment: message.Sum([]byte("deployment")), Generation: 1,
	Role: "fraud", Instance: "fraud-1",
	Hello: message.Sum([]byte("hello")), PublicKey: message.Sum([]byte("key")),
}

var context = hpkeshare.ShareContext{
	Request: "0197e5c2-0000-7000-8000-000000000001", Envelope: message.Sum([]byte("envelope")),
	Role: "fraud", Scope: message.ScopeAccount, ID: message.Sum([]byte("account")).String(), Generation: 1,
}

func pair(tb testing.TB, theirs hpkeshare.Info) (policy, signing *hpkeshare.Channel) {
	tb.Helper()
	priv, pub, err := hpkeshare.NewEpochKey()
	if err != nil {
		tb.Fatal(err)
	}
	enc, policy, err := hpkeshare.Announce(pub, info)
	if err != nil {
		tb.Fatal(err)
	}
	if len(pub) != hpkeshare.PublicKeySize || len(enc) != hpkeshare.EncapsulationSize {
		tb.Fatalf("public key has %d bytes, encapsulation %d", len(pub), len(enc))
	}
	signing, err = hpkeshare.Receive(priv, enc, theirs)
	if err != nil {
		tb.Fatal(err)
	}
	return policy, signing
}

func TestShareArrives(t *testing.T) {
	policy, signing := pair(t, info)
	share := secrets.Generate()
	sealed, err := policy.Seal(context, share)
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.Seal(context, share)
	if err != nil || !bytes.Equal(sealed, again) {
		t.Errorf("sealing again gives other bytes (%v)", err)
	}
	got, err := signing.Open(context, sealed)
	if err != nil || !got.Equal(share) {
		t.Errorf("opened another share (%v)", err)
	}
}

func TestAttackShareOpenedElsewhere(t *testing.T) {
	share := secrets.Generate()
	for name, change := range map[string]func(*hpkeshare.Info){
		"deployment": func(i *hpkeshare.Info) { i.Deployment = message.Sum([]byte("x")) },
		"generation": func(i *hpkeshare.Info) { i.Generation = 2 },
		"instance":   func(i *hpkeshare.Info) { i.Instance = "fraud-2" },
		"hello":      func(i *hpkeshare.Info) { i.Hello = message.Sum([]byte("x")) },
		"public-key": func(i *hpkeshare.Info) { i.PublicKey = message.Sum([]byte("x")) },
		"boundary":   func(i *hpkeshare.Info) { i.Instance = "fraud-1\x00" },
	} {
		t.Run("fail/info-"+name, func(t *testing.T) {
			theirs := info
			change(&theirs)
			policy, signing := pair(t, theirs)
			sealed, err := policy.Seal(context, share)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := signing.Open(context, sealed); !errors.Is(err, hpkeshare.ErrSealed) {
				t.Errorf("error is %v", err)
			}
		})
	}
	policy, signing := pair(t, info)
	sealed, err := policy.Seal(context, share)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*hpkeshare.ShareContext){
		"request":    func(c *hpkeshare.ShareContext) { c.Request = "0197e5c2-0000-7000-8000-000000000002" },
		"envelope":   func(c *hpkeshare.ShareContext) { c.Envelope = message.Sum([]byte("x")) },
		"role":       func(c *hpkeshare.ShareContext) { c.Role = "approval" },
		"scope":      func(c *hpkeshare.ShareContext) { c.Scope = message.ScopeSeed },
		"id":         func(c *hpkeshare.ShareContext) { c.ID = message.Sum([]byte("x")).String() },
		"generation": func(c *hpkeshare.ShareContext) { c.Generation = 2 },
	} {
		t.Run("fail/context-"+name, func(t *testing.T) {
			c := context
			change(&c)
			if _, err := signing.Open(c, sealed); !errors.Is(err, hpkeshare.ErrSealed) {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("fail/other-epoch", func(t *testing.T) {
		_, other := pair(t, info)
		if _, err := other.Open(context, sealed); !errors.Is(err, hpkeshare.ErrSealed) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("fail/changed", func(t *testing.T) {
		for i := range sealed {
			c := bytes.Clone(sealed)
			c[i] ^= 1
			if _, err := signing.Open(context, c); !errors.Is(err, hpkeshare.ErrSealed) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
		for _, c := range [][]byte{nil, sealed[:47], append(bytes.Clone(sealed), 0)} {
			if _, err := signing.Open(context, c); !errors.Is(err, hpkeshare.ErrSealed) {
				t.Errorf("%d bytes: %v", len(c), err)
			}
		}
	})
}

// One key and nonce must never meet two plaintexts: whatever a context differs
// in, the sealed zero bytes differ too.
func TestAttackNonceReuse(t *testing.T) {
	policy, _ := pair(t, info)
	share := secrets.NewSecret(bytes.Repeat([]byte{1}, secrets.Size))
	seen := map[string]hpkeshare.ShareContext{}
	for _, request := range []string{"a", "ab", "b"} {
		for _, id := range []string{"c", "bc", "1"} {
			for _, scope := range []message.Scope{message.ScopeSeed, message.ScopeAccount} {
				for generation := range 2 {
					c := hpkeshare.ShareContext{
						Request: request, Envelope: context.Envelope, Role: "fraud",
						Scope: scope, ID: id, Generation: generation + 1,
					}
					sealed, err := policy.Seal(c, share)
					if err != nil {
						t.Fatal(err)
					}
					if other, ok := seen[string(sealed)]; ok {
						t.Errorf("%+v and %+v share a key", c, other)
					}
					seen[string(sealed)] = c
				}
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	priv, pub, err := hpkeshare.NewEpochKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{
		"none": nil, "short": pub[:len(pub)-1], "long": append(bytes.Clone(pub), 0),
		"not-reduced": bytes.Repeat([]byte{0xff}, len(pub)),
	} {
		if _, _, err := hpkeshare.Announce(key, info); err == nil {
			t.Errorf("%s key accepted", name)
		}
	}
	// An all-zero X25519 half gives no shared secret (RFC 7748 section 6.1).
	low := append(bytes.Clone(pub[:1184]), make([]byte, 32)...)
	if _, _, err := hpkeshare.Announce(low, info); err == nil {
		t.Error("key of low order accepted")
	}
	for name, enc := range map[string][]byte{"none": nil, "short": make([]byte, 1119), "long": make([]byte, 1121), "low-order": make([]byte, 1120)} {
		if _, err := hpkeshare.Receive(priv, enc, info); err == nil {
			t.Errorf("%s encapsulation accepted", name)
		}
	}
	for name, change := range map[string]func(*hpkeshare.Info){
		"deployment": func(i *hpkeshare.Info) { i.Deployment = message.Hash{} },
		"generation": func(i *hpkeshare.Info) { i.Generation = 0 },
		"role":       func(i *hpkeshare.Info) { i.Role = "" },
		"instance":   func(i *hpkeshare.Info) { i.Instance = "" },
		"hello":      func(i *hpkeshare.Info) { i.Hello = message.Hash{} },
		"public-key": func(i *hpkeshare.Info) { i.PublicKey = message.Hash{} },
	} {
		i := info
		change(&i)
		if _, _, err := hpkeshare.Announce(pub, i); err == nil {
			t.Errorf("info without %s accepted", name)
		}
	}
	policy, _ := pair(t, info)
	for name, change := range map[string]func(*hpkeshare.ShareContext){
		"no-request":    func(c *hpkeshare.ShareContext) { c.Request = "" },
		"no-envelope":   func(c *hpkeshare.ShareContext) { c.Envelope = message.Hash{} },
		"other-role":    func(c *hpkeshare.ShareContext) { c.Role = "signing" },
		"unknown-scope": func(c *hpkeshare.ShareContext) { c.Scope = "all" },
		"no-id":         func(c *hpkeshare.ShareContext) { c.ID = "" },
		"generation":    func(c *hpkeshare.ShareContext) { c.Generation = 0 },
	} {
		c := context
		change(&c)
		if _, err := policy.Seal(c, secrets.Generate()); err == nil {
			t.Errorf("%s sealed", name)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := policy.Seal(context, secrets.NewSecret(make([]byte, n))); err == nil {
			t.Errorf("share of %d bytes sealed", n)
		}
	}
}

func TestWipe(t *testing.T) {
	policy, signing := pair(t, info)
	sealed, err := policy.Seal(context, secrets.Generate())
	if err != nil {
		t.Fatal(err)
	}
	// Epochs end while requests are under way: with -race this shows that
	// wiping may run beside opening.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := signing.Open(context, sealed); err != nil && !errors.Is(err, hpkeshare.ErrWiped) {
				t.Error(err)
			}
		})
	}
	signing.Wipe()
	wg.Wait()
	signing.Wipe()
	if _, err := signing.Open(context, sealed); !errors.Is(err, hpkeshare.ErrWiped) {
		t.Errorf("after wiping: %v", err)
	}
	var none *hpkeshare.Channel
	none.Wipe()
}

func TestKeyHashIsThumbprint(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := message.NewJWK(pub)
	if err != nil {
		t.Fatal(err)
	}
	h, err := hpkeshare.KeyHash(jwk)
	if err != nil {
		t.Fatal(err)
	}
	text, err := message.Bytes(h[:]).MarshalText()
	if err != nil || string(text) != jwk.Thumbprint() {
		t.Errorf("hash %s, thumbprint %s", text, jwk.Thumbprint())
	}
}

func FuzzReceive(f *testing.F) {
	priv, err := hpke.MLKEM768X25519().NewPrivateKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(make([]byte, hpkeshare.EncapsulationSize), make([]byte, hpkeshare.SealedSize))
	f.Fuzz(func(t *testing.T, encapsulation, sealed []byte) {
		c, err := hpkeshare.Receive(priv, encapsulation, info)
		if err != nil {
			return
		}
		if _, err := c.Open(context, sealed); err == nil {
			t.Error("made-up share opens")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	policy, signing := pair(b, info)
	sealed, err := policy.Seal(context, secrets.Generate())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := signing.Open(context, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
