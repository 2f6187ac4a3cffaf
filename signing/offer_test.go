package signing_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/internal/policytest"
)

// TestAttackForgedEnd: a service that was taken over offers, under the id of an
// open request, an envelope that expired long ago, with a reply of each role.
// Who may notify is not who may end: the request is signed when all approve.
func TestAttackForgedEnd(t *testing.T) {
	w := newWorld(t)
	w.ready(w.start(nil))
	w.needAccount()
	hold := make(chan struct{})
	w.players["fraud"].set(func(r *policytest.Role, a policytest.Asked) (policytest.Answer, bool) {
		<-hold
		return r.Approve(a, time.Now()), true
	})
	target := w.transfer(time.Hour)
	payload, err := message.Encode(jsontext.Value(transferPayload))
	must(t, err)
	statement, err := message.Encode(message.Statement{
		ID: target.String(), Audience: w.d.ID, Kind: message.KindEthereumTransaction, Wallet: w.wallet, Account: w.account,
		Payload: payload, Expires: message.At(time.Now().Add(-time.Minute)),
	})
	must(t, err)
	body, err := message.Encode(w.d.Envelope(statement, w.d.UserKey, time.Now()))
	must(t, err)
	var epoch []byte
	must(t, w.db.Owner.QueryRow("SELECT epochs[1] FROM countersign.reply ORDER BY id DESC LIMIT 1").Scan(&epoch))
	text := base64.RawURLEncoding.EncodeToString
	operator := w.db.As(secrets.ServiceOperator)
	notify := func(channel, payload string) {
		_, err := operator.ExecContext(t.Context(), "SELECT pg_notify($1, $2)", channel, payload)
		must(t, err)
	}
	id := text(target[:])
	for range 3 {
		notify("countersign_reply", "approval|"+id) // what was heard of it is forgotten
		notify("countersign_task", "|"+id+"."+text(body))
		for _, role := range w.d.Genesis.Roles {
			notify("countersign_reply", role+"|!"+id+"|"+text(epoch)+"."+text([]byte("junk"))+".")
		}
		time.Sleep(100 * time.Millisecond) // longer than an offer is held
	}
	if n := w.count("SELECT count(*) FROM countersign.result WHERE request_id = $1", target); n != 0 {
		t.Error("it ended")
	}
	close(hold)
	wantStatus(t, w.result(target), message.StatusSigned)
}
