package document_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// voteOn returns what a vote on the request says, and what is wanted of it.
func voteOn(a asked, active *document.Active) (v, want message.Vote) {
	v = message.Vote{
		Version: message.Version, Deployment: a.d.ID, Request: a.meaning.Statement.ID,
		Envelope: message.Sum(a.env.Statement), Digests: a.meaning.Digests, Decision: message.Approve,
		Approver: deploymenttest.Approver, Policy: active.Ref.Hash, Expires: message.At(now.Add(time.Hour)),
	}
	want = v
	want.Version, want.Decision, want.Approver = 0, "", ""
	return v, want
}

func TestVerifyVote(t *testing.T) {
	d := deploymenttest.New(t)
	active := d.Active(nil)
	v, want := voteOn(ask(t, d), active)
	for _, decision := range []message.Decision{message.Approve, message.Reject} {
		v.Decision = decision
		id, got, err := document.VerifyVote(active, d.Vote(v, d.ApproverKey), want, now)
		if err != nil || id != "bob" || got.Decision != decision {
			t.Fatalf("got %v %v %v", id, got, err)
		}
	}
	// Under a newer policy that knows the voter, a vote stays good when it is
	// verified again.
	newer := d.Active(func(doc *document.Document) { doc.Version = 2 })
	want.Policy = message.Hash{}
	if _, _, err := document.VerifyVote(newer, d.Vote(v, d.ApproverKey), want, now); err != nil {
		t.Fatal(err)
	}
}

