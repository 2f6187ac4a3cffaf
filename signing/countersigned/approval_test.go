package countersigned_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/transaction"
)

func TestAttackApprovalOnAnotherRequest(t *testing.T) {
	w := newWorld(t)
	a, b := w.transfer(), w.transfer()
	wantCode(t, w.verify(b, w.approvals(a, "")), countersigned.Incomplete, "fraud", countersigned.CodeApprovalOther)
	// One that a role made out to B, but over A's envelope.
	mixed := w.approvals(b, "fraud", func(x *message.Approval, _ *message.Attachment) { x.Envelope = message.Sum(a.Envelope) })
	wantCode(t, w.verify(b, mixed), countersigned.Incomplete, "fraud", countersigned.CodeApprovalOther)
	// And one over B's envelope, made out to A.
	mixed = w.approvals(b, "fraud", func(x *message.Approval, _ *message.Attachment) { x.Request = a.ID })
	wantCode(t, w.verify(b, mixed), countersigned.Incomplete, "fraud", countersigned.CodeApprovalOther)
	w.finish(w.verify(b, w.approvals(b, "")))
}

func TestAttackApprovalAfterItsTime(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world)
		edit policytest.Edit
		code string
	}{
		{"fail/after-expiry", func(w *world) { w.clock.advance(policytest.Lifetime) },
			func(x *message.Approval, _ *message.Attachment) {}, countersigned.CodeMissing},
		{"fail/approval-over-key-alive", func(w *world) { w.clock.advance(time.Minute) },
			func(x *message.Approval, _ *message.Attachment) { x.Expires = message.At(x.Issued.Add(time.Minute)) },
			countersigned.CodeApprovalTimes},
		{"fail/from-the-future", func(*world) {},
			func(x *message.Approval, _ *message.Attachment) {
				x.Issued = message.At(x.Issued.Add(countersigned.Skew + time.Second))
			}, countersigned.CodeApprovalTimes},
		{"fail/longer-than-ten-minutes", func(*world) {},
			func(x *message.Approval, _ *message.Attachment) {
				x.Expires = message.At(x.Issued.Add(countersigned.MaxLifetime + time.Second))
			}, countersigned.CodeApprovalTimes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			asked := w.transfer()
			replies := w.approvals(asked, "fraud", tt.edit)
			tt.do(w)
			wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", tt.code)
		})
	}
}

func TestAttackApprovalInAnotherEpoch(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	old := w.approvals(asked, "")
	w.clock.advance(countersigned.MaxLifetime)
	w.open()
	for name := range w.roles { // new instances, new keys
		w.roles[name] = policytest.New(t, w.d, name)
	}
	w.announceAll()
	wantCode(t, w.verify(asked, old), countersigned.Incomplete, "approval", countersigned.CodeMissing)
	w.carryOut(asked)

	t.Run("fail/epoch-not-named", func(t *testing.T) {
		replies := w.approvals(asked, "fraud", func(x *message.Approval, _ *message.Attachment) { x.Epochs = nil })
		wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeApprovalShares)
	})
	t.Run("fail/other-instances-epoch", func(t *testing.T) {
		// Announced to and approved for signing-2: worth nothing to signing-1.
		second := w.verifier("signing-2")
		hellos, err := second.OpenEpoch(t.Context())
		must(t, err)
		var replies []countersigned.Reply
		for _, h := range hellos {
			role := policytest.New(t, w.d, h.Role)
			must(t, second.Announcement(t.Context(), role.Announce(h.Compact, w.clock.Now())))
			replies = append(replies, reply(role.Approve(asked, w.clock.Now())))
		}
		wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeMissing)
	})
}

func TestAttackApprovalUnderAnotherPolicy(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	for name, edit := range map[string]policytest.Edit{
		"fail/version": func(x *message.Approval, _ *message.Attachment) { x.Policy.Version++ },
		"fail/hash":    func(x *message.Approval, _ *message.Attachment) { x.Policy.Hash[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := w.verify(asked, w.approvals(asked, "fraud", edit))
			wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeApprovalPolicy)
			if !slices.Equal(f.Missing, []string{"fraud"}) {
				t.Errorf("missing are %v, want fraud", f.Missing)
			}
		})
	}
}

