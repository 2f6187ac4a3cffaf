package signing_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/wallet"
)

// silence has a role say nothing.
func silence(*policytest.Role, policytest.Asked) (policytest.Answer, bool) {
	return policytest.Answer{}, false
}

// TestAttackApprovalCopiedOntoAnotherRequest: the database's superuser copies
// all replies of a signed request onto another one.
func TestAttackApprovalCopiedOntoAnotherRequest(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	good := w.transfer(time.Hour)
	wantStatus(t, w.result(good), message.StatusSigned)
	for _, p := range w.players {
		p.set(silence)
	}
	target := w.transfer(5 * time.Second)
	w.exec(`INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
	        SELECT $1, sender, body, attachment, epochs, decisive FROM countersign.reply WHERE request_id = $2`, target, good)
	r := w.result(target)
	wantStatus(t, r, message.StatusExpired)
	if n := len(i.chain.made()); n != 1 {
		t.Errorf("%d signatures were made, want the one that was approved", n)
	}
}

// TestAttackForgedReplies: junk under every role's name, some of it claiming to
// be decisive, ends nothing and signs nothing; the true replies still count.
func TestAttackForgedReplies(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	good := w.transfer(time.Hour)
	wantStatus(t, w.result(good), message.StatusSigned)
	hold := make(chan struct{})
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		<-hold
		return r.Approve(a, time.Now()), true
	})
	target := w.transfer(time.Hour)
	for range 3 {
		w.exec(`INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
		        SELECT $1, sender, 'junk', '', epochs, true FROM countersign.reply WHERE request_id = $2`, target, good)
	}
	w.exec("SELECT pg_notify('countersign_reply', '')")
	close(hold)
	wantStatus(t, w.result(target), message.StatusSigned)
}

// TestAttackRequestChangedInTheDatabase: the stored envelope is exchanged after
// two services approved.
func TestAttackRequestChangedInTheDatabase(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	changed := make(chan struct{})
	for _, role := range []string{"fraud", "approval"} {
		w.players[role].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
			<-changed
			return r.Approve(a, time.Now()), true
		})
	}
	id := w.transfer(5 * time.Second)
	other := w.transfer(time.Hour)
	w.exec(`UPDATE countersign.request SET body = (SELECT body FROM countersign.request WHERE id = $2) WHERE id = $1`, id, other)
	// What was heard of the request before is the true one, and could be signed.
	w.exec(`SELECT pg_notify('countersign_reply', 'fraud|' || rtrim(translate(encode(uuid_send($1::uuid), 'base64'), '+/', '-_'), '='))`, id)
	close(changed)
	r := w.result(id)
	if r.Status == message.StatusSigned {
		t.Fatal("signed")
	}
	wantStatus(t, w.result(other), message.StatusSigned)
	if n := len(i.chain.made()); n != 1 {
		t.Errorf("%d signatures were made, want one", n)
	}
}

// TestAttackCiphertextChanged: a record that does not open ends the request
// with a reason.
func TestAttackCiphertextChanged(t *testing.T) {
	w := newWorld(t)
	first := w.ready(w.start(nil))
	w.needAccount()
	first.stop() // so that nothing is kept in memory
	w.exec(`UPDATE countersign.account SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)`)
	w.ready(w.start(func(c *signing.Config) { c.Lease = 50 * time.Millisecond }))
	r := w.result(w.transfer(time.Hour))
	wantStatus(t, r, message.StatusFailed)
	wantReason(t, r, message.RoleSigning, signing.CodeNotOpened)
}

// TestAttackWalletIdTaken: somebody wrote a row under the id that is to be
// created.
func TestAttackWalletIdTaken(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(func(c *signing.Config) { c.Lease = 50 * time.Millisecond }))
	hold := make(chan struct{})
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		<-hold
		return r.Approve(a, time.Now()), true
	})
	id := w.createWallet()
	w.exec(`INSERT INTO countersign.wallet (id, owner, descriptor, ciphertext)
	        SELECT encode(fingerprint, 'hex'), 'mallory', 'x', 'y' FROM countersign.request WHERE id = $1`, id)
	close(hold)
	r := w.result(id)
	wantStatus(t, r, message.StatusFailed)
	wantReason(t, r, message.RoleSigning, signing.CodeChanged)
}

