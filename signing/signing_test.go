package signing_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
)

func TestRequestsAreSigned(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	id := w.transfer(time.Hour)
	r := w.result(id)
	wantStatus(t, r, message.StatusSigned)
	if len(r.Approvals) != 3 {
		t.Errorf("the result rests on %d approvals, want 3", len(r.Approvals))
	}
	if made := i.chain.made(); len(made) != 1 || made[0] != string(r.Output) {
		t.Errorf("signatures made: %v, result %s", made, r.Output)
	}
	for _, table := range []string{"intent", "audit_entry"} {
		if w.count("SELECT count(*) FROM countersign."+table+" WHERE request_id = $1", id) == 0 {
			t.Errorf("no row in %s", table)
		}
	}
	if n := w.count("SELECT count(*) FROM countersign.task WHERE request_id = $1", id); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func TestRejectionEndsARequest(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	w.players["fraud"].set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
		return r.Reject(asked, time.Now(), "deny_list"), true
	})
	r := w.result(w.transfer(time.Hour))
	wantStatus(t, r, message.StatusRejected)
	wantReason(t, r, "fraud", "deny_list")
	if r.Output != nil && r.Output.Kind() != 'n' || len(r.Approvals) != 1 {
		t.Errorf("result is %+v", r)
	}
}

func TestExpiredStatementEnds(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	w.players["approval"].set(func(*policytest.Role, policytest.Asked) (policytest.Answer, bool) {
		return policytest.Answer{}, false
	})
	r := w.result(w.transfer(2 * time.Second))
	wantStatus(t, r, message.StatusExpired)
	wantReason(t, r, message.RoleSigning, countersigned.CodeExpired)
	if made := i.chain.made(); len(made) != 0 {
		t.Error("an expired request was signed")
	}
}

func TestNotReadyWithoutAPolicyService(t *testing.T) {
	w := newWorld(t)
	i := w.start(nil)
	w.ready(i)
	i.stop()
	if err := i.Ready(t.Context()); !errors.Is(err, signing.ErrNotReady) {
		t.Errorf("after its end: got %v, want ErrNotReady", err)
	}
}

// TestRestartAsksAgain: replies for a dead instance's epochs are worth nothing
// to the next one, which has the roles answer again.
func TestRestartAsksAgain(t *testing.T) {
	w := newWorld(t)
	first := w.ready(w.start(nil))
	w.needAccount()
	first.stop()
	id := w.transfer(time.Hour)
	w.until("all roles have replied", func() bool {
		return w.count("SELECT count(*) FROM countersign.reply WHERE request_id = $1", id) == 3
	})
	second := w.start(nil)
	wantStatus(t, w.result(id), message.StatusSigned)
	if len(first.chain.made()) != 0 || len(second.chain.made()) != 1 {
		t.Error("the wrong instance signed")
	}
	if n := w.players["fraud"].timesAsked(id); n < 2 {
		t.Errorf("fraud was asked %d times", n)
	}
}

// TestUselessApprovalIsAskedForAgain: an approval that does not hold is asked
// for again, and the request is signed when a good one comes.
func TestUselessApprovalIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	asked := 0
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		asked++
		if asked < 3 {
			a.Policy.Version = 7
		}
		return r.Approve(a, time.Now()), true
	})
	id := w.transfer(time.Hour)
	wantStatus(t, w.result(id), message.StatusSigned)
	if n := w.players["authorization"].timesAsked(id); n != 1 {
		t.Errorf("authorization was asked %d times, want once: its approval held", n)
	}
}