func TestAttackTwoApprovalsOfOneRole(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	second := policytest.New(t, w.d, "fraud")
	second.Instance = "fraud-2"
	must(t, w.v.Announcement(t.Context(), second.Announce(w.hellos["fraud"], w.clock.Now())))
	replies := w.approvals(asked, "")[:2] // authorization and fraud
	replies = append(replies, reply(second.Approve(asked, w.clock.Now())))
	f := w.verify(asked, replies)
	wantCode(t, f, countersigned.Incomplete, "approval", countersigned.CodeMissing)
	if !slices.Equal(f.Missing, []string{"approval"}) {
		t.Errorf("missing are %v, want approval alone", f.Missing)
	}
	// With the third role there they count once, and do no harm.
	f = w.verify(asked, append(replies, w.approvals(asked, "")[2]))
	if len(f.Approvals) != 3 {
		t.Errorf("the ruling rests on %d approvals, want 3", len(f.Approvals))
	}
	w.finish(f)
}

func TestAttackRoleClaimsAnother(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	forged := w.roles["fraud"].Approve(asked, w.clock.Now(), func(x *message.Approval, _ *message.Attachment) { x.Role = "approval" })
	wantCode(t, w.verify(asked, []countersigned.Reply{replies[0], replies[1], reply(forged)}),
		countersigned.Incomplete, "approval", countersigned.CodeMissing)
	wantCode(t, w.verify(asked, []countersigned.Reply{replies[0], reply(forged), reply(forged)}),
		countersigned.Incomplete, "fraud", countersigned.CodeMissing)
}

func TestAttackRejectionOutvoted(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	approvals := w.approvals(asked, "")
	rejection := reply(w.roles["fraud"].Reject(asked, w.clock.Now(), "deny_list"))
	for name, replies := range map[string][]countersigned.Reply{
		"alone":              {rejection},
		"then-all-approve":   append([]countersigned.Reply{rejection}, approvals...),
		"after-all-approved": append(slices.Clone(approvals), rejection),
	} {
		t.Run(name, func(t *testing.T) {
			f := w.verify(asked, replies)
			wantCode(t, f, countersigned.Rejected, "fraud", "deny_list")
			if len(f.Approvals) != 1 || f.Approvals[0] != message.Sum(rejection.Approval) {
				t.Errorf("the ruling rests on %v", f.Approvals)
			}
		})
	}
	t.Run("without-a-reason", func(t *testing.T) {
		mute := reply(w.roles["fraud"].Reject(asked, w.clock.Now(), "", func(x *message.Approval, _ *message.Attachment) { x.Reasons = nil }))
		wantCode(t, w.verify(asked, []countersigned.Reply{mute}), countersigned.Rejected, "fraud", countersigned.CodeRejected)
	})
	t.Run("lapsed", func(t *testing.T) {
		late := reply(w.roles["fraud"].Reject(asked, w.clock.Now(), "deny_list", func(x *message.Approval, _ *message.Attachment) {
			x.Expires = x.Issued
		}))
		wantCode(t, w.verify(asked, append(w.approvals(asked, ""), late)), countersigned.Rejected, "fraud", "deny_list")
	})
	t.Run("fail/forged-rejection-ends-nothing", func(t *testing.T) {
		stranger := policytest.New(t, w.d, "fraud")
		forged := reply(stranger.Reject(asked, w.clock.Now(), "deny_list"))
		w.finish(w.verify(asked, append(w.approvals(asked, ""), forged)))
		other := w.transfer()
		copied := reply(w.roles["fraud"].Reject(other, w.clock.Now(), "deny_list"))
		w.finish(w.verify(asked, append(w.approvals(asked, ""), copied)))
	})
}

