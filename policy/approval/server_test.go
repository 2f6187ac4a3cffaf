package approval_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/trust/httpsig"
)

func TestListShowVote(t *testing.T) {
	w := newWorld(t, nil)
	w.transfer("1") // needs nobody
	q := w.transfer(twoEther)
	path := api.Path + "/" + q.Meaning.Statement.ID

	var list api.List
	w.get(api.Path, w.d.ApproverKey).ok(&list)
	if len(list.Approvals) != 1 || list.Approvals[0].ID != q.Meaning.Statement.ID || list.More {
		t.Fatalf("got %+v", list)
	}
	var shown api.Approval
	w.get(path, w.d.ApproverKey).ok(&shown)
	if message.Sum(shown.Envelope) != q.EnvelopeHash || shown.EnvelopeHash != q.EnvelopeHash ||
		shown.Policy != w.active.Ref || shown.User != "alice" || !shown.Open || shown.Approvals != 0 || shown.Quorum != 1 ||
		len(shown.Digests) != 1 || len(shown.Effects.Moves) != 1 || shown.Effects.Moves[0].Amount != twoEther ||
		shown.Effects.Fee != deploymenttest.Fee || message.Sum(shown.Descriptor) != q.Meaning.Descriptor ||
		len(shown.Needed) != 1 || len(shown.Asks) != 1 || shown.Asks[0].Rule != aboveEther || shown.Asks[0].Reason == "" ||
		!slices.Equal(shown.Asks[0].Approvers, []string{"bob"}) || shown.Asks[0].Approvals != 0 || shown.Asks[0].Quorum != 1 {
		t.Fatalf("got %+v", shown)
	}
	var recorded api.Recorded
	w.bob(q, message.Approve).ok(&recorded)
	if recorded.Approver != "bob" || recorded.Approvals != 1 || recorded.Rejected || w.unparked[q.ID] != 1 {
		t.Fatalf("got %+v", recorded)
	}
	w.want(q, policy.Approve, "")
	w.get(path, w.d.ApproverKey).ok(&shown)
	if shown.Open || shown.Approvals != 1 || len(shown.Votes) != 1 || !shown.Votes[0].Counts {
		t.Fatalf("got %+v", shown)
	}
	w.get(api.Path, w.d.ApproverKey).ok(&list)
	if len(list.Approvals) != 0 {
		t.Fatalf("got %+v", list)
	}
}

// TestVoteAgain: the same vote again, or another by the same person, is no
// second record, but wakes the request again.
func TestVoteAgain(t *testing.T) {
	w := newWorld(t, nil)
	for _, decision := range []message.Decision{message.Approve, message.Reject} {
		q := w.transfer(twoEther)
		before := len(w.chain)
		for range 3 {
			w.bob(q, decision).ok(nil)
		}
		v := w.on(q, "bob", decision)
		v.Expires = message.At(start.Add(time.Minute))
		w.post(q, w.d.Vote(v, w.d.ApproverKey)).ok(nil)
		if len(w.chain) != before+1 || w.unparked[q.ID] != 4 {
			t.Fatalf("%d records, woken %d times", len(w.chain)-before, w.unparked[q.ID])
		}
	}
}

// TestRejectionIsSaid: a rejection is answered when the role has said it, not
// before; an agreement overrules nothing.
func TestRejectionIsSaid(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).ok(nil)
	if w.overruled[q.ID] != 0 {
		t.Fatal("an agreement overruled")
	}
	w.mute = policy.ErrNotSaid
	w.bob(q, message.Reject).refused(http.StatusServiceUnavailable, "not_ready")
	w.mute = nil
	var recorded api.Recorded
	w.bob(q, message.Reject).ok(&recorded)
	if w.overruled[q.ID] != 1 || !recorded.Rejected {
		t.Fatalf("said %d times, %+v", w.overruled[q.ID], recorded)
	}
}

// TestVoteIsRetriedAfterAFault: nothing is said to be recorded that is not,
// and a vote whose request was not woken wakes it the next time.
func TestVoteIsRetriedAfterAFault(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	w.fault = errFault
	a := w.bob(q, message.Approve)
	a.refused(503, "unavailable")
	if strings.Contains(string(a.body), errFault.Error()) {
		t.Fatal("the cause got out")
	}
	w.fault = nil
	w.want(q, policy.Wait, "")
	w.bob(q, message.Approve).ok(nil)
	w.want(q, policy.Approve, "")
}

func TestAttackVoteForAnotherRequest(t *testing.T) {
	w := newWorld(t, nil)
	q, r := w.transfer(twoEther), w.transfer(twoEther)
	w.post(r, w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)).refused(409, "vote_for_other_request")
	for name, edit := range map[string]func(*message.Vote){
		"envelope":   func(v *message.Vote) { v.Envelope = r.EnvelopeHash },
		"digests":    func(v *message.Vote) { v.Digests = r.Meaning.Digests[:0] },
		"deployment": func(v *message.Vote) { v.Deployment = message.Sum(nil) },
		"request":    func(v *message.Vote) { v.Request = r.Meaning.Statement.ID },
	} {
		t.Run(name, func(t *testing.T) {
			v := w.on(q, "bob", message.Approve)
			edit(&v)
			w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "vote_for_other_request")
		})
	}
	w.want(q, policy.Wait, "")
	w.want(r, policy.Wait, "")
	if len(w.chain) != 0 {
		t.Fatal("something was recorded")
	}
}

