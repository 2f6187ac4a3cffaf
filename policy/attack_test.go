package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// TestAttackForgedHello puts hellos where the service reads them that the
// signing service did not make, or not for this. None is answered; a good one
// behind them is.
func TestAttackForgedHello(t *testing.T) {
	cases := []struct {
		name  string
		forge func(*world) []byte
	}{
		{"fail/made-up-mac", func(w *world) []byte {
			b := w.hello(nil).compact
			dot := strings.LastIndexByte(string(b), '.')
			return append(b[:dot+1], []byte(strings.Repeat("A", 43))...)
		}},
		{"fail/random-key", func(w *world) []byte {
			compact, err := message.SignMAC(message.TypHello, secrets.KeyID(secrets.Hello(role), 1),
				secrets.Generate().Bytes(), w.hello(nil).hello)
			must(w.t, err)
			return compact
		}},
		{"fail/another-roles-hello", func(w *world) []byte {
			h := w.hello(func(h *message.Hello) { h.Role = message.RoleApproval })
			return sealHello(w.t, h.hello, w.Deployment.Keyrings["signing"], secrets.Hello(message.RoleApproval))
		}},
		{"fail/another-roles-key", func(w *world) []byte {
			// What a taken-over approval service can do with its own key.
			key, err := w.Deployment.Keyrings[message.RoleApproval].Key(secrets.Hello(message.RoleApproval), 1)
			must(w.t, err)
			compact, err := message.SignMAC(message.TypHello, secrets.KeyID(secrets.Hello(role), 1), key.Bytes(), w.hello(nil).hello)
			must(w.t, err)
			return compact
		}},
		{"fail/another-role-inside", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Role = message.RoleApproval }).compact
		}},
		{"fail/another-deployment", func(w *world) []byte {
			other := deploymenttest.New(w.t)
			return sealHello(w.t, w.hello(nil).hello, other.Keyrings["signing"], secrets.Hello(role))
		}},
		{"fail/another-deployment-inside", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Deployment = message.Sum([]byte("other")) }).compact
		}},
		{"fail/another-generation-inside", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Generation = 2 }).compact
		}},
		{"fail/another-version", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Version = 2 }).compact
		}},
		{"fail/altered", func(w *world) []byte {
			b := w.hello(nil).compact
			middle := len(b) / 2
			if b[middle] == 'A' {
				b[middle] = 'B'
			} else {
				b[middle] = 'A'
			}
			return b
		}},
		{"fail/expired", func(w *world) []byte {
			return w.hello(func(h *message.Hello) {
				h.Issued = message.At(h.Issued.Add(-10 * time.Minute))
				h.Expires = message.At(w.clock.Now())
			}).compact
		}},
		{"fail/too-long-lived", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Expires = message.At(h.Issued.Add(10*time.Minute + time.Second)) }).compact
		}},
		{"fail/from-the-future", func(w *world) []byte {
			return w.hello(func(h *message.Hello) {
				h.Issued = message.At(h.Issued.Add(time.Minute))
				h.Expires = message.At(h.Issued.Add(5 * time.Minute))
			}).compact
		}},
		{"fail/no-life", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Issued = message.At(h.Expires.Add(time.Second)) }).compact
		}},
		{"fail/zero-epoch", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Epoch = message.EpochID{} }).compact
		}},
		{"fail/another-policy-of-the-version", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Policy.Hash = message.Sum([]byte("other")) }).compact
		}},
		{"fail/announcement-as-hello", func(w *world) []byte {
			key, err := w.Deployment.Keyrings["signing"].Key(secrets.Announce(role), 1)
			must(w.t, err)
			compact, err := message.SignMAC(message.TypAnnouncement, secrets.KeyID(secrets.Announce(role), 1), key.Bytes(), w.hello(nil).hello)
			must(w.t, err)
			return compact
		}},
		{"fail/attested-where-no-roots-are", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.Attestation = []byte{1} }).compact
		}},
		{"fail/hpke-key-cut", func(w *world) []byte {
			return w.hello(func(h *message.Hello) { h.HPKEKey = h.HPKEKey[:100] }).compact
		}},
		{"fail/not-a-jws", func(*world) []byte { return []byte("x") }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.service(always(policy.Approve)).Init(t.Context())
			must(t, err)
			w.say(tc.forge(w))
			good := w.openEpoch()
			i := w.start(always(policy.Approve)).ready()
			got := w.announcements()
			if len(got) != 1 || len(got[good.hello.Epoch]) != 1 {
				t.Fatalf("announced to %d epochs", len(got))
			}
			if a, _ := i.one(w.task()); len(a.Epochs) != 1 || a.Epochs[0].Epoch != good.hello.Epoch {
				t.Fatalf("sealed for %v", a.Epochs)
			}
		})
	}
}

