package policy_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/queue"
)

// freeze is a task that asks to stop a wallet, or, where none is named, a user.
func (w *world) freeze(wallet, user string, key ed25519.PrivateKey) queue.Task {
	w.t.Helper()
	kind, payload := message.KindWalletFreeze, any(message.WalletFreeze{Reason: "laptop lost"})
	if wallet == "" {
		kind, payload = message.KindUserFreeze, message.UserFreeze{User: user, Reason: "laptop lost"}
	}
	return w.signedBy(w.Deployment.Statement(kind, wallet, "", payload, w.clock.Now().Add(time.Hour)), key)
}

// signedBy is a task whose statement was signed by any key.
func (w *world) signedBy(statement []byte, key ed25519.PrivateKey) queue.Task {
	w.t.Helper()
	body, err := message.Encode(w.Deployment.Envelope(statement, key, w.clock.Now()))
	must(w.t, err)
	task := w.envelop(statement)
	task.Body, task.Hash = body, message.Sum(body)
	return task
}

// owned gives the world a wallet of alice's and returns its id with what makes
// transfers from it.
func (w *world) owned() (string, func() queue.Task) {
	w.t.Helper()
	records := w.Deployment.Records()
	w.descriptors = records
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	return wallet, func() queue.Task {
		return w.taskOf(message.KindEthereumTransaction, wallet, account,
			deploymenttest.Transfer{To: recipient, Value: "1"}.Payload(), w.clock.Now().Add(time.Hour))
	}
}

// transferFromAnother is a transfer from a second wallet of alice's.
func (w *world) transferFromAnother() queue.Task {
	w.t.Helper()
	records := w.descriptors.(*deploymenttest.Records)
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	return w.taskOf(message.KindEthereumTransaction, wallet, account,
		deploymenttest.Transfer{To: recipient, Value: "1"}.Payload(), w.clock.Now().Add(time.Hour))
}

// dryRun is a dry run of a wallet.create by alice.
func (w *world) dryRun() queue.Task {
	w.t.Helper()
	var e message.Envelope
	must(w.t, message.Decode(w.task().Body, &e))
	var s message.Statement
	must(w.t, message.DecodeStrict(e.Statement, &s))
	s.DryRun = true
	raw, err := message.Encode(s)
	must(w.t, err)
	return w.envelop(raw)
}

func (w *world) wantDecision(i *instance, task queue.Task, decision message.Decision, reason string) {
	w.t.Helper()
	if a, _ := i.one(task); a.Decision != decision || code(a) != reason {
		w.t.Fatalf("%s because of %v, want %s because of %q", a.Decision, a.Reasons, decision, reason)
	}
}

// TestFreeze: one approver, or one policy admin, stops a wallet or a user for
// every instance of the role, for good until a document thaws it.
func TestFreeze(t *testing.T) {
	for name, by := range map[string]func(*world) ed25519.PrivateKey{
		"ok/approver": func(w *world) ed25519.PrivateKey { return w.Deployment.ApproverKey },
		"ok/admin":    func(w *world) ed25519.PrivateKey { return w.Deployment.Admins[2] },
	} {
		for _, what := range []string{"wallet", "user"} {
			t.Run(name+"-"+what, func(t *testing.T) {
				w := initialised(t)
				wallet, transfer := w.owned()
				i, other := w.start(always(policy.Approve)).ready(), w.start(always(policy.Approve)).ready()
				w.wantDecision(i, transfer(), message.Approve, "")
				stop := w.freeze(wallet, "", by(w))
				if what == "user" {
					stop = w.freeze("", deploymenttest.User, by(w))
				}
				w.wantDecision(i, stop, message.Approve, "")
				w.wantDecision(i, stop, message.Approve, "") // again: the same one
				refused := transfer()
				for _, one := range []*instance{i, other, w.start(always(policy.Approve)).ready()} {
					w.wantDecision(one, refused, message.Reject, policy.ReasonFrozen)
					w.wantDecision(one, transfer(), message.Reject, policy.ReasonFrozen)
				}
				// Another wallet of the same user goes on, but not where the user was stopped.
				elsewhere := w.transferFromAnother()
				fresh := w.start(always(policy.Approve)).ready()
				if what == "wallet" {
					w.wantDecision(fresh, elsewhere, message.Approve, "")
				} else {
					w.wantDecision(fresh, elsewhere, message.Reject, policy.ReasonFrozen)
				}
			})
		}
	}
}