func TestAttackVoteForAnotherPolicy(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	v := w.on(q, "bob", message.Approve)
	w.setPolicy(nil)
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "vote_for_other_policy")
	v.Policy = message.Hash{}
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "vote_for_other_policy")
}

func TestAttackVoteByStrangerThroughTheAPI(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	v := w.on(q, "bob", message.Approve)
	w.post(q, w.d.Vote(v, deploymenttest.Key(t))).refused(403, "not_an_approver")
	w.post(q, w.d.Vote(v, w.d.UserKey)).refused(403, "not_an_approver")
	forged, err := message.SignEd25519(message.TypVote, deploymenttest.JWK(t, w.d.ApproverKey).Thumbprint(), w.d.UserKey, v)
	if err != nil {
		t.Fatal(err)
	}
	w.post(q, string(forged)).refused(400, "invalid_vote")
	v.Approver = "alice"
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(403, "not_an_approver")
	for _, body := range []string{"", "x", "a.b.c", w.d.Vote(v, w.d.ApproverKey) + "\n"} {
		w.post(q, body).refused(400, "invalid_vote")
	}
	// A stranger does not learn which requests there are.
	missing := policy.Request{}
	missing.Meaning.Statement.ID = uuid.Must(uuid.NewV7()).String()
	w.post(missing, w.d.Vote(v, w.d.UserKey)).refused(403, "not_an_approver")
	v.Approver = "bob"
	w.post(missing, w.d.Vote(v, w.d.ApproverKey)).refused(404, "not_found")
}

func TestAttackSelfApprovalThroughTheAPI(t *testing.T) {
	self := func(doc *document.Document) { doc.Approvers[0].User = "alice" }
	w := newWorld(t, self)
	q := w.transfer(twoEther)
	w.bob(q, message.Approve).refused(403, "self_approval")
	w.want(q, policy.Wait, "")
	w.setPolicy(func(doc *document.Document) { self(doc); doc.Approval.SelfApproval = true })
	w.bob(q, message.Approve).ok(nil)
	w.want(q, policy.Approve, "")
	// What the policy allowed then, it forbids again.
	w.setPolicy(self)
	w.want(q, policy.Wait, "")
	// One's own request may always be rejected.
	w.bob(q, message.Reject).ok(nil)
	w.want(q, policy.Reject, approval.CodeRejected)
}

func TestAttackOneHumanVotesTwice(t *testing.T) {
	second, dave := deploymenttest.Key(t), deploymenttest.Key(t)
	w := newWorld(t, func(doc *document.Document) {
		doc.Users = append(doc.Users, document.User{ID: "carol"})
		doc.Approvers[0].User = "carol"
		doc.Approvers = append(doc.Approvers,
			document.Approver{ID: "robert", User: "carol", Keys: []message.JWK{deploymenttest.JWK(t, second)}},
			document.Approver{ID: "dave", Keys: []message.JWK{deploymenttest.JWK(t, dave)}})
		doc.Approval.Approvers, doc.Approval.Quorum = []string{"bob", "robert", "dave"}, 2
	})
	q := w.transfer(twoEther)
	var recorded api.Recorded
	w.bob(q, message.Approve).ok(&recorded)
	w.post(q, w.d.Vote(w.on(q, "robert", message.Approve), second)).ok(&recorded)
	if recorded.Approvals != 1 || recorded.Quorum != 2 {
		t.Fatalf("got %+v", recorded)
	}
	if d := w.want(q, policy.Wait, ""); d.Note != "1 of 2 approvals: rule "+aboveEther {
		t.Fatalf("note is %q", d.Note)
	}
	w.post(q, w.d.Vote(w.on(q, "dave", message.Approve), dave)).ok(&recorded)
	if d := w.want(q, policy.Approve, ""); len(d.Evidence) != 2 {
		t.Fatalf("%d votes as evidence", len(d.Evidence))
	}
}

func TestAttackVoteAfterTheRequestsEnd(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	v := w.on(q, "bob", message.Approve)
	v.Expires = message.At(v.Expires.Add(time.Hour))
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "vote_not_of_this_time")
	w.now = start.Add(time.Hour)
	w.post(q, w.d.Vote(v, w.d.ApproverKey)).refused(409, "request_ended")
	w.now = start
	ended := w.stored[q.ID]
	ended.Ended = true
	w.stored[q.ID] = ended
	w.bob(q, message.Approve).refused(409, "request_ended")
}

func TestVoteThatIsNotNeeded(t *testing.T) {
	w := newWorld(t, nil)
	w.bob(w.transfer("1"), message.Approve).refused(409, "no_vote_needed")
}

