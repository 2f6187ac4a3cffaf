package transaction_test

import (
	"errors"
	"testing"

	"github.com/countersign/countersign/transaction"
)

// TestParsedIsNotMadeByHand: what Parse has not read means nothing.
func TestParsedIsNotMadeByHand(t *testing.T) {
	in := transaction.Interpreter{}
	if _, err := in.Meaning(t.Context(), transaction.Parsed{}); !errors.Is(err, transaction.ErrPayload) {
		t.Errorf("got %v", err)
	}
}
