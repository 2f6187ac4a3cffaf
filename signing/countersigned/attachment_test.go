package countersigned_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
)

func TestAttackCitedVote(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	good := message.Vote{
		Version: message.Version, Deployment: w.d.ID, Request: asked.ID, Envelope: message.Sum(asked.Envelope),
		Digests: asked.Meaning.Digests, Decision: message.Approve, Approver: deploymenttest.Approver,
		Policy: asked.Policy.Hash, Expires: asked.Meaning.Statement.Expires,
	}
	vote := func(edit func(*message.Vote)) string {
		v := good
		edit(&v)
		return w.d.Vote(v, w.d.ApproverKey)
	}
	same := func(*message.Vote) {}
	tests := []struct {
		name  string
		votes []string
		edit  policytest.Edit
		ok    bool
	}{
		{"ok/valid", []string{vote(same)}, nil, true},
		{"fail/missing", []string{vote(same)}, func(_ *message.Approval, at *message.Attachment) { at.Evidence = nil }, false},
		{"fail/not-cited", []string{vote(same)}, func(x *message.Approval, _ *message.Attachment) { x.Evidence = nil }, false},
		{"fail/other-than-cited", []string{vote(same)}, func(x *message.Approval, _ *message.Attachment) { x.Evidence[0][0] ^= 1 }, false},
		{"fail/cited-twice", []string{vote(same), vote(same)}, nil, false},
		{"fail/stranger", []string{w.d.Vote(good, deploymenttest.Key(t))}, nil, false},
		{"fail/rejection", []string{vote(func(v *message.Vote) { v.Decision = message.Reject })}, nil, false},
		{"fail/other-request", []string{vote(func(v *message.Vote) { v.Request = uuid.NewString() })}, nil, false},
		{"fail/other-envelope", []string{vote(func(v *message.Vote) { v.Envelope[0] ^= 1 })}, nil, false},
		{"fail/other-digests", []string{vote(func(v *message.Vote) { v.Digests = nil })}, nil, false},
		{"fail/other-deployment", []string{vote(func(v *message.Vote) { v.Deployment[0] ^= 1 })}, nil, false},
		{"fail/ended", []string{vote(func(v *message.Vote) { v.Expires = message.At(w.clock.Now()) })}, nil, false},
		{"fail/not-a-vote", []string{"vote"}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with := asked
			with.Votes = tt.votes
			replies := w.approvals(asked, "")
			edits := []policytest.Edit{}
			if tt.edit != nil {
				edits = append(edits, tt.edit)
			}
			replies[2] = reply(w.roles["approval"].Approve(with, w.clock.Now(), edits...))
			f := w.verify(asked, replies)
			if tt.ok {
				w.finish(f)
				return
			}
			wantCode(t, f, countersigned.Incomplete, "approval", countersigned.CodeApprovalVotes)
		})
	}
}

// TestAttackVoteEndsBeforeTheSignature: writing the intent takes so long that a
// vote which the approval cites is over, although the approval is not.
func TestAttackVoteEndsBeforeTheSignature(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	with := asked
	with.Votes = []string{w.d.Vote(message.Vote{
		Version: message.Version, Deployment: w.d.ID, Request: asked.ID, Envelope: message.Sum(asked.Envelope),
		Digests: asked.Meaning.Digests, Decision: message.Approve, Approver: deploymenttest.Approver,
		Policy: asked.Policy.Hash, Expires: message.At(w.clock.Now().Add(time.Minute)),
	}, w.d.ApproverKey)}
	replies := w.approvals(asked, "")
	replies[2] = reply(w.roles["approval"].Approve(with, w.clock.Now()))
	f := w.verify(asked, replies)
	_, err := f.Request.Intent()
	must(t, err)
	w.clock.advance(time.Minute)
	if out, err := f.Request.CarryOut(t.Context()); !errors.Is(err, countersigned.ErrStale) {
		t.Fatalf("ended as %q, %v", out.Status, err)
	}
}

func TestAttackShares(t *testing.T) {
	w := newWorld(t)
	asked, other := w.transfer(), w.transfer()
	w.clock.advance(time.Minute)
	w.open()
	w.announceAll()
	epochs := w.v.Epochs()
	fraud := w.roles["fraud"]
	tests := []struct {
		name string
		edit func(at *message.Attachment)
		sign bool // the role itself names the changed shares
		open bool // they pass verification, and do not open
	}{
		{"fail/altered", func(at *message.Attachment) { flip(at) }, false, false},
		{"fail/altered-by-the-role", func(at *message.Attachment) { flip(at) }, true, true},
		{"fail/missing", func(at *message.Attachment) { at.Shares = nil }, false, false},
		{"fail/none-for-the-account", func(at *message.Attachment) { cut(at) }, true, false},
		{"fail/of-another-request", func(at *message.Attachment) {
			for i := range at.Shares {
				at.Shares[i] = fraud.Shares(at.Shares[i].Epoch, other)
			}
		}, true, true},
		{"fail/of-another-role", func(at *message.Attachment) {
			for i := range at.Shares {
				at.Shares[i] = w.roles["approval"].Shares(at.Shares[i].Epoch, asked)
			}
		}, true, true},
		{"fail/of-another-epoch", func(at *message.Attachment) {
			at.Shares[0].Shares, at.Shares[1].Shares = at.Shares[1].Shares, at.Shares[0].Shares
		}, true, true},
		{"fail/epoch-names-swapped", func(at *message.Attachment) {
			at.Shares[0].Epoch, at.Shares[1].Epoch = epochs[1], epochs[0]
		}, false, false},
		{"fail/of-another-generation", func(at *message.Attachment) { each(at, func(s *message.SealedShare) { s.Generation = 2 }) }, true, false},
		{"fail/of-the-seed", func(at *message.Attachment) {
			each(at, func(s *message.SealedShare) { s.Scope, s.ID = message.ScopeSeed, w.wallet })
		}, true, false},
		{"fail/epoch-twice", func(at *message.Attachment) { at.Shares = append(at.Shares, at.Shares...) }, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := w.verify(asked, w.approvals(asked, "fraud", func(x *message.Approval, at *message.Attachment) {
				tt.edit(at)
				if tt.sign {
					x.Epochs = fraud.Named(at.Shares)
				}
			}))
			if !tt.open {
				wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeApprovalShares)
				return
			}
			_, err := f.Request.Intent()
			must(t, err)
			out, err := f.Request.CarryOut(t.Context())
			if err == nil || len(out.Output) > 0 {
				t.Error("a key was opened with these shares")
			}
		})
	}
}

func each(at *message.Attachment, do func(*message.SealedShare)) {
	for i := range at.Shares {
		for j := range at.Shares[i].Shares {
			do(&at.Shares[i].Shares[j])
		}
	}
}

func flip(at *message.Attachment) {
	each(at, func(s *message.SealedShare) { s.Sealed[3] ^= 1 })
}

func cut(at *message.Attachment) {
	for i := range at.Shares {
		at.Shares[i].Shares = nil
	}
}
