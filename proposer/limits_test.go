package proposer_test

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer"
)

// TestAttackFlood checks that a user who calls too fast is told when to come
// back, that submissions and reads are counted apart, and that others are not
// touched.
func TestAttackFlood(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) {
		c.Limits.Submissions = proposer.Rate{PerSecond: 0.5, Burst: 3}
		c.Limits.Reads = proposer.Rate{PerSecond: 2, Burst: 4}
	})
	alice, other := w.token(deploymenttest.User, nil), w.token(mallory, nil)
	client := w.client(false)
	limited := func(a answer, after int) {
		t.Helper()
		wantProblem(t, a, proposer.CodeRateLimited)
		if got := a.header.Get("Retry-After"); got != strconv.Itoa(after) {
			t.Fatalf("Retry-After is %q, want %d", got, after)
		}
	}
	var last []byte
	for range 3 {
		last = w.statement()
		wantRequest(t, w.propose(last), http.StatusAccepted)
	}
	limited(w.propose(last), 2) // also a repetition costs
	for range 4 {
		if a := w.get("/v1/requests", alice); a.status != http.StatusOK {
			t.Fatalf("reads are counted as submissions: %d", a.status)
		}
	}
	for _, path := range []string{"/v1/requests", "/v1/requests/" + newID(t), "/v1/requests/" + newID(t) + "/events", "/v1/wallets"} {
		limited(w.get(path, alice), 1)
	}
	wantRequest(t, w.do(client, w.signed(w.statement(), w.d.UserKey, other)), http.StatusAccepted)
	if a := w.get("/v1/requests", other); a.status != http.StatusOK {
		t.Fatalf("another user is limited too: %d", a.status)
	}
	if a := w.get("/openapi.json", ""); a.status != http.StatusOK {
		t.Fatalf("what is open is limited: %d", a.status)
	}
	w.clock.Advance(2 * time.Second)
	wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
	limited(w.propose(w.statement()), 2)
	w.clock.Advance(-time.Hour) // a clock that is put back lets nobody in
	wantProblem(t, w.do(client, w.signed(w.statement(), w.d.UserKey, w.token(deploymenttest.User, nil))), proposer.CodeRateLimited)
}

// TestAttackUserStarvesOthers: one user's flood lies before the database while
// it is slow. Another's statement, which comes last, is in the very next
// commit, and among one user's the order of arrival stays.
func TestAttackUserStarvesOthers(t *testing.T) {
	const flood = 300
	b, m := memoryBackend(t)
	m.hold, m.committing = make(chan struct{}), make(chan int, 100)
	w := start(t, b, nil)
	client, alice, other := w.client(true), w.token(deploymenttest.User, nil), w.token(mallory, nil)
	done := make(chan int, flood+2)
	send := func(statement []byte, token string) string {
		waiting := proposer.Waiting(w.server)
		r := w.signed(statement, w.d.UserKey, token)
		go func() {
			response, err := client.Do(r)
			if err != nil {
				done <- 0
				return
			}
			response.Body.Close()
			done <- response.StatusCode
		}()
		if waiting > 0 || len(m.committing) > 0 {
			w.waitFor(func() bool { return proposer.Waiting(w.server) > waiting })
		}
		return statementID(t, statement)
	}
	send(w.statement(), alice) // its commit does not end
	w.waitFor(func() bool { return len(m.committing) == 1 })
	var order []string
	for range flood {
		order = append(order, send(w.statement(), alice))
	}
	late := send(w.statement(), other)
	close(m.hold)
	for range flood + 2 {
		if status := <-done; status != http.StatusAccepted {
			t.Fatalf("status %d", status)
		}
	}
	var ids []string
	for i, batch := range m.batches {
		for _, s := range batch {
			if s.ID.String() == late {
				if i != 1 {
					t.Fatalf("the other user's statement is in commit %d", i)
				}
				continue
			}
			ids = append(ids, s.ID.String())
		}
	}
	if !slices.Equal(ids[1:], order) {
		t.Fatal("one user's order of arrival was not kept")
	}
}

// TestAttackBacklogFillsMemory checks that one user's statements do not pile
// up without end while the database is silent, and that others still find
// room.
func TestAttackBacklogFillsMemory(t *testing.T) {
	b, m := memoryBackend(t)
	m.hold, m.committing = make(chan struct{}), make(chan int, 100)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Backlog = 4 << 10 })
	client, alice, other := w.client(true), w.token(deploymenttest.User, nil), w.token(mallory, nil)
	done := make(chan answer, 100)
	send := func(token string) {
		r := w.signed(w.statement(), w.d.UserKey, token)
		go func() { done <- w.do(client, r) }()
	}
	send(alice)
	w.waitFor(func() bool { return len(m.committing) == 1 })
	for range 20 {
		send(alice)
	}
	wantProblem(t, <-done, proposer.CodeRateLimited) // none else is answered yet
	// Of what arrives later more would be taken: the first are written by then.
	w.waitFor(func() bool { return 1+len(done)+proposer.Waiting(w.server) == 20 })
	waiting := proposer.Waiting(w.server)
	send(other)
	w.waitFor(func() bool { return proposer.Waiting(w.server) > waiting })
	close(m.hold)
	accepted := 0
	for range 21 {
		if a := <-done; a.status == http.StatusAccepted {
			accepted++
		}
	}
	if accepted < 3 || accepted > 15 {
		t.Fatalf("%d of 22 were accepted", accepted)
	}
}

func TestNewRefusesLimits(t *testing.T) {
	for name, l := range map[string]proposer.Limits{
		"fail/no-burst":          {Reads: proposer.Rate{PerSecond: 1}},
		"fail/no-rate":           {Submissions: proposer.Rate{Burst: 1}},
		"fail/negative-rate":     {Submissions: proposer.Rate{PerSecond: -1, Burst: 1}},
		"fail/infinite-rate":     {Submissions: proposer.Rate{PerSecond: math.Inf(1), Burst: 1}},
		"fail/no-number":         {Reads: proposer.Rate{PerSecond: math.NaN(), Burst: 1}},
		"fail/negative-streams":  {Streams: -1},
		"fail/negative-waits":    {UserWaiters: -1},
		"fail/negative-backlog":  {Backlog: -1},
		"fail/negative-interval": {Heartbeat: -1},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := memoryBackend(t)
			if _, err := proposer.New(proposer.Config{
				Deployment: b.deployment.ID, Roles: b.deployment.Genesis.Roles, Queue: b.queue, Wallets: b.wallets,
				Policy: &policyHolder{}, DB: b.db, ClientCAs: standin.NewAuthority(t, "ca", time.Now()).Pool(), Limits: l,
			}); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}
