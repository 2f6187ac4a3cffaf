package wallet_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/wallet"
)

// Two ed25519 signatures, one of them faulty, may tell the key: a faulty one does
// not leave.
func TestAttackFaultySignature(t *testing.T) {
	key, err := wallet.NewKeyForTest(wallet.CurveEd25519, bytes.Repeat([]byte{7}, wallet.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	defer key.Wipe()
	d := message.Digest{Algorithm: message.AlgorithmEd25519, Value: []byte("what is signed")}
	if sig, err := wallet.FaultySigner(key).Sign(d); !errors.Is(err, wallet.ErrBadSignature) || sig != nil {
		t.Errorf("got %x, %v", sig, err)
	}
	if _, err := key.Sign(d); err != nil {
		t.Error(err)
	}
}
