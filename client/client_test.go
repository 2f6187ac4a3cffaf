package client_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/trust/httpsig"
)

// How the client gets on with the real servers is tested beside those; here
// the server is a wrong one.

var deployment = message.Sum([]byte("deployment"))

func server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func roots(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func connect(t *testing.T, s *httptest.Server) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: s.URL, Roots: roots(s), Token: "the-token", Key: deploymenttest.Key(t), Deployment: deployment})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	return id.String()
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]client.Config{
		"fail/plain-http":    {BaseURL: "http://proposer.test", Deployment: deployment},
		"fail/no-host":       {BaseURL: "https://", Deployment: deployment},
		"fail/path":          {BaseURL: "https://proposer.test/api", Deployment: deployment},
		"fail/user-in-url":   {BaseURL: "https://a:b@proposer.test", Deployment: deployment},
		"fail/query":         {BaseURL: "https://proposer.test?x=1", Deployment: deployment},
		"fail/no-deployment": {BaseURL: "https://proposer.test"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.New(cfg); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	if _, err := client.NewApprover(client.ApproverConfig{BaseURL: "https://console.test"}); err == nil {
		t.Fatal("an approver without a key was accepted")
	}
}

// TestAttackRedirect checks that neither token nor statement follows a
// redirect.
func TestAttackRedirect(t *testing.T) {
	var stolen atomic.Int32
	thief := server(t, func(http.ResponseWriter, *http.Request) { stolen.Add(1) })
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, err := connect(t, s).Get(context.Background(), newID(t))
	if client.Code(err) != "http" || stolen.Load() != 0 {
		t.Fatalf("got %v, %d calls elsewhere", err, stolen.Load())
	}
}

// TestAttackImpostor checks that a server of another CA gets nothing, and that
// the client does not try again.
func TestAttackImpostor(t *testing.T) {
	var calls atomic.Int32
	s := server(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	c, err := client.New(client.Config{BaseURL: s.URL, Roots: x509.NewCertPool(), Token: "the-token", Key: deploymenttest.Key(t), Deployment: deployment})
	must(t, err)
	statement, err := c.NewStatement(message.KindWalletCreate, "", "", struct{}{}, time.Hour)
	must(t, err)
	_, err = c.Submit(context.Background(), statement, 0)
	if err == nil || calls.Load() != 0 || strings.Contains(err.Error(), "the-token") {
		t.Fatalf("got %v after %d calls", err, calls.Load())
	}
}

func TestAttackOldTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := connect(t, s).Get(context.Background(), newID(t)); err == nil || client.Code(err) != "" {
		t.Fatalf("TLS 1.2 was spoken: %v", err)
	}
}

// TestWrongAnswers plays answers that are no good.
func TestWrongAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   string
	}{
		"fail/html-error": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>no</h1>", http.StatusBadGateway) }, "http"},
		"fail/problem-without-code": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, `{"title":"x"}`)
		}, "http"},
		"fail/not-json": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, ""},
		"fail/duplicate-member": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"pending","status":"signed"}`)
		}, ""},
		"fail/cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"status":`)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect(t, server(t, c.answer)).Get(context.Background(), newID(t))
			if err == nil || client.Code(err) != c.code {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestAttackAnswerAboutAnotherRequest plays a proposer that is asked about one
// request and shows another, whose result is as well signed: a user who made
// an account would be told somebody else's address to pay to.
func TestAttackAnswerAboutAnotherRequest(t *testing.T) {
	signing := deploymenttest.Key(t)
	jwk, err := message.NewJWK(signing.Public())
	must(t, err)
	wallet := strings.Repeat("11", 32)
	var shown string // the request that is answered about
	var account message.Hash
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		output := fmt.Sprintf(`{"wallet":"%s","account":"%s","chain":"eip155:1","curve":"secp256k1","path":"m/0'","public_key":"","address":"0x00"}`, wallet, account)
		result := message.Result{
			Origin:  message.Origin{Version: 1, Deployment: deployment, Generation: 1},
			Request: shown, Envelope: message.Sum(nil), Status: message.StatusDone, Output: []byte(output),
		}
		jws, err := message.SignEd25519(message.TypResult, jwk.Thumbprint(), signing, result)
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintf(w, `{"id":"%s","status":"done","result":{"status":"done","output":%s,"jws":"%s"}}`, shown, output, jws)
	})
	c, err := client.New(client.Config{
		BaseURL: s.URL, Roots: roots(s), Token: "the-token", Key: deploymenttest.Key(t), Deployment: deployment, ResultKeys: []message.JWK{jwk},
	})
	must(t, err)
	t.Cleanup(c.Close)
	ctx := context.Background()
	statement, err := c.NewStatement(message.KindAccountCreate, wallet, "", message.AccountCreate{Chain: "eip155:1"}, time.Hour)
	must(t, err)
	body, err := message.Encode(statement)
	must(t, err)

	shown, account = newID(t), message.Sum(body)
	if _, err := c.Submit(ctx, statement, 0); !errors.Is(err, client.ErrOther) {
		t.Fatalf("fail/another id: %v", err)
	}
	if _, err := c.Get(ctx, statement.ID); !errors.Is(err, client.ErrOther) {
		t.Fatalf("fail/another id: %v", err)
	}
	shown, account = statement.ID, message.Sum([]byte("another statement under the same id"))
	if _, err := c.Submit(ctx, statement, 0); !errors.Is(err, client.ErrOther) {
		t.Fatalf("fail/another account under the same id: %v", err)
	}
	account = message.Sum(body)
	if _, err := c.Submit(ctx, statement, 0); err != nil {
		t.Fatal(err)
	}
}