// TestAttackReadWithoutSignature: nobody but an approver sees what waits.
func TestAttackReadWithoutSignature(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	path := api.Path + "/" + q.Meaning.Statement.ID
	good := func() *http.Request { return w.signedGet(path, w.d.ApproverKey, start, nil) }
	w.send(good()).ok(nil)
	for name, r := range map[string]*http.Request{
		"fail/stranger":        w.signedGet(path, deploymenttest.Key(t), start, nil),
		"fail/user":            w.signedGet(path, w.d.UserKey, start, nil),
		"fail/too-old":         w.signedGet(path, w.d.ApproverKey, start.Add(-61*time.Second), nil),
		"fail/from-the-future": w.signedGet(path, w.d.ApproverKey, start.Add(time.Minute), nil),
		"fail/other-path":      w.signedGet(path, w.d.ApproverKey, start, func(m *httpsig.Message) { m.Path = api.Path }),
		"fail/other-host":      w.signedGet(path, w.d.ApproverKey, start, func(m *httpsig.Message) { m.Authority = "elsewhere.test" }),
		"fail/other-method":    w.signedGet(path, w.d.ApproverKey, start, func(m *httpsig.Message) { m.Method = "POST" }),
		"fail/no-signature":    func() *http.Request { r := good(); r.Header.Del("Signature"); return r }(),
		"fail/no-input":        func() *http.Request { r := good(); r.Header.Del("Signature-Input"); return r }(),
		"fail/two-signatures":  func() *http.Request { r := good(); r.Header.Add("Signature", r.Header.Get("Signature")); return r }(),
		"fail/two-inputs":      func() *http.Request { r := good(); r.Header.Add("Signature-Input", "x"); return r }(),
		"fail/rubbish":         func() *http.Request { r := good(); r.Header.Set("Signature", "sig=:AAAA:"); return r }(),
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.send(r).refused(401, "unauthenticated")
		})
	}
	w.t = t
	_, hired := hire(t, "dave")
	w.setPolicy(func(doc *document.Document) { hired(doc); doc.Approval.Approvers = []string{"dave"} })
	w.send(good()).refused(401, "unauthenticated")
}

func TestOtherPathsAndMethods(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	id := q.Meaning.Statement.ID
	w.get("/", w.d.ApproverKey).refused(404, "not_found")
	w.get(api.Path+"/"+strings.ToUpper(id), w.d.ApproverKey).refused(404, "not_found")
	w.get(api.Path+"/1", w.d.ApproverKey).refused(404, "not_found")
	w.get(api.Path+"/"+uuid.Must(uuid.NewV7()).String(), w.d.ApproverKey).refused(404, "not_found")
	w.get(api.Path+"/"+id+"/votes", w.d.ApproverKey).refused(405, "method_not_allowed")
	w.postTo(api.Path, api.VoteMediaType, "").refused(405, "method_not_allowed")
	r := w.signedGet(api.Path, w.d.ApproverKey, start, nil)
	r.URL.RawQuery = "limit=1"
	w.send(r).refused(400, "malformed_request")
	vote := w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)
	path := api.Path + "/" + id + "/votes"
	w.postTo(path, "application/json", vote).refused(415, "unsupported_media_type")
	w.postTo(path, "", vote).refused(415, "unsupported_media_type")
	w.postTo(path, api.VoteMediaType, strings.Repeat("a", 65<<10)).refused(413, "vote_too_large")
}

func TestNotReadyWithoutPolicy(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	vote := w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)
	w.active = nil
	w.get(api.Path, w.d.ApproverKey).refused(503, "not_ready")
	w.post(q, vote).refused(503, "not_ready")
}

// TestStoredRequestsAreNotBelieved: a row under another id, or one that is
// nonsense, hides no other and is not shown.
func TestStoredRequestsAreNotBelieved(t *testing.T) {
	w := newWorld(t, nil)
	q := w.transfer(twoEther)
	other, broken := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	w.stored[other] = approval.Stored{ID: other, Envelope: w.stored[q.ID].Envelope, Submitted: start}
	w.stored[broken] = approval.Stored{ID: broken, Envelope: []byte("{"), Submitted: start}
	var list api.List
	w.get(api.Path, w.d.ApproverKey).ok(&list)
	if len(list.Approvals) != 1 {
		t.Fatalf("got %+v", list)
	}
	w.get(api.Path+"/"+other.String(), w.d.ApproverKey).refused(409, "not_decidable")
	w.get(api.Path+"/"+broken.String(), w.d.ApproverKey).refused(409, "not_decidable")
}

// TestVotesAtOnce: with -race, the API and the decider at one time.
func TestVotesAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	var wg sync.WaitGroup
	var asked []policy.Request
	for range 8 {
		q := w.transfer(twoEther)
		asked = append(asked, q)
		vote := w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)
		wg.Add(2)
		go func() { defer wg.Done(); w.post(q, vote).ok(nil) }()
		go func() { defer wg.Done(); w.decide(q) }()
	}
	wg.Wait()
	for _, q := range asked {
		w.want(q, policy.Approve, "")
	}
}
