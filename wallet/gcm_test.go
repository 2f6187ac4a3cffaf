package wallet_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"slices"
	"testing"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/wallet"
)

// TestWycheproofGCM holds the AEAD of seals, AES-256-GCM with the nonce before
// the ciphertext, against Wycheproof: what is valid opens, and nothing else,
// nor what is valid with any byte of it changed. That a seal is this AEAD under
// the derived key is what the vectors of docs/SPEC.md show.
func TestWycheproofGCM(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Key, IV, AAD, Msg, CT, Tag, Result string
			KeySize                                int
		}
	}
	vectors.Load(t, "4-crypto/wycheproof-aes-gcm.json", &v)
	tested := 0
	for _, c := range v.Cases {
		if c.KeySize != 256 {
			continue
		}
		tested++
		t.Run(c.ID, func(t *testing.T) {
			aead := sealAEAD(t, unhex(t, c.Key))
			sealed := slices.Concat(unhex(t, c.IV), unhex(t, c.CT), unhex(t, c.Tag))
			got, err := aead.Open(nil, nil, sealed, unhex(t, c.AAD))
			if valid := c.Result == "valid"; (err == nil) != valid {
				t.Fatalf("result %s, but %v", c.Result, err)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(got, unhex(t, c.Msg)) || len(sealed) != len(got)+wallet.Overhead {
				t.Fatalf("opens to %x, want %s", got, c.Msg)
			}
			for i := range sealed {
				sealed[i] ^= 1
				if _, err := aead.Open(nil, nil, sealed, unhex(t, c.AAD)); err == nil {
					t.Errorf("byte %d may be changed", i)
				}
				sealed[i] ^= 1
			}
		})
	}
	if tested < 40 {
		t.Errorf("%d cases tested", tested)
	}
}

func sealAEAD(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}
