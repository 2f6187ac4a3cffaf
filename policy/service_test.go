package policy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

func TestApproves(t *testing.T) {
	w := initialised(t)
	second := w.openEpoch()
	i := w.start(always(policy.Approve)).ready()
	w.until("both epochs", func() error {
		if len(w.announcements()) < 2 {
			return errors.New("one only")
		}
		return i.Ready(t.Context())
	})
	task := w.task()
	var a message.Approval
	var attachment message.Attachment
	w.until("an approval for both epochs", func() error {
		if a, attachment = i.one(task); len(a.Epochs) != 2 {
			return errors.New("not yet")
		}
		return nil
	})
	if a.Decision != message.Approve || a.Request != task.Request.String() || a.Envelope != task.Hash {
		t.Fatalf("approval %+v", a)
	}
	if a.Policy != w.policies.Active().Ref || a.Wallet == "" || a.Descriptor.IsZero() {
		t.Fatalf("approval %+v", a)
	}
	shares := w.opened(task, attachment)
	if len(shares) != 2 || len(shares[second.hello.Epoch]) != 1 {
		t.Fatalf("shares %v", shares)
	}
	key, err := w.Deployment.Keyrings[role].Key(secrets.Share(role), 1)
	must(t, err)
	want, err := secrets.NewShare(key, message.ScopeSeed, a.Wallet)
	must(t, err)
	for _, list := range shares {
		if !list[0].Equal(want) {
			t.Fatal("the share is not this role's share of the wallet's seed")
		}
	}
}

func TestAnnouncementIsComplete(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	for id, list := range w.announcements() {
		a, e := list[0], w.epochs[id]
		if len(list) != 1 || e == nil {
			t.Fatalf("%d announcements", len(list))
		}
		if a.Hello != message.Sum(e.compact) || a.Instance != i.Instance() || a.Expires.After(e.hello.Expires.Time) {
			t.Fatalf("announcement %+v", a)
		}
		input, err := a.IdentityInput()
		must(t, err)
		identity, err := i.IdentityKey()
		must(t, err)
		verifyEd25519(t, identity, input, a.Identity)
	}
}

func TestRepliesAreDeterministic(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	task := w.task()
	first, second := i.deliver(task)[0].Reply, i.deliver(task)[0].Reply
	if !bytes.Equal(first.Body, second.Body) || !bytes.Equal(first.Attachment, second.Attachment) {
		t.Fatal("the same request at the same moment gave other bytes")
	}
}

func TestApprovalEndsWithTheStatement(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	task := w.task()
	w.clock.advance(55 * time.Minute)
	w.openEpoch()
	i.ready()
	a, _ := i.one(task)
	if want := message.At(task.Expires); a.Expires != want {
		t.Fatalf("approval expires at %v, the statement at %v", a.Expires, want)
	}
}

func TestRefusals(t *testing.T) {
	wallet := strings.Repeat("ab", 32)
	cases := []struct {
		name string
		task func(*world) queue.Task
		code string
	}{
		{"fail/unknown-wallet", func(w *world) queue.Task {
			return w.taskOf(message.KindEthereumMessage, wallet, wallet, map[string]string{"text": "x"}, w.clock.Now().Add(time.Hour))
		}, policy.ReasonWallet},
		{"fail/invalid-payload", func(w *world) queue.Task {
			return w.taskOf(message.KindWalletCreate, "", "", map[string]string{"owner": "x"}, w.clock.Now().Add(time.Hour))
		}, policy.ReasonPayload},
		{"fail/unknown-kind", func(w *world) queue.Task {
			return w.taskOf("secrets.rotate", "", "", struct{}{}, w.clock.Now().Add(time.Hour))
		}, policy.ReasonKind},
		{"fail/expired", func(w *world) queue.Task {
			return w.taskOf(message.KindWalletCreate, "", "", message.WalletCreate{
				Owner: "alice", SeedType: "raw", Source: "software",
			}, w.clock.Now())
		}, policy.ReasonExpired},
		{"fail/not-an-envelope", func(w *world) queue.Task {
			task := w.task()
			task.Body = []byte("{}")
			task.Hash = message.Sum(task.Body)
			return task
		}, policy.ReasonEnvelope},
		{"fail/another-request-id", func(w *world) queue.Task {
			task := w.task()
			task.Request = w.task().Request
			return task
		}, policy.ReasonEnvelope},
		{"fail/another-deployment", func(w *world) queue.Task {
			return w.edited(func(e *message.Envelope) { e.Deployment = message.Sum([]byte("other")) })
		}, policy.ReasonEnvelope},
		{"fail/another-audience", func(w *world) queue.Task {
			return w.edited(func(e *message.Envelope) {
				e.Statement = bytes.Replace(e.Statement, []byte(w.Deployment.ID.String()), []byte(strings.Repeat("00", 32)), 1)
			})
		}, policy.ReasonPayload},
	}
	w := initialised(t)
	i := w.start(deciderFunc(func(policy.Request) (policy.Decision, error) {
		t.Error("the decider was asked")
		return policy.Decision{Verdict: policy.Approve}, nil
	})).ready()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			a, _ := i.one(tc.task(w))
			if a.Decision != message.Reject || code(a) != tc.code {
				t.Fatalf("%s because of %v, want a rejection because of %s", a.Decision, a.Reasons, tc.code)
			}
		})
	}
}