// TestThawNeedsTheQuorum: a document that names the freeze ends it; what was
// refused stays refused, and another freeze of the wallet counts again.
func TestThawNeedsTheQuorum(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	stop := w.freeze(wallet, "", w.Deployment.ApproverKey)
	w.wantDecision(i, stop, message.Approve, "")
	refused := transfer()
	w.wantDecision(i, refused, message.Reject, policy.ReasonFrozen)
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		d.Version, d.Thaw = 2, []string{stop.Request.String()}
	}))
	w.openEpoch()
	i = w.start(always(policy.Approve)).ready()
	w.wantDecision(i, transfer(), message.Approve, "")
	w.wantDecision(i, refused, message.Reject, policy.ReasonFrozen)
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Approve, "")
	w.wantDecision(i, transfer(), message.Reject, policy.ReasonFrozen)
}

// TestFrozenPersonAgrees: what an approver agrees to does not count while the
// user who that is is stopped, for the role's decisions and for its API.
func TestFrozenPersonAgrees(t *testing.T) {
	const carol = "carol"
	w := initialised(t)
	put := func(version int, thaw ...string) {
		w.policies.set(w.Deployment.Active(func(d *document.Document) {
			d.Version, d.Thaw = version, thaw
			d.Users = append(d.Users, document.User{ID: carol})
			d.Approvers[0].User = carol
		}))
		w.openEpoch()
	}
	put(2)
	task := w.accounts()("3000000000000000000")
	i := w.start(approval.New(w.clock.Now)).ready()
	i.deliver(task)
	must(t, i.Append(t.Context(), w.vote(task, i, message.Approve)))
	frozen := func(want bool) {
		t.Helper()
		if i.Frozen(w.policies.Active(), carol) != want || i.Frozen(w.policies.Active(), deploymenttest.User) {
			t.Errorf("want %s frozen: %v", carol, want)
		}
	}
	w.wantDecision(i, task, message.Approve, rules.CodeAsks)
	frozen(false)
	stop := w.freeze("", carol, w.Deployment.Admins[0])
	w.wantDecision(i, stop, message.Approve, "")
	frozen(true)
	if v := i.deliver(task)[0]; v.Disposition != queue.Park {
		t.Fatalf("with a frozen person's vote: %+v", v)
	}
	put(3, stop.Request.String())
	i = w.start(approval.New(w.clock.Now)).ready()
	w.wantDecision(i, task, message.Approve, rules.CodeAsks)
	frozen(false)
}

// TestFreezeStopsItsOwnBatch: what is decided together with a freeze is
// stopped, in whatever order it came.
func TestFreezeStopsItsOwnBatch(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	verdicts := i.deliver(transfer(), w.freeze(wallet, "", w.Deployment.ApproverKey), transfer())
	for n, want := range []message.Decision{message.Reject, message.Approve, message.Reject} {
		if a, _ := w.open(verdicts[n].Reply); a.Decision != want {
			t.Errorf("request %d: %s, want %s", n, a.Decision, want)
		}
	}
}

// TestAttackFreezeByOthers: neither users nor strangers stop anybody, and no
// grant lets them.
func TestAttackFreezeByOthers(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	for _, key := range []ed25519.PrivateKey{w.Deployment.UserKey, deploymenttest.Key(t)} {
		w.wantDecision(i, w.freeze(wallet, "", key), message.Reject, document.CodeUnknownKey)
		w.wantDecision(i, transfer(), message.Approve, "")
	}
}

// TestAttackFreezeForgotten: who writes the database takes the freeze's record
// away again.
func TestAttackFreezeForgotten(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	w.wantDecision(i, transfer(), message.Approve, "")
	before := w.rows()
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Approve, "")
	w.attack("DELETE FROM countersign.record WHERE seq > $1", before)
	a, _ := i.one(transfer())
	if a.Decision != message.Reject {
		t.Fatalf("%s after the freeze's record was deleted", a.Decision)
	}
}

// TestDryRun: what would be decided is said, under words that are no decision;
// no share leaves, nothing is recorded, and nothing is final.
func TestDryRun(t *testing.T) {
	for _, tc := range []struct {
		name    string
		verdict policy.Verdict
		says    message.Decision
	}{
		{"ok/approve", policy.Approve, message.WouldApprove},
		{"ok/reject", policy.Reject, message.WouldReject},
		{"ok/wait", policy.Wait, message.WouldAsk},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := initialised(t)
			i := w.start(deciderFunc(func(policy.Request) (policy.Decision, error) {
				d := policy.Decision{Verdict: tc.verdict, Records: [][]byte{[]byte("kept")}}
				if tc.verdict == policy.Reject {
					d.Reasons = []message.Reason{{Code: "because"}}
				}
				return d, nil
			})).ready()
			i.deliver(w.taskOf("secrets.rotate", "", "", struct{}{}, w.clock.Now().Add(time.Hour))) // the policy is on record
			before := w.rows()
			task := w.dryRun()
			verdict := i.deliver(task)[0]
			if verdict.Disposition != queue.Done || verdict.Reply.Decisive {
				t.Fatalf("verdict %+v", verdict)
			}
			a, attachment := w.open(verdict.Reply)
			if a.Decision != tc.says {
				t.Fatalf("says %s, want %s", a.Decision, tc.says)
			}
			for _, shares := range attachment.Shares {
				if len(shares.Shares) > 0 {
					t.Fatal("a share was released")
				}
			}
			if w.rows() != before {
				t.Fatal("something was recorded")
			}
		})
	}
}

