package approval_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/problem"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/httpsig"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	recipient = "0x00000000000000000000000000000000000000aa"
	token     = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
	oneEther  = "1000000000000000000"
	twoEther  = "2000000000000000000"
)

// world is one deployment with its approval service around fakes: it is the
// runtime (Append, Unpark, Overrule, Frozen), the store of requests and the holder of the policy
// itself.
type world struct {
	t       *testing.T
	d       *deploymenttest.Deployment
	records *deploymenttest.Records
	wallet  string
	account string
	decider *approval.Decider
	server  *httptest.Server

	mu        sync.Mutex
	now       time.Time
	active    *document.Active
	chain     [][]byte
	stored    map[uuid.UUID]approval.Stored
	unparked  map[uuid.UUID]int
	overruled map[uuid.UUID]int
	fault     error // of Append and Unpark
	mute      error // of Overrule
	frozen    string
	// entered, if set, is sent to when a list begins, which then takes until
	// hold is closed.
	entered, hold chan struct{}
}

func newWorld(t *testing.T, edit func(*document.Document), configure ...func(*approval.Config)) *world {
	t.Helper()
	w := &world{
		t: t, d: deploymenttest.New(t), now: start,
		stored: map[uuid.UUID]approval.Stored{}, unparked: map[uuid.UUID]int{}, overruled: map[uuid.UUID]int{},
	}
	w.decider = approval.New(w.Now)
	w.records = w.d.Records()
	w.wallet = w.records.AddWallet(deploymenttest.User)
	w.account, _ = w.records.AddAccount(w.wallet, deploymenttest.User)
	w.active = w.d.Active(edit)
	cfg := approval.Config{
		Deployment: w.d.ID, Decider: w.decider, Requests: w, Runtime: w,
		Interpreter: w.d.Interpreter(w.records), Policy: w, Now: w.Now,
	}
	for _, change := range configure {
		change(&cfg)
	}
	s, err := approval.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewTLSServer(s.Handler())
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) Now() time.Time { return w.now }

func (w *world) Active() *document.Active {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active
}

func (w *world) Append(_ context.Context, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return w.fault
	}
	w.chain = append(w.chain, body)
	return w.decider.Replay(body)
}

func (w *world) Unpark(_ context.Context, id uuid.UUID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return w.fault
	}
	w.unparked[id]++
	return nil
}

func (w *world) Overrule(_ context.Context, id uuid.UUID, envelope []byte) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute != nil || !bytes.Equal(envelope, w.stored[id].Envelope) {
		return false, cmp.Or(w.mute, errors.New("another envelope"))
	}
	w.overruled[id]++
	return true, nil
}

func (w *world) Frozen(_ *document.Active, user string) bool { return user != "" && user == w.frozen }

