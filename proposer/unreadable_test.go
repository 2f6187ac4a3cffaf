package proposer_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// unreadable are ways in which a stored envelope cannot be read.
var unreadable = map[string]func(w *world, v *queue.View){
	"no-longer-json": func(_ *world, v *queue.View) { v.Body = bytes.Replace(v.Body, []byte("{"), []byte("["), 1) },
	"other-payload":  func(_ *world, v *queue.View) { v.Body = rewritten(v.Body, "test", "tset") },
	"of-another-request": func(w *world, v *queue.View) {
		v.Body = rewritten(v.Body, v.ID.String(), "01890a5d-ac96-774b-bcce-b302099a8057")
		v.Hash = message.Sum(v.Body)
	},
	"unknown-kind": func(_ *world, v *queue.View) {
		v.Body, v.Kind, v.Wallet = rewritten(v.Body, "wallet.create", "solana.transfer"), "solana.transfer", strings.Repeat("ab", 32)
		v.Hash = message.Sum(v.Body)
	},
}

// rewritten changes the statement in an envelope.
func rewritten(body []byte, old, fresh string) []byte {
	var e message.Envelope
	if err := message.Decode(body, &e); err != nil {
		panic(err)
	}
	e.Statement = bytes.ReplaceAll(e.Statement, []byte(old), []byte(fresh))
	out, err := message.Encode(e)
	if err != nil {
		panic(err)
	}
	return out
}

// TestUnreadableRequest: an envelope that this proposer cannot read hides neither
// the other requests nor its own signed result. Nothing of the envelope is shown.
func TestUnreadableRequest(t *testing.T) {
	for name, spoil := range unreadable {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, nil)
			other := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
			bad := wantRequest(t, w.propose(w.statement()), http.StatusAccepted)
			m.change(t, bad.ID, func(v *queue.View) {
				before := v.Submission
				spoil(w, v)
				before.Body = v.Body
				if v.Hash == before.Hash { // the result is of what was written
					before.Body = m.views[v.ID].Body
				}
				r := w.result(before, nil)
				v.Result = &r
			})
			for way, got := range w.everyWay(bad.ID, 2) {
				if got.Status != message.StatusDone || got.Result == nil || got.Result.JWS == "" || got.Payload != nil {
					t.Errorf("%s: shown as %+v", way, got)
				}
				if got.Kind != message.Kind(m.views[uuid.MustParse(bad.ID)].Kind) || got.Wallet == "" || !got.Expires.Equal(bad.Expires.Time) {
					t.Errorf("%s: columns are shown as %+v", way, got)
				}
			}
			if got := w.everyWay(other.ID, 2)["list"]; got.Status != message.StatusPending {
				t.Errorf("the other is shown as %+v", got)
			}
			if !strings.Contains(w.logs.String(), "stored envelope cannot be read") {
				t.Error("nobody is told")
			}
		})
	}
}

// everyWay reads a request in each way there is; the list has so many.
func (w *world) everyWay(id string, listed int) map[string]api.Request {
	w.t.Helper()
	token := w.token(deploymenttest.User, nil)
	out := map[string]api.Request{"show": wantRequest(w.t, w.get("/v1/requests/"+id, token), http.StatusOK)}
	a := w.get("/v1/requests", token)
	var page api.Requests
	if err := message.DecodeStrict(a.body, &page); err != nil || len(page.Requests) != listed {
		w.t.Fatalf("the list is answered with %d: %s", a.status, a.body)
	}
	for _, r := range page.Requests {
		if r.ID == id {
			out["list"] = r
		}
	}
	if out["show"].Ended() {
		a := w.get("/v1/requests/"+id+"/events", token)
		var r api.Request
		must(w.t, message.DecodeStrict([]byte(events(w.t, bytes.NewReader(a.body))[0].data), &r))
		out["events"] = r
	}
	return out
}

// TestUnreadableRequestThatIsOpen: it is open, and can be cancelled.
func TestUnreadableRequestThatIsOpen(t *testing.T) {
	for name, spoil := range unreadable {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, nil)
			id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
			m.change(t, id, func(v *queue.View) { spoil(w, v) })
			for way, got := range w.everyWay(id, 1) {
				if got.Status != message.StatusPending || got.Payload != nil {
					t.Errorf("%s: shown as %+v", way, got)
				}
			}
			wantRequest(t, w.cancel(id, deploymenttest.User, "Prefer", "wait=0"), http.StatusAccepted)
			if m.cancellations() != 1 {
				t.Error("the queue was not told")
			}
		})
	}
}

// TestAttackResultOfUnreadableRequest: that the envelope cannot be read makes no
// result good that is not: neither one that nobody signed, nor one that was
// signed for another request or for other bytes.
func TestAttackResultOfUnreadableRequest(t *testing.T) {
	for name, forge := range map[string]func(w *world, s queue.Submission) queue.Result{
		"not-signed": func(*world, queue.Submission) queue.Result {
			return queue.Result{Status: "signed", Body: []byte(`{"status":"signed"}`), Created: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}
		},
		"of-another-request": func(w *world, s queue.Submission) queue.Result {
			return w.result(s, func(r *message.Result) { r.Request = "01890a5d-ac96-774b-bcce-b302099a8057" })
		},
		"of-other-bytes": func(w *world, s queue.Submission) queue.Result {
			return w.result(s, func(r *message.Result) { r.Envelope = message.Sum([]byte("x")) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, nil)
			id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
			m.change(t, id, func(v *queue.View) {
				r := forge(w, v.Submission)
				v.Result = &r
				unreadable["no-longer-json"](w, v)
			})
			for way, got := range w.everyWay(id, 1) {
				if got.Status != message.StatusFailed || got.Result.Reasons[0].Code != "result_unverified" || got.Result.JWS != "" {
					t.Errorf("%s: shown as %+v", way, got)
				}
			}
		})
	}
}

// TestAttackColumns: columns are shown only in the form that they should have.
func TestAttackColumns(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	m.change(t, id, func(v *queue.View) {
		v.Body, v.Kind, v.Wallet = []byte("x"), "\x1b[2J<script>", "x"
		v.Expires, v.Submitted = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	for way, got := range w.everyWay(id, 1) {
		if got.Kind != "unknown" || got.Wallet != "" || !got.Expires.IsZero() || !got.Submitted.IsZero() {
			t.Errorf("%s: shown as %+v", way, got)
		}
	}
}