// TestAttackHelloOfAnEarlierEpoch puts a hello back that was good once.
func TestAttackHelloOfAnEarlierEpoch(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	w.clock.advance(10 * time.Minute)
	if v := i.deliver(w.task())[0]; v.Disposition != queue.Retry || i.Ready(t.Context()) == nil {
		t.Fatalf("sealed for an epoch that is over: %+v", v)
	}
	// The old row is still there, as if put back, also for a new instance.
	second := w.start(always(policy.Approve))
	fresh := w.openEpoch()
	i.ready()
	second.ready()
	for _, instance := range []*instance{i, second} {
		a, attachment := instance.one(w.task())
		if len(a.Epochs) != 1 || a.Epochs[0].Epoch != fresh.hello.Epoch || len(attachment.Shares) != 1 {
			t.Fatalf("sealed for %v", a.Epochs)
		}
	}
	for id, list := range w.announcements() {
		for _, a := range list {
			if a.Instance == second.Instance() && id != fresh.hello.Epoch {
				t.Fatal("a new instance answered an old hello")
			}
		}
	}
}

// TestAttackSharesForUnannouncedEpoch: while the announcement cannot be
// published, nothing is sealed for the epoch, and what is published in the end
// is what was made first.
func TestAttackSharesForUnannouncedEpoch(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	var refused [][]byte
	w.queue.mu.Lock()
	w.queue.refuse = func(n queue.Notice) error {
		refused = append(refused, n.Body)
		return errCrash
	}
	w.queue.mu.Unlock()
	second := w.openEpoch()
	w.until("the second announcement", func() error {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		if len(refused) < 2 {
			return errors.New("not tried yet")
		}
		return nil
	})
	if a, _ := i.one(w.task()); len(a.Epochs) != 1 || a.Epochs[0].Epoch == second.hello.Epoch {
		t.Fatalf("sealed for %v", a.Epochs)
	}
	w.queue.mu.Lock()
	w.queue.refuse = nil
	w.queue.mu.Unlock()
	task := w.task()
	w.until("shares for the second epoch", func() error {
		a, attachment := i.one(task)
		if len(a.Epochs) != 2 {
			return errors.New("one epoch")
		}
		w.opened(task, attachment)
		return nil
	})
	for _, b := range refused {
		if string(b) != string(refused[0]) {
			t.Fatal("announced another channel to the same epoch")
		}
	}
}

// TestAttackSharesOnRejection: a rejection carries no share of anything.
func TestAttackSharesOnRejection(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Reject)).ready()
	a, attachment := i.one(w.task())
	if a.Decision != message.Reject || code(a) != "test_rejects" {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
	for _, s := range attachment.Shares {
		if len(s.Shares) > 0 {
			t.Fatal("shares on a rejection")
		}
	}
	if len(attachment.Evidence) > 0 {
		t.Fatal("evidence on a rejection")
	}
}

