package proposer_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
)

// TestRepeatAfterExpiry: who lost the answer and sends the same bytes again is
// shown the request, also when the statement's time is over meanwhile. To be told
// to sign a new one would be to be told to pay twice.
func TestRepeatAfterExpiry(t *testing.T) {
	for name, make := range backends {
		t.Run(name, func(t *testing.T) {
			b, end := make(t)
			w := start(t, b, nil)
			open, ended := w.statement(), w.statement()
			first := wantRequest(t, w.propose(open), http.StatusAccepted)
			second := wantRequest(t, w.propose(ended), http.StatusAccepted)
			view, err := b.queue.Get(t.Context(), uuid.MustParse(second.ID))
			must(t, err)
			end(t, w.result(view.Submission, nil))
			w.clock.Advance(2 * time.Hour)

			again := w.propose(open)
			if r := wantRequest(t, again, http.StatusAccepted); r.ID != first.ID || r.Submitted != first.Submitted || r.Status != message.StatusPending {
				t.Errorf("the open one is shown as %+v", r)
			}
			if got := again.header.Get("Location"); got != "/v1/requests/"+first.ID {
				t.Errorf("it is at %q", got)
			}
			if r := wantRequest(t, w.propose(ended), http.StatusOK); r.ID != second.ID || r.Result == nil || r.Result.Status != message.StatusDone || r.Result.JWS == "" {
				t.Errorf("the ended one is shown as %+v", r)
			}
			wantProblem(t, w.propose(w.late()), proposer.CodeExpiryOutOfRange)
			wantProblem(t, w.propose(relabelled(t, open)), proposer.CodeIDConflict)
		})
	}
}

// TestRepeatWaitsForTheEnd: a repetition may wait like any other.
func TestRepeatWaitsForTheEnd(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.statement()
	id := wantRequest(t, w.propose(statement), http.StatusAccepted).ID
	w.clock.Advance(2 * time.Hour)
	answers := make(chan answer, 1)
	r := w.signed(statement, w.d.UserKey, w.token(deploymenttest.User, nil), "Prefer", "wait=60")
	go func() { answers <- w.do(w.client(false), r) }()
	w.waitFor(func() bool { return proposer.Waits(w.server) == 1 })
	w.end(m, id, func(r *message.Result) { r.Status, r.Output = message.StatusExpired, nil })
	if got := wantRequest(t, <-answers, http.StatusOK); got.Status != message.StatusExpired {
		t.Errorf("it ended as %+v", got)
	}
}

// TestAttackRepeatAsOracle: a statement whose time is over writes nothing, so it
// must tell nothing either: another user's request is as absent as one that was
// never made, whatever bytes are sent.
func TestAttackRepeatAsOracle(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	theirs := w.statement()
	wantRequest(t, w.propose(theirs), http.StatusAccepted)
	w.clock.Advance(2 * time.Hour)
	send := func(statement []byte) answer {
		return w.do(w.client(false), w.signed(statement, w.d.UserKey, w.token(mallory, nil)))
	}
	nobodys := send(w.late())
	wantProblem(t, nobodys, proposer.CodeExpiryOutOfRange)
	for name, statement := range map[string][]byte{"same-bytes": theirs, "other-bytes": relabelled(t, theirs)} {
		a := send(statement)
		wantProblem(t, a, proposer.CodeExpiryOutOfRange)
		if !bytes.Equal(a.body, nobodys.body) || len(a.header) != len(nobodys.header) {
			t.Errorf("%s can be told apart: %s %s", name, a.body, nobodys.body)
		}
	}
	if len(m.batches) != 1 {
		t.Errorf("%d commits", len(m.batches))
	}
}

// TestRepeatIsVerifiedLikeAnyStatement: what is over is checked as before, and
// its rate counts.
func TestRepeatIsVerifiedLikeAnyStatement(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Submissions = proposer.Rate{PerSecond: 1, Burst: 6} })
	statement := w.statement()
	wantRequest(t, w.propose(statement), http.StatusAccepted)
	w.clock.Advance(2 * time.Hour)
	token := w.token(deploymenttest.User, nil)
	for name, c := range map[string]struct {
		edit func(http.Header)
		code proposer.Code
	}{
		"no-credential": {func(h http.Header) { h.Del("Authorization") }, proposer.CodeUnauthenticated},
		"no-signature":  {func(h http.Header) { h.Del("Signature") }, proposer.CodeMissingSignature},
		"digest":        {func(h http.Header) { h.Set("Content-Digest", "sha-256=:AA==:") }, proposer.CodeDigestMismatch},
		"signature":     {func(h http.Header) { h.Set("Signature", "sig=:AA==:, x=:AA==:") }, proposer.CodeInvalidSignature},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.signed(statement, w.d.UserKey, token)
			c.edit(r.Header)
			wantProblem(t, w.do(w.client(false), r), c.code)
		})
	}
	m.breakDown(errors.New("database is away"))
	wantProblem(t, w.propose(statement), proposer.CodeUnavailable)
	m.breakDown(nil)
	for range 2 {
		wantRequest(t, w.propose(statement), http.StatusAccepted)
	}
	wantProblem(t, w.propose(statement), proposer.CodeRateLimited)
}

// TestFreezeIsNoEntryAfterItsTime: a freeze lets in for its signature alone, which
// whoever has read it can send as well. So it ends with the statement's time, also
// for a repetition.
func TestFreezeIsNoEntryAfterItsTime(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	statement := w.freezeStatement()
	wantRequest(t, w.do(w.client(false), w.signed(statement, w.d.ApproverKey, "")), http.StatusAccepted)
	w.clock.Advance(2 * time.Hour)
	wantProblem(t, w.do(w.client(false), w.signed(statement, w.d.ApproverKey, "")), proposer.CodeUnauthenticated)
}

// late returns a statement whose time is over and of which no request was made.
func (w *world) late() []byte {
	w.t.Helper()
	return w.d.Statement(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: "raw", Source: "software", Label: "test",
	}, w.clock.Now().Add(-time.Hour))
}

// relabelled returns other bytes under the same id.
func relabelled(t testing.TB, statement []byte) []byte {
	t.Helper()
	other := bytes.Replace(statement, []byte(`"test"`), []byte(`"tset"`), 1)
	if bytes.Equal(other, statement) {
		t.Fatal("the statement has no label")
	}
	return other
}
