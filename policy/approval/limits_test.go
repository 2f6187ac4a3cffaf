package approval_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/fairness"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
)

// besideBob has others vote too.
func besideBob(t *testing.T, ids ...string) (people, func(*document.Document)) {
	keys, hired := hire(t, ids...)
	return keys, func(doc *document.Document) {
		hired(doc)
		doc.Approval.Approvers = append([]string{deploymenttest.Approver}, ids...)
	}
}

// TestAttackApproverFloods: an approver who calls too fast is told when to come
// back, reads and votes are counted apart, and other approvers are not touched.
func TestAttackApproverFloods(t *testing.T) {
	keys, hired := besideBob(t, "dave")
	w := newWorld(t, hired, func(c *approval.Config) {
		c.Limits.Reads = fairness.Rate{PerSecond: 0.5, Burst: 3}
		c.Limits.Votes = fairness.Rate{PerSecond: 0.25, Burst: 2}
	})
	q := w.transfer(twoEther)
	path := api.Path + "/" + q.Meaning.Statement.ID
	limited := func(a answer, after string) {
		t.Helper()
		a.refused(http.StatusTooManyRequests, "rate_limited")
		if got := a.header.Get("Retry-After"); got != after {
			t.Fatalf("Retry-After is %q, want %s", got, after)
		}
	}
	for _, p := range []string{api.Path, path, api.Path + "/" + uuid.NewString()} { // also what is not there costs
		w.get(p, w.d.ApproverKey)
	}
	for _, p := range []string{api.Path, path} {
		limited(w.get(p, w.d.ApproverKey), "2")
	}
	w.get(api.Path, keys["dave"]).ok(nil)
	absent := policy.Request{}
	absent.Meaning.Statement.ID = uuid.Must(uuid.NewV7()).String()
	vote := w.d.Vote(w.on(q, "bob", message.Approve), w.d.ApproverKey)
	w.post(absent, vote).refused(http.StatusNotFound, "not_found")
	w.post(q, vote).ok(nil)
	limited(w.post(q, vote), "4")
	w.post(q, w.d.Vote(w.on(q, "dave", message.Reject), keys["dave"])).ok(nil)
	w.now = w.now.Add(4 * time.Second)
	w.get(path, w.d.ApproverKey).ok(nil)
	w.bob(q, message.Reject).ok(nil)
}

// TestAttackVotesOfStrangersCostNothing: what no approver has signed uses up
// nobody's votes.
func TestAttackVotesOfStrangersCostNothing(t *testing.T) {
	w := newWorld(t, nil, func(c *approval.Config) { c.Limits.Votes = fairness.Rate{PerSecond: 1, Burst: 1} })
	q := w.transfer(twoEther)
	for range 5 {
		w.post(q, w.d.Vote(w.on(q, "bob", message.Approve), w.d.UserKey)).refused(http.StatusForbidden, "not_an_approver")
	}
	w.bob(q, message.Approve).ok(nil)
}

// TestAttackListsFillMemory: an approver who asks for the list a thousand times
// at once neither fills the memory of the service that decides nor keeps other
// approvers from their lists, and all of them together do not fill it.
func TestAttackListsFillMemory(t *testing.T) {
	keys, hired := besideBob(t, "dave", "erin")
	w := newWorld(t, hired)
	keys["bob"] = w.d.ApproverKey
	w.transfer(twoEther)
	w.entered, w.hold = make(chan struct{}, 100), make(chan struct{})
	release := sync.OnceFunc(func() { close(w.hold) })
	t.Cleanup(release)
	done := make(chan int, 100)
	list := func(who string) {
		r := w.signedGet(api.Path, keys[who], w.now, nil)
		go func() {
			response, err := w.server.Client().Do(r)
			if err != nil {
				done <- 0
				return
			}
			defer response.Body.Close()
			done <- response.StatusCode
		}()
	}
	begun := func() {
		t.Helper()
		select {
		case <-w.entered:
		case <-time.After(20 * time.Second):
			t.Fatal("no list is being read")
		}
	}
	noMore := func(why string) {
		t.Helper()
		select {
		case <-w.entered:
			t.Fatal(why)
		case <-time.After(200 * time.Millisecond):
		}
	}
	for range 20 {
		list("bob")
	}
	begun()
	noMore("a second list of one approver is being read")
	list("dave")
	begun()
	list("erin")
	noMore("a third list is being read")
	release()
	for range 22 {
		if status := <-done; status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
}

// TestNewServerRefusesLimits: a rate at which nobody could call is an error.
func TestNewServerRefusesLimits(t *testing.T) {
	w := newWorld(t, nil)
	for name, l := range map[string]approval.Limits{
		"fail/no-burst":      {Reads: fairness.Rate{PerSecond: 1}},
		"fail/no-rate":       {Votes: fairness.Rate{Burst: 1}},
		"fail/negative-rate": {Votes: fairness.Rate{PerSecond: -1, Burst: 1}},
	} {
		if _, err := approval.NewServer(approval.Config{
			Deployment: w.d.ID, Decider: w.decider, Requests: w, Runtime: w,
			Interpreter: w.d.Interpreter(w.records), Policy: w, Now: w.Now, Limits: l,
		}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
