package countersigned_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
)

// readings counts how often a payload is read.
type readings struct {
	transaction.Chain
	n atomic.Int32
}

func (r *readings) Decode(k message.Kind, payload jsontext.Value, a message.AccountDescriptor) (transaction.Transaction, error) {
	r.n.Add(1)
	return r.Chain.Decode(k, payload, a)
}

// counting has the world's verifier count.
func counting(t *testing.T) (*world, *readings) {
	w := bareWorld(t)
	r := &readings{Chain: ethereum.New()}
	in := w.interpreter()
	in.Chains = map[string]transaction.Chain{"eip155": r}
	attester, err := attestation.New(w.d.Genesis.AttestationRoots)
	must(t, err)
	w.v, err = countersigned.New(countersigned.Config{
		Genesis: w.d.Genesis, Deployment: w.d.ID, Keyring: w.d.Keyrings["signing"], Instance: "signing-1",
		Store: w.store, Seeds: wallet.NewSoftwareSource(), Interpreter: in,
		Policy: w.policy, Examine: w.examine, Attester: attester, Now: w.clock.Now, Elapsed: w.clock.Elapsed,
	})
	must(t, err)
	t.Cleanup(w.v.Close)
	w.open()
	w.announceAll()
	return w, r
}

// TestEarlyReading: what was read early is not read again, once: not under
// another document, later, under another id, or for other bytes.
func TestEarlyReading(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(w *world, c *countersigned.Case)
		read      int32 // after it was prepared
		want      countersigned.Ruling
	}{
		"at-once":        {func(*world, *countersigned.Case) {}, 0, countersigned.Countersigned},
		"taken-before":   {func(w *world, c *countersigned.Case) { w.verifyCase(*c) }, 1, countersigned.Countersigned},
		"later":          {func(w *world, _ *countersigned.Case) { w.clock.advance(2 * time.Second) }, 1, countersigned.Countersigned},
		"clock-set-back": {func(w *world, _ *countersigned.Case) { w.clock.advance(-time.Second) }, 1, countersigned.Countersigned},
		"expired":        {func(w *world, _ *countersigned.Case) { w.clock.advance(time.Hour) }, 0, countersigned.Expired},
		"other-id":       {func(_ *world, c *countersigned.Case) { c.ID = "0198c0de-0000-7000-8000-000000000000" }, 0, countersigned.Rejected},
		"other-bytes": {func(w *world, c *countersigned.Case) { // the statement, signed by nobody we know
			var e message.Envelope
			must(w.t, message.Decode(c.Envelope, &e))
			body, err := message.Encode(w.d.Envelope(e.Statement, deploymenttest.Key(w.t), w.clock.Now()))
			must(w.t, err)
			c.Envelope = body
		}, 1, countersigned.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			w, r := counting(t)
			asked := w.transfer()
			c := countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: w.approvals(asked, "")}
			w.v.Prepare(t.Context(), countersigned.Case{ID: c.ID, Envelope: c.Envelope, Replies: c.Replies[:1]})
			w.v.Prepare(t.Context(), countersigned.Case{ID: c.ID, Envelope: c.Envelope, Replies: c.Replies[1:2]})
			if n := r.n.Load(); n != 1 {
				t.Fatalf("read %d times before", n)
			}
			test.meanwhile(w, &c)
			f := w.verifyCase(c)
			if n := r.n.Load() - 1; n != test.read || f.Ruling != test.want {
				t.Errorf("read %d times more, want %d; ruling %d, want %d: %v", n, test.read, f.Ruling, test.want, f.Reasons)
			}
		})
	}
}

// TestAttackEarlyUnderAnotherDocument: the user's right was taken away between.
func TestAttackEarlyUnderAnotherDocument(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	w.v.Prepare(t.Context(), countersigned.Case{ID: asked.ID, Envelope: asked.Envelope})
	w.activate(func(d *document.Document) { d.Version++; d.Grants = nil })
	w.open()
	w.announceAll()
	asked.Policy = w.policy().Ref
	if f := w.verify(asked, w.approvals(asked, "")); f.Ruling != countersigned.Rejected {
		t.Errorf("ruling %d, %v", f.Ruling, f.Reasons)
	}
}

// TestAttackEarlyApproval: an approval that was heard early counts for nothing
// with another attachment, for another request, or changed.
func TestAttackEarlyApproval(t *testing.T) {
	for name, spoil := range map[string]func(w *world, asked policytest.Asked, r *countersigned.Reply){
		"attachment": func(_ *world, _ policytest.Asked, r *countersigned.Reply) { r.Attachment = []byte("{}") },
		"changed": func(_ *world, _ policytest.Asked, r *countersigned.Reply) {
			r.Approval = append([]byte(nil), r.Approval...)
			r.Approval[len(r.Approval)-3] ^= 1
		},
		"other-request": func(w *world, _ policytest.Asked, r *countersigned.Reply) {
			other := w.approvals(w.transfer(), "")[0]
			w.v.Prepare(w.t.Context(), countersigned.Case{Replies: []countersigned.Reply{other}})
			*r = other
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := w.transfer()
			replies := w.approvals(asked, "")
			w.v.Prepare(t.Context(), countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: replies})
			spoil(w, asked, &replies[0])
			if f := w.verify(asked, replies); f.Ruling != countersigned.Incomplete || len(f.Missing) != 1 {
				t.Errorf("ruling %d, missing %v", f.Ruling, f.Missing)
			}
		})
	}
}

// TestAttackEarlyFlood: however much is heard, what is true is found.
func TestAttackEarlyFlood(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	for range 600 {
		other := w.transfer()
		w.v.Prepare(t.Context(), countersigned.Case{ID: other.ID, Envelope: other.Envelope})
	}
	w.v.Prepare(t.Context(), countersigned.Case{ID: asked.ID, Envelope: []byte("junk"), Replies: []countersigned.Reply{{Approval: []byte("junk")}}})
	if f := w.verify(asked, replies); f.Ruling != countersigned.Countersigned {
		t.Errorf("ruling %d, %v", f.Ruling, f.Reasons)
	}
}
