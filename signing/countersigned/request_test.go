package countersigned_test

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/countersigned"
)

func TestCountersignedRequestIsSigned(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	out := w.carryOut(asked)
	if out.Status != message.StatusSigned || len(out.Output) == 0 {
		t.Errorf("outcome is %+v", out)
	}
	again := w.carryOut(asked)
	if !bytes.Equal(out.Output, again.Output) {
		t.Error("signing again gave other bytes")
	}
}

func TestZeroRequestDoesNothing(t *testing.T) {
	var r countersigned.Request
	if _, err := r.Intent(); !errors.Is(err, countersigned.ErrUnverified) {
		t.Errorf("Intent: %v", err)
	}
	if _, err := r.CarryOut(t.Context()); !errors.Is(err, countersigned.ErrUnverified) {
		t.Errorf("CarryOut: %v", err)
	}
}

func TestNothingIsCarriedOutBeforeItsIntent(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	f := w.verify(asked, w.approvals(asked, ""))
	if _, err := f.Request.CarryOut(t.Context()); !errors.Is(err, countersigned.ErrNotRecorded) {
		t.Errorf("got %v, want ErrNotRecorded", err)
	}
}

func TestAttackSingleUseValueUsedTwice(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	f := w.verify(asked, w.approvals(asked, ""))
	if _, err := f.Request.Intent(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Request.Intent(); !errors.Is(err, countersigned.ErrUsed) {
		t.Errorf("second intent: %v", err)
	}
	var passed, refused atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			switch _, err := f.Request.CarryOut(t.Context()); {
			case err == nil:
				passed.Add(1)
			case errors.Is(err, countersigned.ErrUsed):
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1 || refused.Load() != 7 {
		t.Errorf("%d uses passed and %d were refused, want 1 and 7", passed.Load(), refused.Load())
	}
}

func TestAttackPolicyChangedBetweenDecisionAndSignature(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	f := w.verify(asked, replies)
	if _, err := f.Request.Intent(); err != nil {
		t.Fatal(err)
	}
	w.activate(func(d *document.Document) { d.Version = 2 })
	if _, err := f.Request.CarryOut(t.Context()); !errors.Is(err, countersigned.ErrStale) {
		t.Fatalf("got %v, want ErrStale", err)
	}
	// The keys of the old policy's epochs are gone with it.
	wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeMissing)
	w.open()
	w.announceAll()
	wantCode(t, w.verify(asked, w.approvals(asked, "")), countersigned.Incomplete, "fraud", countersigned.CodeApprovalPolicy)
	asked.Policy = w.policy().Ref
	w.carryOut(asked)
}

// approvalLife is shorter than the keys live.
const approvalLife = time.Minute

func TestWhatEndsBeforeTheSignatureIsStale(t *testing.T) {
	tests := []struct {
		name string
		end  func(*world)
	}{
		{"fail/approval-expired-key-alive", func(w *world) { w.clock.advance(approvalLife) }},
		{"fail/monotonic-clock-only", func(w *world) { w.clock.elapsed += countersigned.MaxLifetime }},
		{"fail/epoch-closed", func(w *world) { w.v.Close() }},
		{"fail/no-policy", func(w *world) { w.active = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			asked := w.transfer()
			f := w.verify(asked, w.approvals(asked, "", func(a *message.Approval, _ *message.Attachment) {
				a.Expires = message.At(a.Issued.Add(approvalLife))
			}))
			if _, err := f.Request.Intent(); err != nil {
				t.Fatal(err)
			}
			tt.end(w)
			if _, err := f.Request.CarryOut(t.Context()); !errors.Is(err, countersigned.ErrStale) {
				t.Errorf("got %v, want ErrStale", err)
			}
		})
	}
}