// TestAttackDryRunCarriedOut: who takes the words "dry run" out of a statement
// has a statement that nobody signed.
func TestAttackDryRunCarriedOut(t *testing.T) {
	w := initialised(t)
	i := w.start(deciderFunc(func(r policy.Request) (policy.Decision, error) {
		if _, reason := r.User(); reason != nil {
			return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
		}
		return policy.Decision{Verdict: policy.Approve}, nil
	})).ready()
	task := w.dryRun()
	w.wantDecision(i, task, message.WouldApprove, "")
	var e message.Envelope
	must(t, message.Decode(task.Body, &e))
	e.Statement = []byte(strings.Replace(string(e.Statement), `,"dry_run":true`, "", 1))
	body, err := message.Encode(e)
	must(t, err)
	task.Body, task.Hash = body, message.Sum(body)
	w.wantDecision(i, task, message.Reject, document.CodeSignature)
}

// TestPolicyUpdateIsExamined: a role lets through only a document that it would
// activate, and looks only at those that somebody may carry.
func TestPolicyUpdateIsExamined(t *testing.T) {
	w := initialised(t)
	carried := func(b message.PolicyBundle) queue.Task {
		return w.taskOf(message.KindPolicyUpdate, "", "", b, w.clock.Now().Add(time.Hour))
	}
	next := w.Deployment.Policy(func(d *document.Document) { d.Version = 3 })
	half := message.PolicyBundle{Document: next.Document, Signatures: next.Signatures[:1]}
	i := w.start(authorization.New(w.clock.watch())).ready()
	w.wantDecision(i, carried(half), message.Reject, document.CodeNotGranted)
	if n := w.policies.examined(); n != 0 {
		t.Errorf("%d documents of strangers were examined", n)
	}
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		d.Version = 2
		d.Grants[0].Kinds = append(d.Grants[0].Kinds, message.KindPolicyUpdate)
		d.Grants[0].Wallets = append(d.Grants[0].Wallets, document.WalletsAny)
	}))
	w.openEpoch()
	i = w.start(always(policy.Approve)).ready()
	w.wantDecision(i, carried(next), message.Approve, "")
	w.wantDecision(i, carried(half), message.Reject, policy.ReasonPolicy)
	w.wantDecision(i, carried(w.policies.Active().Bundle), message.Reject, policy.ReasonPolicy)
}

// TestAttackFreezesWithoutEnd: one person's freezes of one wallet are no more than
// a document can name, and a document takes all of somebody's back at once.
func TestAttackFreezesWithoutEnd(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	for range 4 {
		w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Approve, "")
	}
	for range 3 {
		w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Reject, policy.ReasonFrozen)
	}
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.Admins[0]), message.Approve, "") // another person's own
	thaw := func(version int, by ...string) {
		w.policies.set(w.Deployment.Active(func(d *document.Document) {
			d.Version = version
			for _, one := range by {
				d.ThawAll = append(d.ThawAll, document.Thaw{By: one, Until: document.At(w.clock.Now())})
			}
		}))
		w.openEpoch()
		i = w.start(always(policy.Approve)).ready()
	}
	thaw(2, "approver:bob")
	w.wantDecision(i, transfer(), message.Reject, policy.ReasonFrozen)
	thaw(3, "approver:bob", "admin:ada")
	w.wantDecision(i, transfer(), message.Approve, "")
	w.clock.advance(2 * time.Second)
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Approve, "") // later than until
	w.wantDecision(i, transfer(), message.Reject, policy.ReasonFrozen)
}

// TestAttackFreezeUnderTakenID: an accomplice's freeze of another target under the
// same id does not let an honest one pass for done.
func TestAttackFreezeUnderTakenID(t *testing.T) {
	w := initialised(t)
	wallet, _ := w.owned()
	i := w.start(always(policy.Approve)).ready()
	honest := w.freeze(wallet, "", w.Deployment.ApproverKey)
	squat := w.freeze("", deploymenttest.User, w.Deployment.Admins[0])
	var e message.Envelope
	must(t, message.Decode(squat.Body, &e))
	statement := strings.Replace(string(e.Statement), squat.Request.String(), honest.Request.String(), 1)
	w.wantDecision(i, w.signedBy([]byte(statement), w.Deployment.Admins[0]), message.Approve, "")
	w.wantDecision(i, honest, message.Reject, policy.ReasonFreezeID)
}

