package signing_test

import (
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// newcomer is another instance of a role, of which the signing service has not
// been told: its announcement is stored and not notified.
func (w *world) newcomer(role string) *policytest.Role {
	w.t.Helper()
	r := policytest.New(w.t, w.d, role)
	r.Instance = role + "-2"
	notices, err := w.players[role].q.Notices(w.t.Context(), "hello")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range notices {
		var h message.Hello
		if err := message.Peek(n.Body, &h); err != nil || h.Role != role {
			continue
		}
		w.exec("INSERT INTO countersign.notice (topic, key, sender, body) VALUES ('announcement', $1, $2, $3)",
			r.Instance+"/"+h.Epoch.String(), role, r.Announce(n.Body, time.Now()))
	}
	return r
}

// TestRejectionOfANewcomer: a rejection counts beside approvals of all roles,
// though the announcement of who signed it has not been read yet.
func TestRejectionOfANewcomer(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	w.players["fraud"].set(func(r *policytest.Role, asked policytest.Asked) (policytest.Answer, bool) {
		w.until("the others have approved", func() bool {
			return w.count("SELECT count(*) FROM countersign.reply WHERE request_id = $1", asked.ID) == 2
		})
		no := w.newcomer("approval").Reject(asked, time.Now(), "rejected_by_approver")
		epochs := make(pq.ByteaArray, len(no.Epochs))
		for i := range no.Epochs {
			epochs[i] = no.Epochs[i][:]
		}
		w.exec("INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ($1, 'approval', $2, $3, $4, true)",
			asked.ID, no.Approval, no.Attachment, epochs)
		return r.Approve(asked, time.Now()), true
	})
	wantStatus(t, w.result(w.transfer(time.Hour)), message.StatusRejected)
}
