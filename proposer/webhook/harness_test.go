package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// patience ends a test that hangs; soon is how long nothing happens where nothing
// should.
const (
	patience = 30 * time.Second
	soon     = 300 * time.Millisecond
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// holder is a policy that the test changes.
type holder struct {
	mu      sync.Mutex
	active  *document.Active
	changed []chan struct{}
}

func (h *holder) Active() *document.Active {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.active
}

func (h *holder) Changed() <-chan struct{} {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = append(h.changed, c)
	return c
}

func (h *holder) Refresh(context.Context) (bool, error) { return false, nil }

// world is a database with the proposer's queue and the signing service's, and
// webhooks in the policy.
type world struct {
	*testing.T
	db      *databasetest.DB
	policy  *holder
	signing *queue.Queue
	version int
	http    webhook.HTTP
	keys    webhook.Keys
	now     func() time.Time
	logs    standin.Log
}

func newWorld(t *testing.T, hooks ...document.Webhook) *world {
	t.Helper()
	db := databasetest.New(t)
	w := &world{T: t, db: db, policy: &holder{}, http: webhook.HTTP{Allowed: loopback}, keys: db.Deployment.Keyrings["proposer"]}
	begun := time.Now() // stands, so that every retry is the first
	w.now = func() time.Time { return begun }
	w.signing = queue.New(db.As("signing"), db.Config("signing"), slog.New(slog.DiscardHandler))
	w.set(hooks...)
	return w
}

// set activates a new document with these webhooks.
func (w *world) set(hooks ...document.Webhook) {
	w.Helper()
	w.version++
	active := w.db.Deployment.Active(func(d *document.Document) { d.Version, d.Webhooks = w.version, hooks })
	w.policy.mu.Lock()
	defer w.policy.mu.Unlock()
	w.policy.active = active
	for _, c := range w.policy.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// instance is one running proposer.
type instance struct {
	ends map[webhook.End]int
	mu   sync.Mutex
	stop func()
}

func (i *instance) count(end webhook.End) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ends[end]
}

func (w *world) start() *instance {
	w.Helper()
	q := queue.New(w.db.Open("proposer"), w.db.Config("proposer"), slog.New(slog.DiscardHandler))
	server, err := proposer.New(proposer.Config{
		Deployment: w.db.Deployment.ID, Roles: w.db.Deployment.Genesis.Roles, Queue: q, Wallets: struct{ proposer.Wallets }{},
		Policy: w.policy, DB: w.db.As("proposer"), ClientCAs: x509.NewCertPool(),
	})
	w.must(err)
	i := &instance{ends: map[webhook.End]int{}}
	s, err := webhook.New(webhook.Config{
		Queue: q, Policy: w.policy, Outcomes: server, Keys: w.keys, HTTP: w.http, Now: w.now,
		Log:     slog.New(slog.NewTextHandler(io.MultiWriter(&w.logs, w.Output()), nil)),
		Recheck: 500 * time.Millisecond, FirstRetry: 100 * time.Millisecond,
		Observe: func(end webhook.End) { i.mu.Lock(); i.ends[end]++; i.mu.Unlock() },
	})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{q.Run, s.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				w.Error(err)
			}
		})
	}
	i.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.Cleanup(i.stop)
	return i
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// submit puts requests of a user on the queue as the API does.
func (w *world) submit(user string, n int) []queue.Submission {
	w.Helper()
	d := w.db.Deployment
	batch := make([]queue.Submission, n)
	for i := range batch {
		now := time.Now()
		raw := d.Statement(message.KindEthereumMessage, strings.Repeat("a", 64), strings.Repeat("b", 64), map[string]string{"message": "hi"}, now.Add(time.Hour))
		body, err := message.Encode(d.Envelope(raw, d.UserKey, now))
		w.must(err)
		var statement message.Statement
		w.must(json.Unmarshal(raw, &statement))
		batch[i] = queue.Submission{
			ID: uuid.MustParse(statement.ID), Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(raw), Owner: user,
			Kind: string(statement.Kind), Wallet: statement.Wallet, Expires: now.Add(time.Hour), Later: webhook.Consumers(w.policy.Active(), user),
		}
	}
	q := queue.New(w.db.As("proposer"), w.db.Config("proposer"), nil)
	outcomes, err := q.Submit(context.Background(), batch, queue.Recipients{Consumers: d.Genesis.Roles, Gatherer: message.RoleSigning})
	w.must(err)
	for _, o := range outcomes {
		if o != queue.Accepted {
			w.Fatalf("outcome %d", o)
		}
	}
	return batch
}

