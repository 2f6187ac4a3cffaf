package wallet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/wallet"
)

func TestSignRFC6979Vectors(t *testing.T) {
	var file struct {
		Cases []struct {
			ID, Kind, D, Message string
			Signature            struct{ R, S string }
		}
	}
	vectors.Load(t, "2-ethereum/rfc6979-secp256k1.json", &file)
	ran := 0
	for _, c := range file.Cases {
		if !strings.HasPrefix(c.Kind, "sign ") {
			continue
		}
		ran++
		t.Run(c.ID, func(t *testing.T) {
			d, _ := new(big.Int).SetString(c.D, 16)
			key, err := wallet.NewKeyForTest(wallet.CurveSecp256k1, d.FillBytes(make([]byte, 32)))
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256([]byte(c.Message))
			sig, err := key.Sign(message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest[:]})
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(sig[:32]) != c.Signature.R || hex.EncodeToString(sig[32:64]) != c.Signature.S {
				t.Errorf("signature is %x", sig)
			}
		})
	}
	if ran == 0 {
		t.Fatal("no signing vectors")
	}
}

func TestSignEd25519Vectors(t *testing.T) {
	var file struct {
		Cases []struct{ ID, Seed, PublicKey, Message, Signature string }
	}
	vectors.Load(t, "4-crypto/ed25519-sign.json", &file)
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			key, err := wallet.NewKeyForTest(wallet.CurveEd25519, unhex(t, c.Seed))
			if err != nil {
				t.Fatal(err)
			}
			sig, err := key.Sign(message.Digest{Algorithm: message.AlgorithmEd25519, Value: unhex(t, c.Message)})
			if err != nil || hex.EncodeToString(key.PublicKey()) != c.PublicKey || hex.EncodeToString(sig) != c.Signature {
				t.Errorf("public key %x, signature %x, %v", key.PublicKey(), sig, err)
			}
		})
	}
}

func TestAttackHighSOrRandomNonce(t *testing.T) {
	key, err := wallet.NewKeyForTest(wallet.CurveSecp256k1, bytes.Repeat([]byte{0x17}, 32))
	if err != nil {
		t.Fatal(err)
	}
	half := new(big.Int).Rsh(crypto.S256().Params().N, 1)
	for i := range 200 {
		digest := sha256.Sum256([]byte{byte(i)})
		d := message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest[:]}
		one, err := key.Sign(d)
		if err != nil {
			t.Fatal(err)
		}
		two, err := key.Sign(d)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("two signatures of one digest differ (%v)", err)
		}
		if new(big.Int).SetBytes(one[32:64]).Cmp(half) > 0 || len(one) != 65 || one[64] > 1 {
			t.Fatalf("signature %x is not in low-s form", one)
		}
		pub, err := crypto.SigToPub(digest[:], one)
		if err != nil || !bytes.Equal(crypto.CompressPubkey(pub), key.PublicKey()) {
			t.Fatalf("recovered another key (%v)", err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	ec, err := wallet.NewKeyForTest(wallet.CurveSecp256k1, bytes.Repeat([]byte{0x17}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ed, err := wallet.NewKeyForTest(wallet.CurveEd25519, bytes.Repeat([]byte{0x17}, 32))
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	for name, c := range map[string]struct {
		key *wallet.Key
		d   message.Digest
	}{
		"other-algorithm":   {ec, message.Digest{Algorithm: message.AlgorithmEd25519, Value: digest}},
		"other-algorithm-2": {ed, message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest}},
		"no-algorithm":      {ec, message.Digest{Value: digest}},
		"short-digest":      {ec, message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: digest[:31]}},
		"long-digest":       {ec, message.Digest{Algorithm: message.AlgorithmSecp256k1, Value: make([]byte, 33)}},
		"no-digest":         {ec, message.Digest{Algorithm: message.AlgorithmSecp256k1}},
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			if sig, err := c.key.Sign(c.d); err == nil {
				t.Errorf("signed: %x", sig)
			}
		})
	}
	t.Run("fail/wiped", func(t *testing.T) {
		for _, k := range []*wallet.Key{ec, ed} {
			k.Wipe()
			k.Wipe()
			if _, err := k.Sign(message.Digest{Algorithm: k.Curve(), Value: digest}); err == nil {
				t.Error("a wiped key signs")
			}
		}
	})
	t.Run("fail/invalid-key", func(t *testing.T) {
		n := crypto.S256().Params().N.Bytes()
		for _, b := range [][]byte{make([]byte, 32), n, n[:31], nil} {
			if _, err := wallet.NewKeyForTest(wallet.CurveSecp256k1, b); err == nil {
				t.Errorf("key %x accepted", b)
			}
		}
		if _, err := wallet.NewKeyForTest("p256", make([]byte, 32)); err == nil {
			t.Error("unknown curve accepted")
		}
	})
}

func TestAttackKeyLeftInLogs(t *testing.T) {
	raw := []byte("0123456789abcdefghijklmnopqrstuv0123456789ABCDEFGHIJKLMNOPQRSTUV")
	seed := wallet.NewSeedForTest(raw)
	key, err := wallet.NewKeyForTest(wallet.CurveEd25519, raw[:32])
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Key  *wallet.Key
		seed *wallet.Seed
		copy wallet.Key
	}
	h := holder{key, seed, *key}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("opened", "seed", seed, "key", key, "holder", h, "pointer", &h)
	}
	for _, v := range []any{seed, key, *seed, *key, h, &h, []any{seed, *key}, map[string]any{"k": *key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		if b, err := json.Marshal(v); err == nil {
			log.Write(b)
		}
	}
	log.WriteString(fmt.Errorf("signing with %v and %s", key, seed).Error())
	for _, form := range []string{
		string(raw[:16]), hex.EncodeToString(raw[:16]), strings.ToUpper(hex.EncodeToString(raw[:16])),
		base64.StdEncoding.EncodeToString(raw[:15]), "48 49 50 51", "0x30, 0x31", "0x30 0x31",
	} {
		if strings.Contains(log.String(), form) {
			t.Errorf("%q stands in the output", form)
		}
	}
	if !strings.Contains(log.String(), "[redacted]") {
		t.Error("nothing was redacted: the test tests nothing")
	}
}

func BenchmarkSign(b *testing.B) {
	for _, curve := range []string{wallet.CurveSecp256k1, wallet.CurveEd25519} {
		b.Run(curve, func(b *testing.B) {
			key, err := wallet.NewKeyForTest(curve, bytes.Repeat([]byte{9}, 32))
			if err != nil {
				b.Fatal(err)
			}
			d := message.Digest{Algorithm: curve, Value: make([]byte, 32)}
			for b.Loop() {
				if _, err := key.Sign(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
