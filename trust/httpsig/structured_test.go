package httpsig_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/vectors"
	"github.com/countersign/countersign/trust/httpsig"
)

// structured is one parse test of the structured-fields suite (RFC 9651).
type structured struct {
	ID       string `json:"id"`
	Name     string
	Raw      []string
	Type     string `json:"header_type"`
	MustFail bool   `json:"must_fail"`
	// Canonical is the one encoding where Raw is another.
	Canonical *[]string
	Expected  json.RawMessage
}

// field is the field's value; lines of one field are joined by HTTP.
func (s structured) field() string { return strings.Join(s.Raw, ", ") }

// sound says that the value is well formed and in its one encoding.
func (s structured) sound() bool {
	return !s.MustFail && (s.Canonical == nil || strings.Join(*s.Canonical, ", ") == s.field())
}

// innerList says that a list or dictionary has one member, which is a list.
func (s structured) innerList(t *testing.T) bool {
	t.Helper()
	if s.MustFail {
		return false
	}
	var members []json.RawMessage
	if err := json.Unmarshal(s.Expected, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 1 {
		return false
	}
	var named, member []json.RawMessage
	if s.Type == "dictionary" {
		if err := json.Unmarshal(members[0], &named); err != nil || len(named) != 2 {
			t.Fatalf("%s: %v", s.Expected, err)
		}
		members = named[1:]
	}
	if err := json.Unmarshal(members[0], &member); err != nil || len(member) != 2 {
		t.Fatalf("%s: %v", s.Expected, err)
	}
	return member[0][0] == '['
}

// TestStructuredFields puts the values of the structured-fields suite into the
// places of our two fields that take such values. What is malformed or not in
// its one encoding is refused as that; what is well formed is read, and refused
// because it is no signature of ours. None of it is ever accepted.
func TestStructuredFields(t *testing.T) {
	var v struct{ Cases []structured }
	vectors.Load(t, "4-crypto/structured-fields.json", &v)
	priv := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	call := httpsig.Message{Method: "GET", Authority: "approvals.example", Path: "/v1/approvals"}
	now := time.Unix(1795262400, 0)
	good, err := httpsig.Sign(call, httpsig.ReadProfile, priv, "key", now)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(input, signature string) error {
		_, err := httpsig.Verify(call, httpsig.ReadProfile, input, signature, now,
			func(string) (crypto.PublicKey, error) { return priv.Public(), nil })
		return err
	}
	if err := verify(good.SignatureInput, good.Signature); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, c := range v.Cases {
		t.Run(c.ID+"/"+c.Name, func(t *testing.T) {
			input, signature, want := place(t, c, good)
			if input == "" {
				return
			}
			if !errors.Is(want, httpsig.ErrMalformed) {
				read++
			}
			if err := verify(input, signature); !errors.Is(err, want) {
				t.Errorf("Signature-Input: %s\nSignature: %s\ngives %v, want %v", input, signature, err, want)
			}
		})
	}
	if len(v.Cases) < 100 || read < 20 {
		t.Errorf("%d cases, of which %d were read", len(v.Cases), read)
	}
}

// place returns fields that carry the case's value, and the error that they
// must give; no fields where the value has no place in ours.
func place(t *testing.T, c structured, good httpsig.Signed) (input, signature string, want error) {
	t.Helper()
	want = httpsig.ErrMalformed
	value := c.field()
	switch {
	case c.Type == "dictionary": // the whole of Signature-Input
		if c.sound() && c.innerList(t) {
			want = httpsig.ErrCoverage
		}
		name, _, _ := strings.Cut(value, "=")
		return value, strings.Replace(good.Signature, "sig=", name+"=", 1), want
	case c.Type == "list": // our one member
		if c.sound() && c.innerList(t) {
			want = httpsig.ErrCoverage
		}
		return "sig=" + value, good.Signature, want
	case strings.HasPrefix(value, ":"): // the bytes of Signature
		if c.sound() {
			want = httpsig.ErrSignature
		}
		return good.SignatureInput, "sig=" + value, want
	case value == "?1":
		return "", "", nil // in a parameter, true is written as the bare name
	}
	if c.sound() { // a parameter's value
		want = httpsig.ErrCoverage
	}
	return fmt.Sprintf("%s;alg=%s", good.SignatureInput, value), good.Signature, want
}