// TestAttackRejectionTurnedIntoApproval deletes the reply (here it was never
// kept) and asks again, with a decider that would say yes the second time.
func TestAttackRejectionTurnedIntoApproval(t *testing.T) {
	changesItsMind := func() deciderFunc {
		asked := 0
		return func(policy.Request) (policy.Decision, error) {
			asked++
			if asked > 1 {
				return policy.Decision{Verdict: policy.Approve}, nil
			}
			return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{{Code: "first_no"}}}, nil
		}
	}
	cases := []struct {
		name  string
		again func(*world, *instance, queue.Task) message.Approval
	}{
		{"fail/same-instance", func(_ *world, i *instance, task queue.Task) message.Approval {
			a, _ := i.one(task)
			return a
		}},
		{"fail/other-replica", func(w *world, _ *instance, task queue.Task) message.Approval {
			a, _ := w.start(always(policy.Approve)).ready().one(task)
			return a
		}},
		{"fail/replica-that-was-running", func(w *world, _ *instance, task queue.Task) message.Approval {
			other := w.start(always(policy.Approve)).ready()
			other.deliver(w.task()) // its memory is of before
			a, _ := other.one(task)
			return a
		}},
		{"fail/after-restart", func(w *world, i *instance, task queue.Task) message.Approval {
			i.stop()
			a, _ := w.start(always(policy.Approve)).ready().one(task)
			return a
		}},
		{"fail/same-statement-in-another-envelope", func(w *world, i *instance, task queue.Task) message.Approval {
			var e message.Envelope
			must(w.t, message.Decode(task.Body, &e))
			w.clock.advance(time.Minute)
			again := w.envelop(e.Statement)
			if again.Hash == task.Hash {
				w.t.Fatal("the same envelope")
			}
			a, _ := i.one(again)
			return a
		}},
		{"fail/under-a-newer-policy", func(w *world, i *instance, task queue.Task) message.Approval {
			w.policies.set(w.Deployment.Active(func(d *document.Document) { d.Version = 2 }))
			w.openEpoch()
			a, _ := i.ready().one(task)
			return a
		}},
		{"fail/in-a-later-epoch", func(w *world, i *instance, task queue.Task) message.Approval {
			w.clock.advance(11 * time.Minute)
			w.openEpoch()
			a, _ := i.ready().one(task)
			return a
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := initialised(t)
			i := w.start(changesItsMind()).ready()
			task := w.task()
			if a, _ := i.one(task); a.Decision != message.Reject {
				t.Fatalf("first: %s", a.Decision)
			}
			a := tc.again(w, i, task)
			if a.Decision != message.Reject || code(a) != "first_no" {
				t.Fatalf("second: %s because of %v", a.Decision, a.Reasons)
			}
		})
	}
}

// TestAttackRejectionLostWithItsTransaction: a rejection whose transaction
// failed was perhaps seen by whoever runs the database. It stays one.
func TestAttackRejectionLostWithItsTransaction(t *testing.T) {
	w := initialised(t)
	no := always(policy.Reject)
	yes := false
	i := w.start(deciderFunc(func(r policy.Request) (policy.Decision, error) {
		if yes {
			return policy.Decision{Verdict: policy.Approve}, nil
		}
		return no(r)
	})).ready()
	task := w.task()
	if _, err := i.attempt(crash, task); err == nil {
		t.Fatal("no crash")
	}
	yes = true
	if a, _ := i.one(task); a.Decision != message.Reject {
		t.Fatalf("decision %s", a.Decision)
	}
	if a, _ := w.start(always(policy.Approve)).ready().one(task); a.Decision != message.Reject {
		t.Fatalf("another replica: %s", a.Decision)
	}
}