// TestIDsDoNotReachPaths checks that an id that is none is refused before
// anything is sent.
func TestIDsDoNotReachPaths(t *testing.T) {
	var calls atomic.Int32
	c := connect(t, server(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	ctx := context.Background()
	_, a := c.Get(ctx, "../wallets")
	_, b := c.Wallet(ctx, "x/accounts")
	_, d := c.Accounts(ctx, "", 0, "")
	_, e := c.Watch(ctx, "", nil)
	if a == nil || b == nil || d == nil || e == nil || calls.Load() != 0 {
		t.Fatalf("%v %v %v %v, %d calls", a, b, d, e, calls.Load())
	}
}

func TestSubmitChecksStatement(t *testing.T) {
	var calls atomic.Int32
	c := connect(t, server(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	good, err := c.NewStatement(message.KindWalletCreate, "", "", struct{}{}, time.Hour)
	must(t, err)
	for name, edit := range map[string]func(*message.Statement){
		"fail/kind":     func(s *message.Statement) { s.Kind = "secrets.rotate" },
		"fail/id":       func(s *message.Statement) { s.ID = "1" },
		"fail/audience": func(s *message.Statement) { s.Audience = message.Hash{} },
		"fail/payload":  func(s *message.Statement) { s.Payload = []byte("[]") },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			edit(&s)
			if _, err := c.Submit(context.Background(), s, 0); err == nil {
				t.Fatal("sent")
			}
		})
	}
	if calls.Load() != 0 {
		t.Fatal("something was sent")
	}
}

// TestSendSendsWhatWasSigned checks that Sign sends nothing, and that Send can
// be called again with the very same bytes and signature.
func TestSendSendsWhatWasSigned(t *testing.T) {
	var calls []string
	var id string
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, string(body)+r.Header.Get("Signature-Input")+r.Header.Get("Signature"))
		_, _ = fmt.Fprintf(w, `{"id":"%s","status":"pending"}`, id)
	})
	c := connect(t, s)
	statement, err := c.NewStatement(message.KindWalletCreate, "", "", struct{}{}, time.Hour)
	must(t, err)
	signed, err := c.Sign(statement)
	must(t, err)
	if id = statement.ID; len(calls) != 0 {
		t.Fatal("something was sent")
	}
	for range 2 {
		if _, err := c.Send(context.Background(), signed, 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) != 2 || calls[0] != calls[1] || !strings.Contains(calls[0], id) {
		t.Fatalf("sent %q", calls)
	}
}

// TestApproverSignsReads checks that an approver's reading calls verify under
// ReadProfile, and that a vote goes out as it is.
func TestApproverSignsReads(t *testing.T) {
	k := deploymenttest.Key(t)
	jwk, err := message.NewJWK(k.Public())
	must(t, err)
	id := newID(t)
	var faults []string
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			if string(body) != "a.b.c" || r.Header.Get("Content-Type") != "application/jose" || r.URL.Path != "/v1/approvals/"+id+"/votes" {
				faults = append(faults, fmt.Sprintf("vote %q to %s", body, r.URL.Path))
			}
			_, _ = io.WriteString(w, `{"id":"`+id+`","approvals":1}`)
			return
		}
		verified, err := httpsig.Verify(httpsig.Message{Method: r.Method, Authority: r.Host, Path: r.URL.Path}, httpsig.ReadProfile,
			r.Header.Get("Signature-Input"), r.Header.Get("Signature"), time.Now(),
			func(string) (crypto.PublicKey, error) { return k.Public(), nil })
		if err != nil || verified.KeyID != jwk.Thumbprint() {
			faults = append(faults, fmt.Sprintf("%s: %v", r.URL.Path, err))
		}
		_, _ = io.WriteString(w, `{}`)
	})
	a, err := client.NewApprover(client.ApproverConfig{BaseURL: s.URL, Roots: roots(s), Key: k})
	must(t, err)
	ctx := context.Background()
	_, err = a.Approvals(ctx)
	must(t, err)
	_, err = a.Approval(ctx, id)
	must(t, err)
	recorded, err := a.Vote(ctx, id, []byte("a.b.c"))
	must(t, err)
	if recorded.Approvals != 1 || len(faults) > 0 {
		t.Fatalf("%+v %v", recorded, faults)
	}
	if _, err := a.Vote(ctx, "../x", nil); err == nil {
		t.Fatal("an id that is none was sent")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