func TestAttackEnvelopeChangedAfterApproval(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	replies := w.approvals(asked, "")
	var e message.Envelope
	must(t, message.Decode(asked.Envelope, &e))
	e.Received = message.At(e.Received.Add(time.Second))
	changed, err := message.Encode(e)
	must(t, err)
	f := w.verifyCase(countersigned.Case{ID: asked.ID, Envelope: changed, Replies: replies})
	wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeApprovalOther)
	// A service that was shown other bytes than the rest approves those.
	different := asked
	different.Envelope = changed
	replies[1] = reply(w.roles["fraud"].Approve(different, w.clock.Now()))
	wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeApprovalOther)
}

func TestAttackApprovalOfSomethingElse(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	other := message.Sum([]byte("other"))
	tests := []struct {
		name string
		edit policytest.Edit
	}{
		{"fail/digest", func(x *message.Approval, _ *message.Attachment) {
			x.Digests = []message.Digest{{Algorithm: x.Digests[0].Algorithm, Value: other[:]}}
		}},
		{"fail/digest-algorithm", func(x *message.Approval, _ *message.Attachment) {
			x.Digests = []message.Digest{{Algorithm: message.AlgorithmEd25519, Value: x.Digests[0].Value}}
		}},
		{"fail/no-digest", func(x *message.Approval, _ *message.Attachment) { x.Digests = nil }},
		{"fail/one-digest-more", func(x *message.Approval, _ *message.Attachment) {
			x.Digests = append(slices.Clone(x.Digests), x.Digests[0])
		}},
		{"fail/kind", func(x *message.Approval, _ *message.Attachment) { x.Kind = message.KindEthereumMessage }},
		{"fail/wallet", func(x *message.Approval, _ *message.Attachment) { x.Wallet = other.String() }},
		{"fail/account", func(x *message.Approval, _ *message.Attachment) { x.Account = other.String() }},
		{"fail/descriptor", func(x *message.Approval, _ *message.Attachment) { x.Descriptor = other }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := w.verify(asked, w.approvals(asked, "fraud", tt.edit))
			wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeApprovalDiffers)
		})
	}
	t.Run("fail/origin", func(t *testing.T) {
		for _, edit := range []policytest.Edit{
			func(x *message.Approval, _ *message.Attachment) { x.Version++ },
			func(x *message.Approval, _ *message.Attachment) { x.Deployment = other },
			func(x *message.Approval, _ *message.Attachment) { x.Generation++ },
			func(x *message.Approval, _ *message.Attachment) { x.Instance = "fraud-9" },
		} {
			wantCode(t, w.verify(asked, w.approvals(asked, "fraud", edit)), countersigned.Incomplete, "fraud", countersigned.CodeMissing)
		}
	})
	t.Run("fail/unknown-decision", func(t *testing.T) {
		f := w.verify(asked, w.approvals(asked, "fraud", func(x *message.Approval, _ *message.Attachment) { x.Decision = "yes" }))
		wantCode(t, f, countersigned.Incomplete, "fraud", countersigned.CodeMissing)
	})
}

// TestAttackDescriptorChanged: the policy services saw one account record, the
// signing service is shown another, with another owner.
func TestAttackDescriptorChanged(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	genuine := w.store.accounts[w.account]
	forged := genuine
	forged.Descriptor = bytes.Replace(genuine.Descriptor, []byte(`"owner":"alice"`), []byte(`"owner":"mallo"`), 1)
	if bytes.Equal(forged.Descriptor, genuine.Descriptor) {
		t.Fatal("the descriptor was not changed")
	}
	w.store.accounts[w.account] = forged
	w.v = fresh(w)
	replies := w.approvals(asked, "")
	wantCode(t, w.verify(asked, replies), countersigned.Incomplete, "fraud", countersigned.CodeApprovalDiffers)

	t.Run("fail/all-services-were-shown-the-forged-one", func(t *testing.T) {
		// Owner mallory is not alice: the grant fails, by our own look.
		again := w.askStatement(statementOf(t, asked))
		f := w.verify(again, w.approvals(again, ""))
		wantCode(t, f, countersigned.Rejected, message.RoleSigning, document.CodeNotGranted)
	})
	t.Run("fail/ciphertext-of-another-record", func(t *testing.T) {
		broken := genuine
		broken.Ciphertext = slices.Clone(genuine.Ciphertext)
		broken.Ciphertext[20] ^= 1
		w.store.accounts[w.account] = broken
		f := w.verify(asked, replies)
		_, err := f.Request.Intent()
		must(t, err)
		if out, err := f.Request.CarryOut(t.Context()); err == nil || len(out.Output) > 0 {
			t.Error("a changed record was opened")
		}
	})
	// The true record put back, the request is signed: nothing bad was kept.
	w.store.accounts[w.account] = genuine
	w.finish(w.verify(asked, replies))
}