// blockingSource makes a seed only after it was let, and counts.
type blockingSource struct {
	wallet.SeedSource
	entered chan struct{}
	release chan struct{}
	once    sync.Once
}

func (b *blockingSource) NewSeed(ctx context.Context, seedType string) (*secrets.Secret, error) {
	b.once.Do(func() { close(b.entered) })
	<-b.release
	return b.SeedSource.NewSeed(ctx, seedType)
}

// TestAttackTwoInstancesCreateOneWallet: an instance that was slow with a seed
// comes second. One seed survives, and it is the one that is used afterwards.
func TestAttackTwoInstancesCreateOneWallet(t *testing.T) {
	w := newWorld(t)
	slow := &blockingSource{SeedSource: wallet.NewSoftwareSource(), entered: make(chan struct{}), release: make(chan struct{})}
	first := w.ready(w.start(func(c *signing.Config) { c.Seeds = slow }))
	id := w.createWallet()
	<-slow.entered
	w.ready(w.start(nil)) // takes it over when the lease is over
	r := w.result(id)
	wantStatus(t, r, message.StatusDone)
	sealed := w.ciphertexts()
	close(slow.release)
	first.stop() // waits until it has tried to commit
	if got := w.ciphertexts(); len(got) != 1 || got[0] != sealed[0] {
		t.Error("the second instance's seed was stored")
	}
	if again := w.result(id); again.Time != r.Time || string(again.Output) != string(r.Output) {
		t.Error("the result was replaced")
	}
	if n := w.count("SELECT count(DISTINCT instance) FROM countersign.intent WHERE request_id = $1", id); n != 2 {
		t.Errorf("%d instances recorded an intent, want 2: the race did not happen", n)
	}
	// The seed that survived opens with fresh shares.
	w.wallet = walletOf(t, r)
	wantStatus(t, w.result(w.submit(message.KindAccountCreate, accountCreate, time.Hour)), message.StatusDone)
}

// TestStopFinishesWhatWasBegun: an instance that is told to stop while it makes
// a seed commits the wallet first.
func TestStopFinishesWhatWasBegun(t *testing.T) {
	w := newWorld(t)
	slow := &blockingSource{SeedSource: wallet.NewSoftwareSource(), entered: make(chan struct{}), release: make(chan struct{})}
	i := w.ready(w.start(func(c *signing.Config) { c.Seeds = slow }))
	id := w.createWallet()
	<-slow.entered
	i.quit()
	close(slow.release)
	i.stop()
	wantStatus(t, w.result(id), message.StatusDone)
}

// TestAttackTwoInstancesSignOneRequest: both get all approvals; one result.
func TestAttackTwoInstancesSignOneRequest(t *testing.T) {
	w := newWorld(t)
	a := w.ready(w.start(func(c *signing.Config) { c.Lease = time.Millisecond }))
	b := w.ready(w.start(func(c *signing.Config) { c.Lease = time.Millisecond }))
	w.needAccount()
	var ids []uuid.UUID
	for range 30 {
		ids = append(ids, w.transfer(time.Hour))
	}
	for _, id := range ids {
		wantStatus(t, w.result(id), message.StatusSigned)
		if n := w.count("SELECT count(*) FROM countersign.result WHERE request_id = $1", id); n != 1 {
			t.Errorf("%d results", n)
		}
	}
	different := map[string]bool{}
	for _, out := range append(a.chain.made(), b.chain.made()...) {
		different[out] = true
	}
	if len(different) != 1 { // all are the same transfer with the same nonce
		t.Errorf("one transaction has %d signatures", len(different))
	}
}

// TestCrashBetweenIntentAndResult: the signature was made, its result could not
// be committed. It has not left, and the retry gives identical bytes.
func TestCrashBetweenIntentAndResult(t *testing.T) {
	w := newWorld(t)
	first := w.ready(w.start(nil))
	w.needAccount()
	w.exec("REVOKE INSERT ON countersign.result FROM countersign_signing")
	w.exec("REVOKE INSERT (request_id, status, body) ON countersign.result FROM countersign_signing")
	id := w.transfer(time.Hour)
	w.until("a signature is made", func() bool { return len(first.chain.made()) > 0 })
	first.stop()
	if _, err := w.proposer.ResultOf(t.Context(), id); !errors.Is(err, queue.ErrNotFound) {
		t.Fatalf("a result is there: %v", err)
	}
	if w.count("SELECT count(*) FROM countersign.intent WHERE request_id = $1", id) == 0 {
		t.Error("signed without an intent")
	}
	w.exec("GRANT INSERT (request_id, status, body) ON countersign.result TO countersign_signing")
	w.start(nil)
	r := w.result(id)
	wantStatus(t, r, message.StatusSigned)
	if string(r.Output) != first.chain.made()[0] {
		t.Error("the retry gave other bytes")
	}
}

