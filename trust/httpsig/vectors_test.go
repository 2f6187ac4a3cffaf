package httpsig_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/trust/httpsig"
)

type rfcVectors struct {
	Keys     map[string][]string
	Messages map[string]string
	Cases    []struct {
		ID, Title, Message, SignatureBase, SignatureInput, Signature string
		Blocks                                                       []string
	}
}

const (
	rfcEd25519 = "Example Ed25519 Test Key"
	rfcP256    = "Example ECC P-256 Test Key"
)

// TestRFC9421Examples builds the signature base of every example of RFC 9421
// appendix B.2 and verifies the signatures of the algorithms that we know.
func TestRFC9421Examples(t *testing.T) {
	var v rfcVectors
	vectors.Load(t, "4-crypto/rfc9421-http-signatures.json", &v)
	tested := 0
	for _, c := range v.Cases {
		if c.SignatureBase == "" {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			params := rfcParams(t, c.SignatureInput)
			base, err := httpsig.Base(params, components(v.Messages[c.Message]))
			if err != nil {
				t.Fatal(err)
			}
			if string(base) != c.SignatureBase {
				t.Fatalf("signature base is\n%s\nwant\n%s", base, c.SignatureBase)
			}
			key, ok := rfcKey(t, v, params)
			if !ok {
				return // RSA: the base is all that we make.
			}
			signature := rfcSignature(t, c.Signature)
			if err := httpsig.VerifyBase(key.Public(), base, signature); err != nil {
				t.Fatal(err)
			}
			again, err := httpsig.SignBase(key, base)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := key.(ed25519.PrivateKey); ok && string(again) != string(signature) {
				t.Fatal("Ed25519 signature differs from the RFC's")
			}
		})
		tested++
	}
	if tested != 4 {
		t.Fatalf("%d examples tested, want 4", tested)
	}
}

// TestRFC9421Transformations is appendix B.4: what an intermediary may change
// and what it may not.
func TestRFC9421Transformations(t *testing.T) {
	var v rfcVectors
	vectors.Load(t, "4-crypto/rfc9421-http-signatures.json", &v)
	for _, c := range v.Cases {
		if !strings.HasPrefix(c.ID, "transform-") {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			values := components(c.Blocks[0])
			params := rfcParams(t, values["signature-input"])
			base, err := httpsig.Base(params, values)
			if err != nil {
				t.Fatal(err)
			}
			key, _ := rfcKey(t, v, params)
			err = httpsig.VerifyBase(key.Public(), base, rfcSignature(t, values["signature"]))
			if valid := !strings.Contains(c.Title, "INVALID"); (err == nil) != valid {
				t.Fatalf("verified with %v, want valid=%v", err, valid)
			}
		})
	}
}

// components reads an HTTP/1.1 message into component values; lines of one
// field are joined as RFC 9421 section 2.1 says.
func components(message string) map[string]string {
	head, _, _ := strings.Cut(message, "\n\n")
	lines := strings.Split(head, "\n")
	values := map[string]string{}
	start := strings.SplitN(lines[0], " ", 3)
	if strings.HasPrefix(start[0], "HTTP/") {
		values["@status"] = start[1]
	} else {
		path, query, _ := strings.Cut(start[1], "?")
		values["@method"], values["@path"] = start[0], path
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			values[`"@query-param";name="`+name+`"`] = value
		}
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		name = strings.ToLower(name)
		if old, ok := values[name]; ok {
			value = old + ", " + value
		}
		values[name] = value
	}
	values["@authority"] = values["host"]
	return values
}

func rfcParams(t *testing.T, input string) httpsfv.InnerList {
	t.Helper()
	d, err := httpsfv.UnmarshalDictionary([]string{input})
	if err != nil {
		t.Fatal(err)
	}
	member, _ := d.Get(d.Names()[0])
	return member.(httpsfv.InnerList)
}

func rfcSignature(t *testing.T, field string) []byte {
	t.Helper()
	d, err := httpsfv.UnmarshalDictionary([]string{field})
	if err != nil {
		t.Fatal(err)
	}
	member, _ := d.Get(d.Names()[0])
	return member.(httpsfv.Item).Value.([]byte)
}

func rfcKey(t *testing.T, v rfcVectors, params httpsfv.InnerList) (crypto.Signer, bool) {
	t.Helper()
	id, _ := params.Params.Get("keyid")
	name := map[any]string{"test-key-ed25519": rfcEd25519, "test-key-ecc-p256": rfcP256}[id]
	if name == "" {
		return nil, false
	}
	_, rest := pem.Decode([]byte(v.Keys[name][0]))
	block, _ := pem.Decode(rest)
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, true
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer), true
}

type signatureVectors struct {
	Cases []struct{ ID, Seed, PublicKey, Msg, Message, Sig, Signature, Result string }
}

func TestEd25519Vectors(t *testing.T) {
	var v signatureVectors
	vectors.Load(t, "4-crypto/ed25519-sign.json", &v)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			key := ed25519.NewKeyFromSeed(unhex(t, c.Seed))
			got, err := httpsig.SignBase(key, unhex(t, c.Message))
			if err != nil || hex.EncodeToString(got) != c.Signature {
				t.Fatalf("signature %x, %v", got, err)
			}
		})
	}
}

func TestWycheproofEd25519(t *testing.T) {
	var v signatureVectors
	vectors.Load(t, "4-crypto/wycheproof-ed25519.json", &v)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			key := ed25519.PublicKey(unhex(t, c.PublicKey))
			err := httpsig.VerifyBase(key, unhex(t, c.Msg), unhex(t, c.Sig))
			if (err == nil) != (c.Result == "valid") {
				t.Fatalf("%v, want %s", err, c.Result)
			}
		})
	}
}

// TestWycheproofP256 takes the vectors' DER apart into r||s; those whose
// fault is in the DER have no such form and are counted as skipped.
func TestWycheproofP256(t *testing.T) {
	var v signatureVectors
	vectors.Load(t, "4-crypto/wycheproof-ecdsa-p256.json", &v)
	tested := 0
	for _, c := range v.Cases {
		raw, ok := vectors.Raw(unhex(t, c.Sig))
		if !ok {
			continue
		}
		tested++
		t.Run(c.ID, func(t *testing.T) {
			key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, c.PublicKey))
			if err != nil {
				t.Fatal(err)
			}
			err = httpsig.VerifyBase(key, unhex(t, c.Msg), raw)
			if (err == nil) != (c.Result == "valid") {
				t.Fatalf("%v, want %s", err, c.Result)
			}
		})
	}
	if tested < 20 {
		t.Fatalf("only %d vectors tested", tested)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
