package ledger

import (
	"errors"
	"reflect"

	"github.com/countersign/countersign/internal/message"
)

// ScanAsDecoded reports whether scan has accepted a record, and an error if it
// has read it otherwise than message.Decode.
func ScanAsDecoded(body []byte) (scanned bool, err error) {
	r, ok := scan(body)
	if !ok {
		return false, nil
	}
	var want record
	if err := message.Decode(body, &want); err != nil {
		return true, err
	}
	if !reflect.DeepEqual(r, want) {
		return true, errors.New("read otherwise")
	}
	return true, nil
}
