package fraud_test

import (
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
)

// TestAttackStrangerSpendsLimit: whoever the proposer lets in could otherwise
// use up the limits of any wallet whose ids are known, with requests that
// authorization rejects, and read from the rejections how much of them is
// used.
func TestAttackStrangerSpendsLimit(t *testing.T) {
	mallory := deploymenttest.Key(t)
	w := newWorld(t, func(doc *document.Document) {
		limits([3]string{deploymenttest.Ether, "1000000000000000000", "1000000000000000000"})(doc)
		doc.Users = append(doc.Users, document.User{ID: "mallory", Keys: []message.JWK{deploymenttest.JWK(t, mallory)}})
		doc.Grants[0].Users = append(doc.Grants[0].Users, "mallory") // her own wallets only
	})
	most := deploymenttest.Transfer{To: recipient, Value: "900000000000000000"}
	strange := func(change func(*message.Envelope)) policy.Request {
		q := w.request(most, start)
		change(&q.Envelope)
		raw, err := message.Encode(q.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		q.EnvelopeHash = message.Sum(raw)
		return q
	}
	for name, c := range map[string]struct {
		change func(*message.Envelope)
		code   string
	}{
		"fail/not granted": {func(e *message.Envelope) { *e = w.d.Envelope(e.Statement, mallory, start) }, document.CodeNotGranted},
		"fail/unknown key": {func(e *message.Envelope) { *e = w.d.Envelope(e.Statement, deploymenttest.Key(t), start) }, document.CodeUnknownKey},
		"fail/forged": {func(e *message.Envelope) {
			e.Signature.Signature = w.d.Envelope([]byte("{}"), w.d.UserKey, start).Signature.Signature
		}, document.CodeSignature},
	} {
		t.Run(name, func(t *testing.T) {
			d := w.decide(t, strange(c.change))
			if d.Verdict != policy.Reject || len(d.Records) != 0 || len(d.Reasons) != 1 || d.Reasons[0].Code != c.code {
				t.Fatalf("got %+v, want a rejection by %s alone", d, c.code)
			}
		})
	}
	w.want(w.decide(t, w.request(most, start)))
	// What is left of the limit is nobody's business but the granted users'.
	d := w.decide(t, strange(func(e *message.Envelope) { *e = w.d.Envelope(e.Statement, mallory, start) }))
	if len(d.Reasons) != 1 || d.Reasons[0].Code != document.CodeNotGranted {
		t.Fatalf("a stranger is told %+v", d.Reasons)
	}
}