// TestAttackVoteForSomethingElse: everything that a vote names is compared.
func TestAttackVoteForSomethingElse(t *testing.T) {
	d := deploymenttest.New(t)
	active := d.Active(nil)
	a := ask(t, d)
	other := message.Sum([]byte("other"))
	digest := func(edit func(*message.Digest)) func(*message.Vote) {
		return func(v *message.Vote) {
			x := v.Digests[0]
			x.Value = append(message.Bytes{}, x.Value...)
			edit(&x)
			v.Digests = []message.Digest{x}
		}
	}
	for name, tt := range map[string]struct {
		edit func(*message.Vote)
		want error
	}{
		"fail/version":          {func(v *message.Vote) { v.Version = 2 }, document.ErrVote},
		"fail/deployment":       {func(v *message.Vote) { v.Deployment = other }, document.ErrVote},
		"fail/request":          {func(v *message.Vote) { v.Request = "01890a5d-ac96-774b-bcce-b302099a8057" }, document.ErrVote},
		"fail/envelope":         {func(v *message.Vote) { v.Envelope = other }, document.ErrVote},
		"fail/no-digests":       {func(v *message.Vote) { v.Digests = nil }, document.ErrVote},
		"fail/digest-added":     {func(v *message.Vote) { v.Digests = append(v.Digests[:1:1], v.Digests[0]) }, document.ErrVote},
		"fail/digest-value":     {digest(func(x *message.Digest) { x.Value[0] ^= 1 }), document.ErrVote},
		"fail/digest-algorithm": {digest(func(x *message.Digest) { x.Algorithm = message.AlgorithmEd25519 }), document.ErrVote},
		"fail/decision":         {func(v *message.Vote) { v.Decision = "maybe" }, document.ErrVote},
		"fail/no-decision":      {func(v *message.Vote) { v.Decision = "" }, document.ErrVote},
		"fail/approver":         {func(v *message.Vote) { v.Approver = "eve" }, document.ErrVoter},
		"fail/policy":           {func(v *message.Vote) { v.Policy = other }, document.ErrVotePolicy},
		"fail/ended":            {func(v *message.Vote) { v.Expires = message.At(now) }, document.ErrVoteTime},
		"fail/no-end":           {func(v *message.Vote) { v.Expires = message.Time{} }, document.ErrVoteTime},
		"fail/ends-too-late":    {func(v *message.Vote) { v.Expires = message.At(now.Add(time.Hour + time.Second)) }, document.ErrVoteTime},
	} {
		t.Run(name, func(t *testing.T) {
			v, want := voteOn(a, active)
			tt.edit(&v)
			if _, _, err := document.VerifyVote(active, d.Vote(v, d.ApproverKey), want, now); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	v, want := voteOn(a, active)
	want.Decision = message.Reject
	if _, _, err := document.VerifyVote(active, d.Vote(v, d.ApproverKey), want, now); !errors.Is(err, document.ErrVote) {
		t.Fatalf("an approval passed for a rejection: %v", err)
	}
}

func TestAttackVoteAfterTheEnd(t *testing.T) {
	d := deploymenttest.New(t)
	active := d.Active(nil)
	v, want := voteOn(ask(t, d), active)
	compact := d.Vote(v, d.ApproverKey)
	if _, _, err := document.VerifyVote(active, compact, want, v.Expires.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := document.VerifyVote(active, compact, want, v.Expires.Time); !errors.Is(err, document.ErrVoteTime) {
		t.Fatalf("got %v", err)
	}
}

func TestAttackVoteByNonApprover(t *testing.T) {
	d := deploymenttest.New(t)
	stranger := deploymenttest.Key(t)
	active := d.Active(func(doc *document.Document) {
		doc.Approvers = append(doc.Approvers, document.Approver{
			ID: "eve", Keys: []message.JWK{deploymenttest.JWK(t, stranger)},
		})
	})
	v, want := voteOn(ask(t, d), active)
	check := func(compact string, sentinel error) {
		t.Helper()
		if _, _, err := document.VerifyVote(active, compact, want, now); !errors.Is(err, sentinel) {
			t.Fatalf("got %v, want %v", err, sentinel)
		}
	}
	check(d.Vote(v, d.UserKey), document.ErrVoter)             // a user's key
	check(d.Vote(v, d.Admins[0]), document.ErrVoter)           // an admin's key
	check(d.Vote(v, stranger), document.ErrVoter)              // eve is an approver who may not vote
	check(d.Vote(v, deploymenttest.Key(t)), document.ErrVoter) // nobody's key
	check("", message.ErrHeader)
	forged, err := message.SignEd25519(message.TypVote, deploymenttest.JWK(t, d.ApproverKey).Thumbprint(), stranger, v)
	if err != nil {
		t.Fatal(err)
	}
	check(string(forged), message.ErrSignature) // names bob's key
	wrong, err := message.SignEd25519(message.TypPolicySignature, deploymenttest.JWK(t, d.ApproverKey).Thumbprint(), d.ApproverKey, v)
	if err != nil {
		t.Fatal(err)
	}
	check(string(wrong), message.ErrHeader) // bob signed it as something else
	check(d.Vote(v, d.ApproverKey)+"\n", message.ErrNotCanonical)
}

func TestAttackRemovedApprover(t *testing.T) {
	d := deploymenttest.New(t)
	v, want := voteOn(ask(t, d), d.Active(nil))
	want.Policy = message.Hash{}
	compact := d.Vote(v, d.ApproverKey)
	for name, edit := range map[string]func(*document.Document){
		"not-listed": func(x *document.Document) {
			x.Approval.Approvers, x.Approval.Quorum, x.Rules.Approval = nil, 0, nil
		},
		"gone": func(x *document.Document) {
			x.Approvers, x.Approval.Approvers, x.Approval.Quorum, x.Rules.Approval = nil, nil, 0, nil
		},
		"key-replaced": func(x *document.Document) {
			x.Approvers[0].Keys = []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			active := d.Active(func(x *document.Document) { x.Version = 2; edit(x) })
			if _, _, err := document.VerifyVote(active, compact, want, now); !errors.Is(err, document.ErrVoter) {
				t.Fatalf("got %v", err)
			}
			if got := document.Count(active, []string{compact}, want, "alice", now); len(got.Persons) != 0 {
				t.Fatalf("counted %v", got.Persons)
			}
		})
	}
}

func TestAttackOneHumanCountedTwice(t *testing.T) {
	d := deploymenttest.New(t)
	second, third, other := deploymenttest.Key(t), deploymenttest.Key(t), deploymenttest.Key(t)
	active := d.Active(func(x *document.Document) {
		carol := document.User{ID: "carol", Keys: []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}}
		x.Users = append(x.Users, carol)
		x.Approvers[0].User = "carol"
		x.Approvers[0].Keys = append(x.Approvers[0].Keys, deploymenttest.JWK(t, second))
		x.Approvers = append(x.Approvers,
			document.Approver{ID: "robert", User: "carol", Keys: []message.JWK{deploymenttest.JWK(t, third)}},
			document.Approver{ID: "dave", Keys: []message.JWK{deploymenttest.JWK(t, other)}})
		x.Approval.Approvers, x.Approval.Quorum = []string{"bob", "robert", "dave"}, 2
	})
	v, want := voteOn(ask(t, d), active)
	robert := v
	robert.Approver = "robert"
	later := v
	later.Expires = message.At(now.Add(time.Minute))
	mine := []string{
		d.Vote(v, d.ApproverKey), d.Vote(v, d.ApproverKey), d.Vote(v, second),
		d.Vote(robert, third), d.Vote(later, d.ApproverKey),
	}
	got := document.Count(active, mine, want, "alice", now)
	if strings.Join(got.Persons, " ") != "carol" || len(got.Good) != 1 {
		t.Fatalf("counted %v", got.Persons)
	}
	dave := v
	dave.Approver = "dave"
	got = document.Count(active, append(mine, d.Vote(dave, other)), want, "alice", now)
	if strings.Join(got.Persons, " ") != "carol dave" || len(got.Good) != 2 {
		t.Fatalf("counted %v", got.Persons)
	}
}

func TestAttackSelfApproval(t *testing.T) {
	d := deploymenttest.New(t)
	for name, edit := range map[string]func(*document.Document){
		"named":    func(x *document.Document) { x.Approvers[0].User = "alice" },
		"same-key": func(x *document.Document) { x.Approvers[0].User, x.Approvers[0].Keys = "alice", x.Users[0].Keys },
		"same-id": func(x *document.Document) {
			x.Approvers[0].ID, x.Approval.Approvers = "alice", []string{"alice"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, allowed := range []bool{false, true} {
				active := d.Active(func(x *document.Document) { edit(x); x.Approval.SelfApproval = allowed })
				v, want := voteOn(ask(t, d), active)
				v.Approver = active.Approval.Approvers[0]
				key := d.ApproverKey
				if name == "same-key" {
					key = d.UserKey
				}
				compact := d.Vote(v, key)
				if _, _, err := document.VerifyVote(active, compact, want, now); err != nil {
					t.Fatal(err)
				}
				if got := document.Count(active, []string{compact}, want, "alice", now); (len(got.Persons) == 1) != allowed {
					t.Fatalf("allowed %v: counted %v", allowed, got.Persons)
				}
				v.Decision = message.Reject
				if !document.Count(active, []string{d.Vote(v, key)}, want, "alice", now).Rejected {
					t.Fatal("one's own rejection does not count")
				}
			}
		})
	}
}
