package policy_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// TestManyEpochs: a signing service that was started again and again has left
// more live epochs behind than a role keeps, some of them under an earlier policy:
// the newest epoch is answered and sealed for all the same. An older one that
// turns up later takes nobody's place.
func TestManyEpochs(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	const left = 100
	for n := range left {
		w.say(w.hello(func(h *message.Hello) {
			if n%2 == 0 { // which live longest, and are of no use
				h.Policy = message.PolicyRef{Version: h.Policy.Version - 1}
			} else {
				h.Expires = message.At(h.Issued.Add(time.Duration(n+1) * time.Second))
			}
		}).compact)
	}
	w.answered(w.openEpoch())
	late := w.hello(func(h *message.Hello) {
		h.Policy, h.Expires = message.PolicyRef{Version: h.Policy.Version - 1}, message.At(h.Issued.Add(time.Second))
	})
	w.say(late.compact)
	newest := w.openEpoch()
	w.answered(newest)
	if len(w.announcements()[late.hello.Epoch]) != 0 {
		t.Error("an epoch of less use than all others took a place")
	}
	a, _ := i.one(w.task())
	sealed := map[message.EpochID]bool{}
	for _, e := range a.Epochs {
		sealed[e.Epoch] = true
	}
	if !sealed[newest.hello.Epoch] || len(sealed) > 64 {
		t.Fatalf("sealed for %d epochs, the newest one among them: %v", len(sealed), sealed[newest.hello.Epoch])
	}
}

// answered waits until an instance has announced its key to an epoch.
func (w *world) answered(e *epoch) {
	w.t.Helper()
	w.until("an epoch is answered", func() error {
		if len(w.announcements()[e.hello.Epoch]) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
}
