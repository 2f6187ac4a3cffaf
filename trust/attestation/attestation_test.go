package attestation_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/trust/attestation"
)

func TestNew(t *testing.T) {
	if _, err := attestation.New([]string{"amd-sev-snp"}); !errors.Is(err, attestation.ErrUnsupported) {
		t.Errorf("roots that cannot be checked: got %v, want ErrUnsupported", err)
	}
	for _, roots := range [][]string{nil, {}} {
		if _, err := attestation.New(roots); err != nil {
			t.Errorf("no roots: %v", err)
		}
	}
}

func TestWithoutRoots(t *testing.T) {
	a, err := attestation.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{7}, attestation.NonceSize)
	tests := []struct {
		name             string
		statement, nonce []byte
		want             error
	}{
		{"ok/empty", nil, nonce, nil},
		{"fail/unchecked-statement", []byte("quote"), nonce, attestation.ErrStatement},
		{"fail/short-nonce", nil, nonce[1:], attestation.ErrNonce},
		{"fail/no-nonce", nil, nil, attestation.ErrNonce},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := a.Verify(t.Context(), tt.statement, tt.nonce); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	got, err := a.Attest(t.Context(), nonce)
	if err != nil || len(got) != 0 {
		t.Errorf("Attest: got %d bytes and %v, want an empty statement", len(got), err)
	}
	if _, err := a.Attest(t.Context(), nil); !errors.Is(err, attestation.ErrNonce) {
		t.Errorf("Attest without a nonce: got %v", err)
	}
}

func TestNoncesBindEveryKey(t *testing.T) {
	hello := message.Hello{Role: "fraud", HPKEKey: message.Bytes("key")}
	base := must(attestation.HelloNonce(hello))
	attested := hello
	attested.Attestation = message.Bytes("statement")
	if !bytes.Equal(base, must(attestation.HelloNonce(attested))) {
		t.Error("a hello's nonce depends on its own attestation")
	}
	hello.HPKEKey = message.Bytes("other")
	if bytes.Equal(base, must(attestation.HelloNonce(hello))) {
		t.Error("another HPKE key gives the same nonce")
	}
	body := message.AnnouncementBody{Role: "fraud"}
	base = must(attestation.AnnouncementNonce(body))
	body.PublicKey.X = message.Bytes("other")
	if bytes.Equal(base, must(attestation.AnnouncementNonce(body))) {
		t.Error("another public key gives the same nonce")
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