func (w *world) result(s queue.Submission, status message.Status) queue.Result {
	w.Helper()
	d := w.db.Deployment
	key := d.IdentityKey(message.RoleSigning)
	body, err := message.SignEd25519(message.TypResult, deploymenttest.JWK(w, key).Thumbprint(), key, message.Result{
		Origin:  message.Origin{Version: message.Version, Deployment: d.ID, Generation: 1},
		Request: s.ID.String(), Envelope: message.Sum(s.Body), Status: status,
		Reasons:   []message.RoleReason{{Role: "fraud", Reason: message.Reason{Code: "deny_listed"}}},
		Approvals: []message.Hash{}, Time: message.At(time.Now()),
	})
	w.must(err)
	return queue.Result{Request: s.ID, Status: string(status), Body: body}
}

// end ends requests as the signing service does.
func (w *world) end(status message.Status, list ...queue.Submission) {
	w.Helper()
	for _, s := range list {
		_, err := w.signing.Finish(context.Background(), nil, []queue.Result{w.result(s, status)})
		w.must(err)
	}
}

// tasks counts the webhooks' tasks in a state.
func (w *world) tasks(condition string) (n int) {
	w.Helper()
	w.must(w.db.Owner.QueryRow("SELECT count(*) FROM countersign.task WHERE consumer LIKE 'webhook:%' AND " + condition).Scan(&n))
	return n
}

// hasten makes tasks due of which nobody heard that their requests have ended.
func (w *world) hasten() {
	w.Helper()
	_, err := w.db.Owner.Exec("UPDATE countersign.task SET available_at = now() WHERE consumer LIKE 'webhook:%'")
	w.must(err)
}

func (w *world) until(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not in time: %s", what)
		}
	}
}

// received is one message as it came.
type received struct {
	path   string
	header http.Header
	body   []byte
	event  webhook.Event
}

// receiver is a server of somebody else's.
type receiver struct {
	*httptest.Server
	t      *testing.T
	answer func(n int, w http.ResponseWriter, r *http.Request)

	mu       sync.Mutex
	messages []received
}

// receive starts a receiver that answers 200, or as answer says of its n-th
// message, counted from 0. The world's proposers trust its certificate.
func (w *world) receive(answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	w.Helper()
	r := &receiver{t: w.T, answer: answer}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	r.StartTLS()
	w.Cleanup(r.Close)
	if w.http.CAs == nil {
		w.http.CAs = x509.NewCertPool()
	}
	w.http.CAs.AddCert(r.Certificate())
	return r
}

func (r *receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	m := received{path: req.URL.RequestURI(), header: req.Header.Clone(), body: body}
	if err := message.Decode(body, &m.event); err != nil {
		r.t.Errorf("a message does not decode: %v", err)
	}
	r.mu.Lock()
	n := len(r.messages)
	r.messages = append(r.messages, m)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, w, req)
	}
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.messages...)
}

// deduplicated counts messages as a receiver should: by their ids.
func (r *receiver) deduplicated() int {
	ids := map[string]bool{}
	for _, m := range r.all() {
		ids[m.header.Get("webhook-id")] = true
	}
	return len(ids)
}

// genuine checks a message as its receiver does, written from the specification
// and not by the product's library.
func (w *world) genuine(id string, m received) {
	w.Helper()
	keys, err := w.db.Deployment.Keyrings["proposer"].WebhookSecrets(id)
	w.must(err)
	text := strings.TrimPrefix(string(secrets.FormatWebhook(keys[0]).Bytes()), "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	w.must(err)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(m.header.Get("webhook-id") + "." + m.header.Get("webhook-timestamp") + "."))
	mac.Write(m.body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); m.header.Get("webhook-signature") != want {
		w.Errorf("signature is %q, want %q", m.header.Get("webhook-signature"), want)
	}
	at, err := strconv.ParseInt(m.header.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		w.Errorf("timestamp %q is not of now", m.header.Get("webhook-timestamp"))
	}
}

// silent never answers: an answer that is written as the caller leaves could still
// reach it.
func silent(_ int, _ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func hook(id, url string) document.Webhook { return document.Webhook{ID: id, URL: url} }