func (w *world) Waiting(_ context.Context, limit int) ([]approval.Stored, error) {
	if w.entered != nil {
		w.entered <- struct{}{}
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []approval.Stored
	for _, s := range w.stored {
		if len(out) < limit {
			out = append(out, s)
		}
	}
	return out, w.fault
}

func (w *world) Request(_ context.Context, id uuid.UUID) (approval.Stored, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.stored[id]
	if !ok {
		return s, approval.ErrNotFound
	}
	return s, w.fault
}

// setPolicy activates a further version.
func (w *world) setPolicy(edit func(*document.Document)) {
	version := w.active.Version + 1
	next := w.d.Active(func(doc *document.Document) {
		doc.Version = version
		if edit != nil {
			edit(doc)
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = next
}

// transfer puts a request on the queue.
func (w *world) transfer(wei string) policy.Request {
	return w.ask(message.KindEthereumTransaction, w.wallet, w.account,
		deploymenttest.Transfer{To: recipient, Value: wei}.Payload())
}

func (w *world) ask(kind message.Kind, wallet, account string, payload any) policy.Request {
	w.t.Helper()
	return w.store(w.d.Ask(kind, wallet, account, payload, w.now))
}

func (w *world) store(env message.Envelope) policy.Request {
	w.t.Helper()
	raw, err := message.Encode(env)
	if err != nil {
		w.t.Fatal(err)
	}
	q := policy.Request{
		Envelope: env, EnvelopeHash: message.Sum(raw), Meaning: w.d.Interpret(w.records, env),
	}
	q.ID = uuid.MustParse(q.Meaning.Statement.ID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored[q.ID] = approval.Stored{ID: q.ID, Envelope: raw, Submitted: w.now}
	return q
}

// decide decides under the policy and at the time of now.
func (w *world) decide(q policy.Request) policy.Decision {
	w.t.Helper()
	q.Policy, q.Now = w.active, w.now
	q.Frozen = func(user string) bool { return w.Frozen(w.active, user) }
	d, err := w.decider.Decide(context.Background(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// aboveEther is the rule that asks about two ether.
const aboveEther = deploymenttest.RuleAbove + "ether"

// want wants a verdict, and where by is given, for that first of all: a rule that
// asks, or the code of another reason.
func (w *world) want(q policy.Request, verdict policy.Verdict, by string) policy.Decision {
	w.t.Helper()
	d := w.decide(q)
	if d.Verdict != verdict || (by != "" && (len(d.Reasons) == 0 || why(d.Reasons[0]) != by)) {
		w.t.Fatalf("got %+v, want verdict %d by %q", d, verdict, by)
	}
	return d
}

// why names the rule that asks, or the code of another reason.
func why(r message.Reason) string {
	if r.Code != rules.CodeAsks {
		return r.Code
	}
	rule, _, _ := strings.Cut(strings.TrimPrefix(r.Detail, "rule "), ":")
	return rule
}

// on is the vote that an approver would sign now.
func (w *world) on(q policy.Request, approver string, decision message.Decision) message.Vote {
	return message.Vote{
		Version: message.Version, Deployment: w.d.ID, Request: q.Meaning.Statement.ID,
		Envelope: q.EnvelopeHash, Digests: q.Meaning.Digests, Decision: decision,
		Approver: approver, Policy: w.active.Ref.Hash, Expires: q.Meaning.Statement.Expires,
	}
}

// answer is a response of the API.
type answer struct {
	t       *testing.T
	status  int
	header  http.Header
	body    []byte
	problem problem.Problem
}

func (a answer) ok(v any) {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("got %d: %s", a.status, a.body)
	}
	if v == nil {
		return
	}
	if err := message.DecodeStrict(a.body, v); err != nil {
		a.t.Fatal(err)
	}
}

func (a answer) refused(status int, code string) {
	a.t.Helper()
	if a.status != status || a.problem.Code != code || a.problem.Status != status ||
		a.problem.Type != problem.TypePrefix+code || a.problem.Title == "" {
		a.t.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
}

// answered reads an answer, and not yet what it says.
func (w *world) answered(res *http.Response) answer {
	w.t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{t: w.t, status: res.StatusCode, header: res.Header, body: body}
}

func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	res, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.answered(res)
	want := "application/json"
	if res.StatusCode >= 400 {
		want = problem.MediaType
		if err := json.Unmarshal(a.body, &a.problem); err != nil {
			w.t.Fatalf("problem is no JSON: %s", a.body)
		}
	}
	if got := res.Header.Get("Content-Type"); got != want {
		w.t.Fatalf("content type is %q", got)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		w.t.Fatal("the answer may be cached")
	}
	return a
}

func (w *world) host() string { return strings.TrimPrefix(w.server.URL, "https://") }

// get sends a reading request signed by a key.
func (w *world) get(path string, key ed25519.PrivateKey) answer {
	w.t.Helper()
	return w.send(w.signedGet(path, key, w.now, nil))
}

func (w *world) signedGet(path string, key ed25519.PrivateKey, created time.Time, edit func(*httpsig.Message)) *http.Request {
	w.t.Helper()
	m := httpsig.Message{Method: "GET", Authority: w.host(), Path: path}
	if edit != nil {
		edit(&m)
	}
	signed, err := httpsig.Sign(m, httpsig.ReadProfile, key, deploymenttest.JWK(w.t, key).Thumbprint(), created)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, w.server.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Signature-Input", signed.SignatureInput)
	r.Header.Set("Signature", signed.Signature)
	return r
}

func (w *world) post(q policy.Request, compact string) answer {
	w.t.Helper()
	return w.postTo(api.Path+"/"+q.Meaning.Statement.ID+"/votes", api.VoteMediaType, compact)
}

func (w *world) postTo(path, media, body string) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.server.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	return w.send(r)
}

// bob votes through the API.
func (w *world) bob(q policy.Request, decision message.Decision) answer {
	w.t.Helper()
	return w.post(q, w.d.Vote(w.on(q, deploymenttest.Approver, decision), w.d.ApproverKey))
}

var errFault = errors.New("database is gone")

// The real ones fit.
var (
	_ approval.Runtime     = (*policy.Service)(nil)
	_ approval.Policy      = (*activation.Holder)(nil)
	_ approval.Interpreter = transaction.Interpreter{}
	_ policy.Recorder      = (*approval.Decider)(nil)
	_ policy.Preparer      = (*approval.Decider)(nil)
)