// fresh returns a new verifier in the world, with all roles announced: a
// signing instance after a restart.
func fresh(w *world) *countersigned.Verifier {
	w.v = w.verifier("signing-1")
	for name := range w.roles {
		w.roles[name] = policytest.New(w.t, w.d, name)
	}
	w.open()
	w.announceAll()
	return w.v
}

func statementOf(t *testing.T, asked policytest.Asked) []byte {
	t.Helper()
	var e message.Envelope
	must(t, message.Decode(asked.Envelope, &e))
	return e.Statement
}

// TestAttackKind: whatever all three services may say, a kind that is unknown
// or internal opens nothing.
func TestAttackKind(t *testing.T) {
	w := newWorld(t)
	w.needAccount()
	for _, kind := range []message.Kind{"wallet.export", "policy.update", "secrets.rotate", "result", "", "Ethereum.transaction"} {
		t.Run("fail/"+string(kind), func(t *testing.T) {
			asked := w.transfer()
			statement := bytes.Replace(statementOf(t, asked), []byte(`"ethereum.transaction"`), []byte(`"`+string(kind)+`"`), 1)
			envelope, err := message.Encode(w.d.Envelope(statement, w.d.UserKey, w.clock.Now()))
			must(t, err)
			asked.Envelope = envelope
			asked.Meaning.Statement.Kind = kind
			f := w.verify(asked, w.approvals(asked, ""))
			wantCode(t, f, countersigned.Rejected, message.RoleSigning, countersigned.CodeInvalidRequest)
			f = w.verify(asked, w.approvals(asked, "")[1:])
			wantCode(t, f, countersigned.Incomplete, message.RoleSigning, countersigned.CodeInvalidRequest)
			// The services see the same and reject it.
			rejection := reply(w.roles["authorization"].Reject(asked, w.clock.Now(), "invalid_request"))
			wantCode(t, w.verify(asked, []countersigned.Reply{rejection}), countersigned.Rejected, "authorization", "invalid_request")
		})
	}
}

// TestAttackResultInjectedAsRequest: nothing but an envelope with a user's
// signed statement is a request.
func TestAttackResultInjectedAsRequest(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	out := w.carryOut(asked)
	result := message.Result{
		Origin:  message.Origin{Version: message.Version, Deployment: w.d.ID, Generation: 1},
		Request: asked.ID, Envelope: message.Sum(asked.Envelope), Status: message.StatusSigned, Output: out.Output,
	}
	plain, err := message.Encode(result)
	must(t, err)
	signed, err := message.SignEd25519(message.TypResult, "kid", deploymenttest.Key(t), result)
	must(t, err)
	for name, body := range map[string][]byte{"plain": plain, "signed": signed, "approval": w.approvals(asked, "")[0].Approval, "empty": nil} {
		t.Run("fail/"+name, func(t *testing.T) {
			injected := asked
			injected.Envelope = body
			c := countersigned.Case{ID: asked.ID, Envelope: body, Replies: w.approvals(injected, "")}
			wantCode(t, w.verifyCase(c), countersigned.Rejected, message.RoleSigning, countersigned.CodeInvalidRequest)
			c.Replies = w.approvals(asked, "")
			wantCode(t, w.verifyCase(c), countersigned.Incomplete, message.RoleSigning, countersigned.CodeInvalidRequest)
			c.Overdue = true
			wantCode(t, w.verifyCase(c), countersigned.Expired, message.RoleSigning, countersigned.CodeInvalidRequest)
		})
	}
}