// TestNoAuditEntryNoSignature: while intents cannot be recorded with their
// audit entries, no key is opened.
func TestNoAuditEntryNoSignature(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	w.exec("ALTER TABLE countersign.audit_entry ADD CONSTRAINT full_log CHECK (false) NOT VALID")
	id := w.transfer(time.Hour)
	w.until("recording has failed", func() bool {
		return w.count("SELECT coalesce(max(attempts), 0) FROM countersign.task WHERE consumer = 'signing' AND request_id = $1", id) > 2
	})
	if len(i.chain.made()) != 0 {
		t.Error("signed without an audit entry")
	}
	if n := w.count("SELECT count(*) FROM countersign.intent WHERE request_id = $1", id); n != 0 {
		t.Error("the intent was committed without its audit entry")
	}
	w.exec("ALTER TABLE countersign.audit_entry DROP CONSTRAINT full_log")
	wantStatus(t, w.result(id), message.StatusSigned)
}

// TestAttackRejectionTooLargeForAResult: a policy service that was taken over
// rejects with more reasons than a result can carry. The request ends all the
// same.
func TestAttackRejectionTooLargeForAResult(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		return r.Reject(a, time.Now(), "flood", func(x *message.Approval, _ *message.Attachment) {
			x.Reasons = []message.Reason{{Code: "", Detail: strings.Repeat("\u00e4", 20_000)}, {Code: strings.Repeat("c", 20_000)}}
			for len(x.Reasons) < 8000 {
				x.Reasons = append(x.Reasons, message.Reason{Code: "c"})
			}
		}), true
	})
	r := w.result(w.createWallet())
	wantStatus(t, r, message.StatusRejected)
	wantReason(t, r, "fraud", "c")
}

// TestAttackRejectionOfAnEndedEpoch: the signing instance that a rejection was
// for is gone, and approval still waits for people. The rejection is final, so
// its role is asked to repeat it at once, not when the people have spoken.
func TestAttackRejectionOfAnEndedEpoch(t *testing.T) {
	w := newWorld(t)
	first := w.ready(w.start(nil))
	w.players["approval"].park(time.Hour)
	rejecting := make(chan struct{})
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		<-rejecting
		return r.Reject(a, time.Now(), "denied"), true
	})
	id := w.createWallet()
	w.until("approval waits for people", func() bool {
		return w.count("SELECT count(*) FROM countersign.task WHERE consumer = 'approval' AND state = 1") == 1
	})
	first.stop()
	close(rejecting)
	w.until("fraud has rejected", func() bool {
		return w.count("SELECT count(*) FROM countersign.reply WHERE request_id = $1 AND decisive", id) == 1
	})
	w.ready(w.start(nil))
	r := w.result(id)
	wantStatus(t, r, message.StatusRejected)
	wantReason(t, r, "fraud", "denied")
}

// TestAttackTaskTakenAway: somebody who writes the database deletes the signing
// service's task of a request, or has it put aside for ever. The request ends
// at its expiry all the same.
func TestAttackTaskTakenAway(t *testing.T) {
	for name, taken := range map[string]string{
		"deleted":   "DELETE FROM countersign.task WHERE consumer = 'signing'",
		"dead":      "UPDATE countersign.task SET state = 2, available_at = 'infinity' WHERE consumer = 'signing'",
		"postponed": "UPDATE countersign.task SET available_at = 'infinity' WHERE consumer = 'signing'",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, p := range w.players {
				p.set(silence)
			}
			statement := w.d.Statement(message.KindWalletCreate, "", "", message.WalletCreate{
				Owner: "alice", SeedType: "raw", Source: "software",
			}, time.Now().Add(2*time.Second))
			id := w.submitStatement(statement, time.Now().Add(2*time.Second))
			w.exec(taken)
			w.ready(w.start(func(c *signing.Config) { c.Tidy = 200 * time.Millisecond }))
			wantStatus(t, w.result(id), message.StatusExpired)
		})
	}
}