// TestAttackEnvelopeChangedAfterItWasWritten: bytes that are not those of the
// stored hash are refused, and the true ones are decided all the same.
func TestAttackEnvelopeChangedAfterItWasWritten(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	task, other := w.task(), w.task()
	changed := task
	changed.Body = other.Body
	a, _ := i.one(changed)
	if a.Decision != message.Reject || code(a) != policy.ReasonAltered {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
	if a.Envelope != message.Sum(other.Body) {
		t.Fatal("the rejection names bytes that were not there")
	}
	if a, _ := i.one(task); a.Decision != message.Approve {
		t.Fatalf("the true bytes: %s because of %v", a.Decision, a.Reasons)
	}
}

// TestAttackRecordChainBroken: each way of breaking the chain denies
// everything and makes the service not ready, whether the next decision has
// something to record or only looks.
func TestAttackRecordChainBroken(t *testing.T) {
	cases := map[string]string{
		"fail/deleted-all":   "DELETE FROM countersign.record",
		"fail/deleted-last":  "DELETE FROM countersign.record WHERE seq = (SELECT max(seq) FROM countersign.record)",
		"fail/altered-last":  "UPDATE countersign.record SET body = 'x' WHERE seq = (SELECT max(seq) FROM countersign.record)",
		"fail/altered-mac":   "UPDATE countersign.record SET mac = decode(repeat('00', 32), 'hex')",
		"fail/reordered":     "UPDATE countersign.record r SET body = o.body, mac = o.mac FROM countersign.record o WHERE r.seq IN (2, 3) AND o.seq = 5 - r.seq",
		"fail/forged-record": "INSERT INTO countersign.record (role, seq, body, mac) VALUES ('" + role + "', 4, 'x', decode(repeat('11', 32), 'hex'))",
	}
	for name, query := range cases {
		t.Run(name+"/records", func(t *testing.T) {
			breakChain(t, query, policy.Reject)
		})
		if name == "fail/altered-last" {
			continue // a basis names the MAC alone: TestAttackRecordBodyAltered
		}
		t.Run(name+"/looks", func(t *testing.T) {
			breakChain(t, query, policy.Approve)
		})
	}
}

// TestAttackRecordBodyAltered: a newest record whose MAC was left as it is changes
// nothing that a running instance knows; the look of every second denies.
func TestAttackRecordBodyAltered(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	i.one(w.task())
	w.attack("UPDATE countersign.record SET body = 'x' WHERE seq = (SELECT max(seq) FROM countersign.record)")
	if i.Ready(t.Context()) == nil {
		t.Fatal("ready")
	}
	w.denied(i)
}

// breakChain has two rejections recorded, breaks the chain, and decides what
// the decider would now give the verdict on.
func breakChain(t *testing.T, query string, next policy.Verdict) {
	w := initialised(t)
	verdict := policy.Reject
	i := w.start(deciderFunc(func(r policy.Request) (policy.Decision, error) { return always(verdict)(r) })).ready()
	i.one(w.task())
	i.one(w.task())
	if n := w.rows(); n != 3 {
		t.Fatalf("%d rows, want 3", n)
	}
	verdict = next
	w.attack(query)
	w.denied(i)
	if i.Ready(t.Context()) == nil {
		t.Fatal("ready")
	}
	if err := i.Append(t.Context(), []byte("vote")); err == nil {
		t.Fatal("appended to a broken chain")
	}
}

func (w *world) denied(i *instance) {
	w.t.Helper()
	a, _ := i.one(w.task())
	if a.Decision != message.Reject || code(a) != policy.ReasonHistory {
		w.t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
}

// TestAttackOldRecordsAltered: a running instance finds it when it verifies
// the whole chain again.
func TestAttackOldRecordsAltered(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Reject)).ready()
	i.one(w.task())
	i.one(w.task())
	must(t, i.Audit(t.Context()))
	w.attack("UPDATE countersign.record SET body = 'x' WHERE seq = 2")
	if err := i.Audit(t.Context()); err == nil {
		t.Fatal("not noticed")
	}
	w.denied(i)
}

// TestAttackEmptyRecordChain: without init everything is denied.
func TestAttackEmptyRecordChain(t *testing.T) {
	w := newWorld(t)
	w.openEpoch()
	i := w.start(always(policy.Approve))
	var a message.Approval
	w.until("a decision", func() error {
		v := i.deliver(w.task())[0]
		if v.Reply == nil {
			return errors.New(v.Note)
		}
		a, _ = w.open(v.Reply)
		return nil
	})
	if a.Decision != message.Reject || code(a) != policy.ReasonHistory {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
	if i.Ready(t.Context()) == nil {
		t.Fatal("ready")
	}
}

// TestAttackOlderPolicyPutBack: what this role has decided under once, no
// instance of it goes back behind, also after a restart.
func TestAttackOlderPolicyPutBack(t *testing.T) {
	w := initialised(t)
	first := w.policies.Active()
	w.policies.set(w.Deployment.Active(func(d *document.Document) { d.Version = 2 }))
	w.openEpoch()
	i := w.start(always(policy.Approve)).ready()
	i.one(w.task())
	i.stop()

	// A new process, and a database in which version 2 never was.
	w.policies = &policies{active: first}
	again := w.start(always(policy.Approve))
	if v := again.deliver(w.task())[0]; v.Disposition != queue.Retry || v.Reply != nil {
		t.Fatalf("decided under an older policy: %+v", v)
	}
	if again.Ready(t.Context()) == nil {
		t.Fatal("ready")
	}
}

// TestAttackSecondPolicyOfOneVersion: another document of the same version is
// not decided under, even while the process runs.
func TestAttackSecondPolicyOfOneVersion(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	i.one(w.task())
	w.policies.set(w.Deployment.Active(func(d *document.Document) { d.Approval.SelfApproval = true }))
	w.openEpoch()
	w.until("the refusal", func() error {
		v := i.deliver(w.task())[0]
		if v.Reply != nil {
			t.Fatal("decided")
		}
		if !strings.Contains(v.Note, "newest") {
			return errors.New(v.Note)
		}
		return nil
	})
}