func TestAttackUserSignature(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	statement := statementOf(t, asked)
	tests := []struct {
		name     string
		envelope message.Envelope
		code     string
	}{
		{"fail/key-of-no-user", w.d.Envelope(statement, deploymenttest.Key(t), w.clock.Now()), document.CodeUnknownKey},
		{"fail/approvers-key", w.d.Envelope(statement, w.d.ApproverKey, w.clock.Now()), document.CodeUnknownKey},
		{"fail/of-another-statement", func() message.Envelope {
			e := w.d.Envelope(statementOf(t, w.transfer()), w.d.UserKey, w.clock.Now())
			e.Statement = statement
			return e
		}(), document.CodeSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			forged := w.askEnvelope(tt.envelope)
			f := w.verify(forged, w.approvals(forged, ""))
			wantCode(t, f, countersigned.Rejected, message.RoleSigning, tt.code)
		})
	}
}

func TestExpiredStatement(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	w.clock.advance(time.Hour)
	w.open()
	w.announceAll()
	replies := w.approvals(asked, "")
	f := w.verify(asked, replies[:1])
	wantCode(t, f, countersigned.Expired, message.RoleSigning, countersigned.CodeExpired)
	if text := f.Reasons[0].Detail; !strings.Contains(text, "fraud, approval") {
		t.Errorf("the reason does not name the silent roles: %q", text)
	}
	wantCode(t, w.verify(asked, replies), countersigned.Expired, message.RoleSigning, countersigned.CodeExpired)
	rejection := reply(w.roles["fraud"].Reject(asked, w.clock.Now(), "deny_list"))
	wantCode(t, w.verify(asked, []countersigned.Reply{rejection}), countersigned.Rejected, "fraud", "deny_list")
	late := reply(w.roles["authorization"].Reject(asked, w.clock.Now(), countersigned.CodeExpired))
	wantCode(t, w.verify(asked, []countersigned.Reply{late}), countersigned.Expired, "authorization", countersigned.CodeExpired)
	if f := w.verify(asked, []countersigned.Reply{late, rejection}); f.Ruling != countersigned.Rejected {
		t.Errorf("%v, although one role rejects for more than the time", f.Ruling)
	}
}

// TestRejectionBeforeTheTime: a role that calls a statement late which is not, by
// the signing service's clock, rejects it.
func TestRejectionBeforeTheTime(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	early := reply(w.roles["fraud"].Reject(asked, w.clock.Now(), countersigned.CodeExpired))
	wantCode(t, w.verify(asked, []countersigned.Reply{early}), countersigned.Rejected, "fraud", countersigned.CodeExpired)
}

func TestAnotherRequestsBodyUnderAnId(t *testing.T) {
	w := newWorld(t)
	a, b := w.transfer(), w.transfer()
	moved := b
	moved.ID = a.ID
	wantCode(t, w.verify(moved, w.approvals(moved, "")), countersigned.Rejected, message.RoleSigning, countersigned.CodeInvalidRequest)
}

func TestTwoInstancesGiveOneSignature(t *testing.T) {
	w := newWorld(t)
	asked := w.transfer()
	first := w.carryOut(asked)
	fresh(w)
	second := w.carryOut(asked)
	if !bytes.Equal(first.Output, second.Output) {
		t.Error("two instances made two signatures")
	}
}

func TestWalletAndAccountAreBoundToTheirCreation(t *testing.T) {
	w := newWorld(t)
	w.needAccount()
	first := w.walletCreate()
	a, b := w.carryOut(first), w.carryOut(first)
	if a.Wallet.ID != b.Wallet.ID || !bytes.Equal(a.Output, b.Output) {
		t.Error("one statement gives two wallet ids")
	}
	if bytes.Equal(a.Wallet.Ciphertext, b.Wallet.Ciphertext) {
		t.Error("two drawings give one seed")
	}
	if _, err := w.store.Wallet(t.Context(), first.Meaning.Wallet); !errors.Is(err, transaction.ErrNoRecord) {
		t.Error("CarryOut wrote to the store")
	}
}