// edited is a task whose envelope was written differently from the start.
func (w *world) edited(edit func(*message.Envelope)) queue.Task {
	w.t.Helper()
	task := w.task()
	var e message.Envelope
	must(w.t, message.Decode(task.Body, &e))
	edit(&e)
	var err error
	task.Body, err = message.Encode(e)
	must(w.t, err)
	task.Hash = message.Sum(task.Body)
	return task
}

// TestAttackFailingRuleSkipped: a decider that does not decide denies, with a
// reason that is the same whatever went wrong.
func TestAttackFailingRuleSkipped(t *testing.T) {
	cases := map[string]deciderFunc{
		"fail/error": func(policy.Request) (policy.Decision, error) {
			return policy.Decision{Verdict: policy.Approve}, errors.New("secret internals")
		},
		"fail/panic":           func(policy.Request) (policy.Decision, error) { panic("secret internals") },
		"fail/zero-verdict":    func(policy.Request) (policy.Decision, error) { return policy.Decision{}, nil },
		"fail/unknown-verdict": func(policy.Request) (policy.Decision, error) { return policy.Decision{Verdict: 9}, nil },
		"fail/no-reason":       always(policy.Reject).silent(),
		"fail/record-it-does-not-read": func(policy.Request) (policy.Decision, error) {
			return policy.Decision{Verdict: policy.Approve, Records: [][]byte{[]byte("x")}}, nil
		},
	}
	for name, decider := range cases {
		t.Run(name, func(t *testing.T) {
			w := initialised(t)
			i := w.start(decider).ready()
			a, _ := i.one(w.task())
			if a.Decision != message.Reject || code(a) != policy.ReasonDecider {
				t.Fatalf("%s because of %v", a.Decision, a.Reasons)
			}
			if strings.Contains(fmt.Sprint(a.Reasons), "secret") {
				t.Fatal("internals crossed the queue")
			}
		})
	}
}

// TestAttackPanicRemembered: a decider that panics while it prepares, and in
// Decide again, denies; and a user who could not be verified is never taken for
// verified, however often one asks.
func TestAttackPanicRemembered(t *testing.T) {
	w := initialised(t)
	i := w.start(panickingEarly{}).ready()
	if a, _ := i.one(w.task()); a.Decision != message.Reject || code(a) != policy.ReasonDecider {
		t.Fatalf("%s because of %v", a.Decision, a.Reasons)
	}
	r := policy.Remembering(policy.Request{Envelope: message.Envelope{Version: message.Version}}) // without a policy, verifying panics
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a panic was remembered as a verified user")
				}
			}()
			_, _ = r.User()
		}()
	}
}

type panickingEarly struct{}

func (panickingEarly) Prepare(policy.Request) { panic("secret internals") }

func (p panickingEarly) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	p.Prepare(r)
	return policy.Decision{Verdict: policy.Approve}, nil
}

func (f deciderFunc) silent() deciderFunc {
	return func(r policy.Request) (policy.Decision, error) {
		d, err := f(r)
		d.Reasons = nil
		return d, err
	}
}

func TestWaitParksAndSignsNothing(t *testing.T) {
	w := initialised(t)
	i := w.start(deciderFunc(func(policy.Request) (policy.Decision, error) {
		return policy.Decision{Verdict: policy.Wait, Note: "0 of 1 approvals"}, nil
	})).ready()
	v := i.deliver(w.task())[0]
	if v.Disposition != queue.Park || v.Reply != nil || v.Delay <= 0 || v.Note != "0 of 1 approvals" {
		t.Fatalf("verdict %+v", v)
	}
}

