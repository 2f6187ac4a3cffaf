package signing_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/signing"
)

// Of two instances that work on the same requests, for their leases end at
// once, the one whose result stands counts it, and nobody else.
func TestEndedOncePerRequest(t *testing.T) {
	w := newWorld(t)
	var signed, done, other atomic.Int64
	count := func(c *signing.Config) {
		c.Lease = time.Millisecond
		c.Ended = func(s message.Status) {
			switch s {
			case message.StatusSigned:
				signed.Add(1)
			case message.StatusDone:
				done.Add(1)
			default:
				other.Add(1)
			}
		}
	}
	instances := []*instance{w.ready(w.start(count)), w.ready(w.start(count))}
	w.needAccount()
	const n = 40
	var ids []uuid.UUID
	for range n {
		ids = append(ids, w.submit(message.KindEthereumMessage, jsontext.Value(`{"text":"hello"}`), time.Hour))
	}
	for _, id := range ids {
		wantStatus(t, w.result(id), message.StatusSigned)
	}
	made := 0
	for _, i := range instances {
		i.stop() // what it has committed is counted then
		made += len(i.chain.made())
	}
	t.Logf("%d signatures were made", made)
	if signed.Load() != n || done.Load() != 2 || other.Load() != 0 {
		t.Errorf("%d signed, %d done, %d others, want %d, the wallet and the account", signed.Load(), done.Load(), other.Load(), n)
	}
}
