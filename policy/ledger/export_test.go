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

// Remembers reports whether all events of some keys, which share them, are still
// known when the keys are asked for by turns.
func Remembers(events, keys int) bool {
	var c cache
	for turn := range 3 * keys {
		g := c.take(key{users, uint32(turn % keys)})
		if turn >= keys && len(g.ids) == 0 {
			return false
		}
		g.ids = make([]uint32, events/keys)
		c.charge(g, events)
	}
	return true
}

// Narrow leaves a ledger so many bytes for each kind of names.
func Narrow(l *Ledger, most int) {
	l.assets.most = uint64(most)
	for _, n := range l.names {
		n.most = uint64(most)
	}
}