// TestFreezeOfNobody: a mistyped user, an id that is no wallet's or an account's
// is told, not taken for stopped.
func TestFreezeOfNobody(t *testing.T) {
	w := initialised(t)
	wallet, _ := w.owned()
	account, _ := w.descriptors.(*deploymenttest.Records).AddAccount(wallet, deploymenttest.User)
	i := w.start(always(policy.Approve)).ready()
	w.wantDecision(i, w.freeze("", "alyce", w.Deployment.ApproverKey), message.Reject, policy.ReasonUnknownUser)
	w.wantDecision(i, w.freeze(account, "", w.Deployment.ApproverKey), message.Reject, policy.ReasonWallet)
	w.wantDecision(i, w.freeze(strings.Repeat("ab", 32), "", w.Deployment.ApproverKey), message.Reject, policy.ReasonWallet)
}

// TestFreezeWhileThawIsOnItsWay: a document that was signed when one freeze was
// known does not take back another one that the same person has asked for since.
func TestFreezeWhileThawIsOnItsWay(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	i := w.start(always(policy.Approve)).ready()
	first, second := w.freeze(wallet, "", w.Deployment.ApproverKey), w.freeze(wallet, "", w.Deployment.ApproverKey)
	w.wantDecision(i, first, message.Approve, "")
	w.wantDecision(i, second, message.Approve, "")
	thaw := func(version int, freezes ...queue.Task) {
		w.policies.set(w.Deployment.Active(func(d *document.Document) {
			d.Version = version
			for _, one := range freezes {
				d.Thaw = append(d.Thaw, one.Request.String())
			}
		}))
		w.openEpoch()
		i = w.start(always(policy.Approve)).ready()
	}
	thaw(2, first)
	w.wantDecision(i, transfer(), message.Reject, policy.ReasonFrozen)
	thaw(3, first, second)
	w.wantDecision(i, transfer(), message.Approve, "")
}

// TestFreezeThatStopsNothing: who freezes what the policy document takes back
// beforehand is told, and does not go away believing that all is stopped.
func TestFreezeThatStopsNothing(t *testing.T) {
	w := initialised(t)
	wallet, transfer := w.owned()
	named := w.freeze("", deploymenttest.User, w.Deployment.Admins[0])
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		d.Version, d.Thaw = 2, []string{named.Request.String()}
		d.ThawAll = []document.Thaw{{By: "approver:bob", Until: document.At(w.clock.Now().Add(time.Hour))}}
	}))
	w.openEpoch()
	i := w.start(always(policy.Approve)).ready()
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.ApproverKey), message.Reject, policy.ReasonThawed)
	w.wantDecision(i, named, message.Reject, policy.ReasonThawed)
	w.wantDecision(i, transfer(), message.Approve, "")
	w.wantDecision(i, w.freeze(wallet, "", w.Deployment.Admins[0]), message.Approve, "")
	w.wantDecision(i, transfer(), message.Reject, policy.ReasonFrozen)
}

// TestAttackFreezeEverything: who has a freezer's key cannot fill the records and
// the memory of a role with freezes of wallets that need not even be there; others
// still can freeze, and so can that person once a document has taken them back.
func TestAttackFreezeEverything(t *testing.T) {
	d := deploymenttest.New(t)
	const most, bob = 10_000, "approver:bob"
	at := message.At(time.Now())
	frozen := policy.Frozen(bob, at, most)
	thawing := d.Active(func(doc *document.Document) {
		doc.ThawAll = []document.Thaw{{By: bob, Until: document.At(at.Time)}}
	})
	for name, tc := range map[string]struct {
		frozen *policy.Freezes
		active *document.Active
		by     string
		reason string
	}{
		"ok/the-last":       {policy.Frozen(bob, at, most-1), d.Active(nil), bob, ""},
		"fail/one-more":     {frozen, d.Active(nil), bob, policy.ReasonFreezes},
		"ok/somebody-else":  {frozen, d.Active(nil), "admin:ada", ""},
		"ok/all-taken-back": {frozen, thawing, bob, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if reasons := tc.frozen.TooMany(policy.Request{Policy: tc.active}, tc.by); len(reasons) > 0 {
				got = reasons[0].Code
			}
			if got != tc.reason {
				t.Errorf("%q, want %q", got, tc.reason)
			}
		})
	}
}