func TestNothingIsDecided(t *testing.T) {
	cases := map[string]func(*testing.T) (*world, *instance){
		"before-version-1": func(t *testing.T) (*world, *instance) {
			w := initialised(t)
			w.policies.set(nil)
			return w, w.start(always(policy.Approve))
		},
		"before-a-hello": func(t *testing.T) (*world, *instance) {
			w := newWorld(t)
			_, err := w.service(always(policy.Approve)).Init(t.Context())
			must(t, err)
			return w, w.start(always(policy.Approve))
		},
	}
	for name, setUp := range cases {
		t.Run(name, func(t *testing.T) {
			w, i := setUp(t)
			if v := i.deliver(w.task())[0]; v.Disposition != queue.Retry || v.Reply != nil || v.Note == "" {
				t.Fatalf("verdict %+v", v)
			}
			if i.Ready(t.Context()) == nil {
				t.Fatal("ready")
			}
			if len(w.announcements()) > 0 {
				t.Fatal("announced")
			}
		})
	}
}

func TestInit(t *testing.T) {
	w := newWorld(t)
	s := w.service(always(policy.Approve))
	got, err := s.Init(t.Context())
	must(t, err)
	if want := w.Deployment.IdentityKey(role).Public(); !publicOf(t, got).Equal(want) {
		t.Fatal("init printed another identity key")
	}
	if _, err := w.service(always(policy.Approve)).Init(t.Context()); !errors.Is(err, history.ErrExists) {
		t.Fatalf("second init: %v", err)
	}
}

func TestReadyWantsItsIdentityInThePolicy(t *testing.T) {
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		d.Services[role] = []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}
	}))
	if err := i.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "identity") {
		t.Fatalf("ready: %v", err)
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	_, err := policy.New(policy.Config{Role: "nobody"})
	if err == nil || strings.Count(err.Error(), "\n") < 5 {
		t.Fatalf("faults: %v", err)
	}
	w := newWorld(t)
	cfg := w.config(always(policy.Approve))
	cfg.Keyring = w.Deployment.Keyrings[message.RoleApproval]
	if _, err := policy.New(cfg); err == nil {
		t.Fatal("took another service's keyring")
	}
}

// TestInstanceDies: another instance of the role carries on where one ended,
// under its own key.
func TestInstanceDies(t *testing.T) {
	w := initialised(t)
	first := w.start(always(policy.Approve)).ready()
	task := w.task()
	before, _ := first.one(task)
	first.stop()
	second := w.start(always(policy.Approve)).ready()
	after, attachment := second.one(task)
	if after.Instance == before.Instance || after.Decision != message.Approve {
		t.Fatalf("%s after %s: %s", after.Instance, before.Instance, after.Decision)
	}
	if len(w.announcements()) != 1 {
		t.Fatal("another epoch")
	}
	if len(attachment.Shares) == 0 {
		t.Fatal("no shares")
	}
}

// TestNewerPolicyDecidesAgain: what was approved under one version is decided
// anew under the next, and only for epochs of that.
func TestNewerPolicyDecidesAgain(t *testing.T) {
	w := initialised(t)
	i := w.start(deciderFunc(func(r policy.Request) (policy.Decision, error) {
		if r.Policy.Version > 1 {
			return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{{Code: "newer_policy"}}}, nil
		}
		return policy.Decision{Verdict: policy.Approve}, nil
	})).ready()
	task := w.task()
	if a, _ := i.one(task); a.Decision != message.Approve {
		t.Fatalf("under version 1: %s", a.Decision)
	}
	w.policies.set(w.Deployment.Active(func(d *document.Document) { d.Version = 2 }))
	if v := i.deliver(task)[0]; v.Disposition != queue.Retry {
		t.Fatalf("decided for an epoch of the older policy: %+v", v)
	}
	w.openEpoch()
	i.ready()
	if a, _ := i.one(task); a.Decision != message.Reject || code(a) != "newer_policy" || a.Policy.Version != 2 {
		t.Fatalf("under version 2: %s %v under %d", a.Decision, a.Reasons, a.Policy.Version)
	}
}
