package proposer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/transaction"
)

// The Go client is tested here against the running server; package client's
// own tests are about what a wrong server does to it.

func (w *world) goClient(key crypto.Signer, edit func(*client.Config)) *client.Client {
	w.t.Helper()
	cfg := client.Config{
		BaseURL: w.url, Roots: w.ca.Pool(), Token: w.token(deploymenttest.User, nil), Key: key, Deployment: w.d.ID,
		ResultKeys: w.policy.Active().IdentityKeys(message.RoleSigning), Now: w.clock.Now,
	}
	if edit != nil {
		edit(&cfg)
	}
	c, err := client.New(cfg)
	must(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) walletCreate(c *client.Client) message.Statement {
	w.t.Helper()
	s, err := c.NewStatement(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: "w",
	}, time.Hour)
	must(w.t, err)
	return s
}

// TestClientSignaturesVerify checks that what the client signs is what the
// roles verify, with both kinds of key, by token and by certificate.
func TestClientSignaturesVerify(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w.policy.Set(w.d.Active(func(doc *document.Document) {
		w.editPolicy(doc)
		doc.Version = 2
		jwk, err := message.NewJWK(p256.Public())
		must(t, err)
		doc.Users[0].Keys = append(doc.Users[0].Keys, jwk)
	}))
	for name, c := range map[string]*client.Client{
		"ed25519/token":     w.goClient(w.d.UserKey, nil),
		"p-256/certificate": w.goClient(p256, func(c *client.Config) { c.Token, c.Certificate = "", &w.alice }),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := c.Submit(context.Background(), w.walletCreate(c), 0)
			must(t, err)
			var e message.Envelope
			m.change(t, r.ID, func(v *queue.View) { must(t, message.Decode(v.Body, &e)) })
			in := transaction.Interpreter{Deployment: w.d.ID, Roles: w.d.Genesis.Roles, Generation: 1, Descriptors: nil}
			meaning, err := in.Interpret(context.Background(), e.Statement)
			must(t, err)
			user, reason := document.VerifyUser(w.policy.Active(), e, meaning, w.clock.Now())
			if reason != nil || user.ID != deploymenttest.User {
				t.Fatalf("user %q, reason %+v", user.ID, reason)
			}
		})
	}
}

func TestClientWaitsAndVerifies(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	c := w.goClient(w.d.UserKey, nil)
	statement := w.walletCreate(c)
	type outcome struct {
		r   api.Request
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := c.Submit(context.Background(), statement, time.Minute)
		done <- outcome{r, err}
	}()
	w.waitFor(func() bool { return m.has(statement.ID) })
	body, err := message.Encode(statement)
	must(t, err)
	output := `{"wallet":"` + message.Sum(body).String() + `"}`
	w.end(m, statement.ID, func(r *message.Result) { r.Output = []byte(output) })
	got := <-done
	must(t, got.err)
	if got.r.Status != message.StatusDone || string(got.r.Result.Output) != output {
		t.Fatalf("got %+v", got.r)
	}
	page, err := c.List(context.Background(), client.Filter{Status: message.StatusDone, Limit: 1})
	must(t, err)
	if len(page.Requests) != 1 {
		t.Fatalf("listed %+v", page)
	}
	must(t, c.Ready(context.Background()))
}

// TestAttackLyingProposer checks that a client that knows the signing
// service's key believes no result of another's making.
func TestAttackLyingProposer(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	mine := w.goClient(w.d.UserKey, func(c *client.Config) {
		c.ResultKeys = []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))}
	})
	r, err := mine.Submit(context.Background(), w.walletCreate(mine), 0)
	must(t, err)
	w.end(m, r.ID, nil)
	if _, err := mine.Get(context.Background(), r.ID); err == nil || !strings.Contains(err.Error(), client.ErrResult.Error()) {
		t.Fatalf("believed: %v", err)
	}
	honest, err := w.goClient(nil, nil).Get(context.Background(), r.ID)
	must(t, err)
	keys := w.policy.Active().IdentityKeys(message.RoleSigning)
	for name, lie := range map[string]func(*api.Request){
		"fail/other-output":  func(r *api.Request) { r.Result.Output = []byte(`{"wallet":"y"}`) },
		"fail/other-status":  func(r *api.Request) { r.Status = message.StatusSigned },
		"fail/other-request": func(r *api.Request) { r.ID = statementID(t, w.statement()) },
		"fail/no-result":     func(r *api.Request) { r.Result = nil },
	} {
		t.Run(name, func(t *testing.T) {
			shown, result := honest, *honest.Result
			shown.Result = &result
			lie(&shown)
			if _, err := client.VerifyResult(shown, w.d.ID, keys); err == nil {
				t.Fatal("believed")
			}
		})
	}
	if _, err := client.VerifyResult(honest, w.d.ID, keys); err != nil {
		t.Fatal(err)
	}
}

func TestClientWatches(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Wait = time.Second })
	c := w.goClient(w.d.UserKey, nil)
	r, err := c.Submit(context.Background(), w.walletCreate(c), 0)
	must(t, err)
	var seen []message.Status
	last, err := c.Watch(context.Background(), r.ID, func(r api.Request) error {
		seen = append(seen, r.Status)
		switch r.Status {
		case message.StatusPending:
			m.change(t, r.ID, func(v *queue.View) {
				v.Tasks = []queue.TaskView{{Consumer: message.RoleApproval, State: "parked", Note: "bob must agree"}}
			})
		case message.StatusWaiting:
			w.end(m, r.ID, nil)
		}
		return nil
	})
	must(t, err)
	if !last.Ended() || len(seen) != 3 {
		t.Fatalf("saw %v", seen)
	}
}

func TestClientProblems(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	c := w.goClient(w.d.UserKey, nil)
	ctx := context.Background()
	s := w.walletCreate(c)
	s.Expires = message.At(w.clock.Now().Add(30 * 24 * time.Hour))
	_, late := c.Submit(ctx, s, 0)
	_, absent := c.Get(ctx, s.ID)
	_, wallet := c.Wallet(ctx, strings.Repeat("ab", 32))
	_, accounts := c.Accounts(ctx, strings.Repeat("ab", 32), 0, "")
	_, entry := w.goClient(nil, func(c *client.Config) { c.Token = "" }).Wallets(ctx, 0, "")
	_, page := c.Wallets(ctx, 1000, "")
	for err, code := range map[error]proposer.Code{
		late: proposer.CodeExpiryOutOfRange, absent: proposer.CodeNotFound, wallet: proposer.CodeNotFound,
		accounts: proposer.CodeNotFound, entry: proposer.CodeUnauthenticated, page: proposer.CodeInvalidParameter,
	} {
		if client.Code(err) != string(code) {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	if _, err := w.goClient(nil, nil).Submit(ctx, w.walletCreate(c), 0); err == nil || len(m.views) != 0 {
		t.Fatal("a client without a key submitted something")
	}
}

// TestClientSendsAgain checks that the client sends the same bytes again while
// the service is out of reach, and that they are one request.
func TestClientSendsAgain(t *testing.T) {
	b, m := memoryBackend(t)
	m.failures = 2
	w := start(t, b, nil)
	c := w.goClient(w.d.UserKey, nil)
	r, err := c.Submit(context.Background(), w.walletCreate(c), 0)
	must(t, err)
	if len(m.views) != 1 || !m.has(r.ID) {
		t.Fatalf("%d requests", len(m.views))
	}
}
