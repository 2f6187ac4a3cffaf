package signing_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// TestPolicyUpdateIsPublished: a document that a request carries is published
// with the request's result, for everybody to find.
func TestPolicyUpdateIsPublished(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	carriers := func(d *document.Document) {
		d.Version = 2
		d.Grants[0].Kinds = append(d.Grants[0].Kinds, message.KindPolicyUpdate)
		d.Grants[0].Wallets = append(d.Grants[0].Wallets, document.WalletsAny)
	}
	second := w.d.Active(carriers)
	for _, p := range w.players {
		p.set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
			asked.Policy = second.Ref
			return r.Approve(asked, time.Now()), true
		})
	}
	w.push(carriers)
	next := w.d.Policy(func(d *document.Document) { d.Version = 3 })
	wantStatus(t, w.result(w.submit(message.KindPolicyUpdate, next, time.Hour)), message.StatusDone)
	holder := activation.New(w.d.Genesis, w.d.ID, w.queue(secrets.ServiceProposer, nil), slog.New(slog.DiscardHandler))
	if _, err := holder.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if active := holder.Active(); active == nil || active.Version != 3 || string(active.Bundle.Document) != string(next.Document) {
		t.Fatalf("active is %+v", active)
	}
}
