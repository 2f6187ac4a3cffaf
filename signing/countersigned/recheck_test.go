package countersigned_test

import (
	"context"
	"errors"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
)

// slowStore is a store in which something may happen while a record is read.
type slowStore struct {
	wallet.Store
	meanwhile func()
}

func (s *slowStore) Wallet(ctx context.Context, id string) (wallet.Record, error) {
	defer s.happen()
	return s.Store.Wallet(ctx, id)
}

func (s *slowStore) Account(ctx context.Context, id string) (wallet.Record, error) {
	defer s.happen()
	return s.Store.Account(ctx, id)
}

func (s *slowStore) happen() {
	if s.meanwhile != nil {
		s.meanwhile()
	}
}

// slowWorld is a world whose signing instance reads through a slow store.
func slowWorld(t *testing.T) (*world, *slowStore) {
	t.Helper()
	w := bareWorld(t)
	slow := &slowStore{Store: w.store}
	attester, err := attestation.New(w.d.Genesis.AttestationRoots)
	must(t, err)
	w.v, err = countersigned.New(countersigned.Config{
		Genesis: w.d.Genesis, Deployment: w.d.ID, Keyring: w.d.Keyrings["signing"], Instance: "signing-1",
		Store: slow, Seeds: wallet.NewSoftwareSource(), Interpreter: w.interpreter(),
		Policy: w.policy, Examine: w.examine, Attester: attester, Now: w.clock.Now, Elapsed: w.clock.Elapsed,
	})
	must(t, err)
	t.Cleanup(w.v.Close)
	w.open()
	w.announceAll()
	return w, slow
}

// What ends while the record is read is noticed before any share is opened. One
// role's shares are damaged, which is noticed by who opens them.
func TestAttackReadingTheRecordTakesLong(t *testing.T) {
	requests := map[string]func(*world) policytest.Asked{
		"transfer": (*world).transfer,
		"account":  func(w *world) policytest.Asked { w.needAccount(); return w.accountCreate() },
	}
	for _, tt := range []struct {
		name string
		end  func(*world)
		want error
	}{
		{"ok/nothing-happens", func(*world) {}, hpkeshare.ErrSealed},
		{"fail/approval-expired", func(w *world) { w.clock.advance(approvalLife) }, countersigned.ErrStale},
		{"fail/monotonic-clock-only", func(w *world) { w.clock.elapsed += countersigned.MaxLifetime }, countersigned.ErrStale},
		{"fail/policy-changed", func(w *world) { w.activate(func(d *document.Document) { d.Version = 2 }) }, countersigned.ErrStale},
		{"fail/no-policy", func(w *world) { w.active = nil }, countersigned.ErrStale},
	} {
		for kind, ask := range requests {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				w, slow := slowWorld(t)
				asked := ask(w)
				f := w.verify(asked, w.approvals(asked, "fraud", func(a *message.Approval, at *message.Attachment) {
					a.Expires = message.At(a.Issued.Add(approvalLife))
					flip(at)
					a.Epochs = w.roles["fraud"].Named(at.Shares)
				}))
				_, err := f.Request.Intent()
				must(t, err)
				w.verify(asked, nil) // in vain, so that the record is not in memory any more
				read := false
				slow.meanwhile = func() { read = true; tt.end(w) }
				out, err := f.Request.CarryOut(t.Context())
				if !read || !errors.Is(err, tt.want) || out.Status != "" {
					t.Errorf("record read: %v; got %+v, %v, want %v", read, out, err, tt.want)
				}
			})
		}
	}
}