// TestSignatureFromTheFuture: a user's signature that is ahead of this service's
// clock, but not of the others', is taken when its time has come.
func TestSignatureFromTheFuture(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	now := time.Now()
	statement := w.d.Statement(message.KindEthereumTransaction, w.wallet, w.account, jsontext.Value(transferPayload), now.Add(time.Hour))
	id := w.submitEnvelope(w.d.Envelope(statement, w.d.UserKey, now.Add(33*time.Second)), now.Add(time.Hour)) // 30 s are allowed
	w.until("it is said what is lacking", func() bool {
		return w.count("SELECT count(*) FROM countersign.task WHERE consumer = 'signing' AND request_id = $1 AND note = $2",
			id, "signing: "+document.CodeEarly) == 1
	})
	wantStatus(t, w.result(id), message.StatusSigned)
	if n := w.players["fraud"].timesAsked(id); n != 1 {
		t.Errorf("fraud was asked %d times, although its approval held", n)
	}
}

// TestMissingApprovalIsShown: while an approval that does not hold is asked for
// again, the request waits with a note that says which and why.
func TestMissingApprovalIsShown(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	hold := make(chan struct{})
	asked := 0
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		if asked++; asked == 1 {
			a.Policy.Version = 7
		} else {
			<-hold
		}
		return r.Approve(a, time.Now()), true
	})
	id := w.transfer(time.Hour)
	w.until("it is said what is missing", func() bool {
		return w.count("SELECT count(*) FROM countersign.task WHERE consumer = 'signing' AND request_id = $1 AND note = $2",
			id, "fraud: "+countersigned.CodeApprovalPolicy) == 1
	})
	close(hold)
	wantStatus(t, w.result(id), message.StatusSigned)
}

func TestVerifiers(t *testing.T) {
	w := newWorld(t)
	got, err := signing.Verifiers(w.d.Keyrings[secrets.ServiceSigning], w.d.Genesis.Roles)
	must(t, err)
	for _, service := range secrets.Services(w.d.Genesis.Roles) {
		if !strings.HasPrefix(got[service], "SCRAM-SHA-256$4096:") {
			t.Errorf("%s has no verifier", service)
		}
	}
	if len(got) != len(secrets.Services(w.d.Genesis.Roles)) {
		t.Errorf("%d verifiers", len(got))
	}
	if _, err := signing.Verifiers(w.d.Keyrings["fraud"], w.d.Genesis.Roles); err == nil {
		t.Error("a policy service can make verifiers")
	}
}

func TestPolicyChangeOpensANewEpoch(t *testing.T) {
	w := newWorld(t)
	i := w.ready(w.start(nil))
	w.needAccount()
	w.push(func(d *document.Document) { d.Version = 2 })
	// The hand-played services still name version 1, so that nothing of theirs
	// is good any more.
	w.until("hellos of version 2", func() bool {
		return w.count("SELECT count(*) FROM countersign.notice WHERE topic = 'hello'") >= 6
	})
	w.until("ready under version 2", func() bool { return i.Ready(t.Context()) == nil })
	id := w.transfer(2 * time.Second)
	r := w.result(id)
	wantStatus(t, r, message.StatusExpired)
	if len(i.chain.made()) != 0 {
		t.Error("signed under an old policy")
	}
}

// TestBurst has many requests on their way at once.
func TestBurst(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	var ids []uuid.UUID
	for range 60 {
		ids = append(ids, w.submit(message.KindEthereumMessage, jsontext.Value(`{"text":"hello"}`), time.Hour))
	}
	outputs := map[string]bool{}
	for _, id := range ids {
		r := w.result(id)
		wantStatus(t, r, message.StatusSigned)
		outputs[string(r.Output)] = true
	}
	if len(outputs) != 1 {
		t.Errorf("one message has %d signatures", len(outputs))
	}
}

// TestClockOfTheDatabaseAhead: a request that has long expired for the database,
// and not for anybody else, is asked for again like any other.
func TestClockOfTheDatabaseAhead(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	asked := 0
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		asked++
		return r.Approve(a, time.Now()), asked > 1
	})
	statement := w.d.Statement(message.KindEthereumTransaction, w.wallet, w.account, jsontext.Value(transferPayload), time.Now().Add(time.Hour))
	id := w.submitStatement(statement, time.Now().Add(-time.Minute))
	wantStatus(t, w.result(id), message.StatusSigned)
}
