package webhook_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/secrets"
)

// receive takes one message: secret is what the operator handed over ("whsec_…"),
// deployment and signing are pinned: the deployment id, and the signing service's
// identity key from the policy document.
func receive(secret string, deployment message.Hash, signing message.JWK, header http.Header, body []byte) (message.Result, error) {
	var result message.Result
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return result, err
	}
	if err := hook.Verify(body, header); err != nil { // who sent it, and when
		return result, err
	}
	var event webhook.Event
	if err := json.Unmarshal(body, &event); err != nil {
		return result, err
	}
	key, err := signing.Ed25519()
	if err != nil {
		return result, err
	}
	// What the signing service says: the rest of the message is for convenience.
	if err := message.VerifyEd25519(message.TypResult, signing.Thumbprint(), key, []byte(event.Data.Result), &result); err != nil {
		return result, err
	}
	if result.Deployment != deployment || result.Request != event.Data.Request {
		return result, errors.New("result of another deployment or request")
	}
	return result, nil
}

// The receiver of docs/webhooks.md takes what is sent, and nothing that somebody
// else has made of it.
func TestReceiverOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(page), "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if len(code) < 500 || !strings.Contains(string(source), code) {
		t.Fatal("docs/webhooks.md shows another receiver")
	}
	w := newWorld(t)
	w.now = time.Now
	r := w.receive(nil)
	w.set(hook("books", r.URL))
	w.start()
	list := w.submit("alice", 2)
	w.end(message.StatusSigned, list...)
	w.until("both outcomes", func() bool { return len(r.all()) == 2 })
	m, other := r.all()[0], r.all()[1]
	d := w.db.Deployment
	keys, err := d.Keyrings["proposer"].WebhookSecrets("books")
	w.must(err)
	secret := string(secrets.FormatWebhook(keys[0]).Bytes())
	signing := deploymenttest.JWK(t, d.IdentityKey(message.RoleSigning))
	got, err := receive(secret, d.ID, signing, m.header, m.body)
	if err != nil || got.Status != message.StatusSigned || got.Request != m.event.Data.Request {
		t.Fatalf("got %+v, %v", got, err)
	}
	forged := m.event // by somebody who has the secret, but not the signing service's key
	forged.Data.Request = other.event.Data.Request
	body, err := message.Encode(forged)
	w.must(err)
	resigned := m.header.Clone()
	signer, err := standardwebhooks.NewWebhook(secret)
	w.must(err)
	signature, err := signer.Sign(m.header.Get("webhook-id"), time.Now(), body)
	w.must(err)
	resigned.Set("webhook-signature", signature)
	resigned.Set("webhook-timestamp", itoa(int(time.Now().Unix())))
	old := m.header.Clone()
	old.Set("webhook-timestamp", itoa(int(time.Now().Add(-time.Hour).Unix())))
	for name, c := range map[string]struct {
		header http.Header
		body   []byte
		key    message.JWK
		secret string
	}{
		"AttackBodyChanged":    {m.header, append([]byte(" "), m.body...), signing, secret},
		"AttackHeadersOfOther": {other.header, m.body, signing, secret},
		"AttackOldTimestamp":   {old, m.body, signing, secret},
		"AttackOtherSecret":    {m.header, m.body, signing, "whsec_" + strings.Repeat("A", 43) + "="},
		"AttackResultOfOther":  {resigned, body, signing, secret},
		"AttackOtherSigner":    {m.header, m.body, deploymenttest.JWK(t, d.IdentityKey("fraud")), secret},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := receive(c.secret, d.ID, c.key, c.header, c.body); err == nil {
				t.Error("it was taken")
			}
		})
	}
}
