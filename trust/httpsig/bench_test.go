package httpsig_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/trust/httpsig"
)

// benchMessage is a statement of the usual size.
var benchMessage = httpsig.Message{
	Method: "POST", Authority: "127.0.0.1:8443", Path: "/v1/requests", ContentType: "application/json",
	Body: bytes.Repeat([]byte("x"), 600),
}

func BenchmarkSign(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	now := time.Unix(1800000000, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := httpsig.Sign(benchMessage, httpsig.StatementProfile, key, strings.Repeat("k", 43), now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is a whole verification, and one that ends where the key is
// needed, as the proposer's does.
func BenchmarkVerify(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	now := time.Unix(1800000000, 0)
	signed, err := httpsig.Sign(benchMessage, httpsig.StatementProfile, key, strings.Repeat("k", 43), now)
	if err != nil {
		b.Fatal(err)
	}
	verify := func(lookup func(string) (crypto.PublicKey, error)) error {
		_, err := httpsig.Verify(benchMessage, httpsig.StatementProfile, signed.SignatureInput, signed.Signature, now, lookup)
		return err
	}
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := verify(func(string) (crypto.PublicKey, error) { return key.Public(), nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("form", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := verify(func(string) (crypto.PublicKey, error) { return nil, errors.New("no key") }); err == nil {
				b.Fatal("a key that is not there")
			}
		}
	})
}
