package proposer_test

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer"
)

func (w *world) freezeStatement() []byte {
	w.t.Helper()
	return w.d.Statement(message.KindWalletFreeze, strings.Repeat("ab", 32), "", message.WalletFreeze{Reason: "lost"}, w.clock.Now().Add(time.Hour))
}

// TestFreezeByApproverOrAdmin: who may freeze needs no account here; the
// statement's own signature lets in, for nothing else and nobody else.
func TestFreezeByApproverOrAdmin(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	for name, key := range map[string]ed25519.PrivateKey{"approver:bob": w.d.ApproverKey, "admin:ada": w.d.Admins[0]} {
		r := wantRequest(t, w.do(w.client(false), w.signed(w.freezeStatement(), key, "")), http.StatusAccepted)
		if r.Kind != message.KindWalletFreeze {
			t.Errorf("request %+v", r)
		}
		view, err := m.Get(t.Context(), uuid.MustParse(r.ID))
		if err != nil || view.Owner != name {
			t.Errorf("it is %s's (%v), want %s's", view.Owner, err, name)
		}
	}
}

// TestAttackFreezeAsEntry: a statement that freezes lets nobody else in, and
// nothing else.
func TestAttackFreezeAsEntry(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	send := func(statement []byte, key ed25519.PrivateKey) answer {
		return w.do(w.client(false), w.signed(statement, key, ""))
	}
	wantProblem(t, send(w.freezeStatement(), w.d.UserKey), proposer.CodeUnauthenticated)
	wantProblem(t, send(w.freezeStatement(), deploymenttest.Key(t)), proposer.CodeUnauthenticated)
	wantProblem(t, send(w.statement(), w.d.ApproverKey), proposer.CodeUnauthenticated)
	wantProblem(t, send([]byte("{"), w.d.ApproverKey), proposer.CodeUnauthenticated)
	long := w.d.Statement(message.KindWalletFreeze, strings.Repeat("ab", 32), "", message.WalletFreeze{Reason: strings.Repeat("x", 8<<10)}, w.clock.Now().Add(time.Hour))
	wantProblem(t, send(long, w.d.ApproverKey), proposer.CodeUnauthenticated)

	altered := w.signed(w.freezeStatement(), w.d.ApproverKey, "")
	other := w.signed(w.freezeStatement(), w.d.ApproverKey, "")
	altered.Header.Set("Signature", other.Header.Get("Signature"))
	wantProblem(t, w.do(w.client(false), altered), proposer.CodeUnauthenticated)

	// A bad token is not made up for by a good signature.
	wantProblem(t, w.do(w.client(false), w.signed(w.freezeStatement(), w.d.ApproverKey, "bad.token.here")), proposer.CodeUnauthenticated)
	// Nor does it show what others have.
	wantProblem(t, w.do(w.client(false), w.request(http.MethodGet, "/v1/requests", nil, "")), proposer.CodeUnauthenticated)
}

// TestFreezeRates: an approver's new freezes count against the approver's own
// rate; one that somebody has read and sends again and again does not.
func TestFreezeRates(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(cfg *proposer.Config) { cfg.Limits.Submissions = proposer.Rate{PerSecond: 1, Burst: 3} })
	send := func(statement []byte) answer {
		return w.do(w.client(false), w.signed(statement, w.d.ApproverKey, ""))
	}
	first := w.freezeStatement()
	wantRequest(t, send(first), http.StatusAccepted)
	for range 2 {
		wantRequest(t, send(first), http.StatusAccepted)
	}
	wantProblem(t, send(first), proposer.CodeRateLimited)
	// AttackReplayedFreeze: the person's others get through, as many as they may.
	wantRequest(t, send(w.freezeStatement()), http.StatusAccepted)
	wantRequest(t, send(w.freezeStatement()), http.StatusAccepted)
	// AttackFreezeSentTwice: what was refused once does not slip in as sent again.
	late := w.freezeStatement()
	for range 3 {
		wantProblem(t, send(late), proposer.CodeRateLimited)
	}
	w.clock.Advance(time.Second)
	wantRequest(t, send(late), http.StatusAccepted)
}
