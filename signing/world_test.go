package signing_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
	"github.com/countersign/countersign/wallet/descriptorpg"
	"github.com/countersign/countersign/wallet/walletpg"
)

// patience bounds every wait of these tests; none of them sleeps for it.
const patience = 40 * time.Second

// world is a deployment on a real PostgreSQL with hand-played policy services.
type world struct {
	t        *testing.T
	db       *databasetest.DB
	d        *deploymenttest.Deployment
	proposer *queue.Queue
	players  map[string]*player
	active   *document.Active // version 1
	wallet   string
	account  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := databasetest.New(t)
	w := &world{t: t, db: db, d: db.Deployment, players: map[string]*player{}, active: db.Deployment.Active(nil)}
	w.proposer = w.queue(secrets.ServiceProposer, nil)
	w.push(nil)
	for _, role := range w.d.Genesis.Roles {
		w.players[role] = w.play(role)
	}
	return w
}

// queue returns a running queue of a service, on a pool of its own.
func (w *world) queue(service string, db *sql.DB) *queue.Queue {
	w.t.Helper()
	if db == nil {
		db = w.db.Open(service)
	}
	q := queue.New(db, w.db.Config(service), testLog(w.t))
	w.background(q.Run)
	return q
}

// background runs do until the test ends, and waits for it then. Quit tells it
// to end, stop waits for that as well.
func (w *world) background(do func(context.Context) error) (quit, stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := do(ctx); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return cancel, stop
}

// push publishes a policy version as the operator.
func (w *world) push(edit func(*document.Document)) {
	w.t.Helper()
	bundle := w.d.Policy(edit)
	body, err := message.Encode(bundle)
	must(w.t, err)
	must(w.t, w.queue(secrets.ServiceOperator, nil).Publish(w.t.Context(), queue.Notice{
		Topic: queue.TopicPolicy, Key: message.Sum(body).String(), Sender: secrets.ServiceOperator, Body: body,
	}))
}

// instance is one running signing service.
type instance struct {
	*signing.Service
	chain *recordingChain
	quit  func() // tells it to end
	stop  func() // waits for that as well
}

// start runs a signing instance; edit may change its configuration.
func (w *world) start(edit func(*signing.Config)) *instance {
	w.t.Helper()
	db := w.db.Open(secrets.ServiceSigning)
	q := w.queue(secrets.ServiceSigning, db)
	holder := activation.New(w.d.Genesis, w.d.ID, q, slog.New(slog.DiscardHandler))
	w.background(holder.Run)
	attester, err := attestation.New(nil)
	must(w.t, err)
	chain := &recordingChain{Chain: ethereum.New()}
	cfg := signing.Config{
		Genesis: w.d.Genesis, Deployment: w.d.ID, Keyring: w.d.Keyrings[secrets.ServiceSigning],
		DB: db, Queue: q, Store: walletpg.New(db), Seeds: wallet.NewSoftwareSource(),
		Interpreter: w.interpreter(chain), Policy: holder, Attester: attester,
		Now: time.Now, Log: testLog(w.t), Lease: 500 * time.Millisecond,
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := signing.New(cfg)
	must(w.t, err)
	i := &instance{Service: s, chain: chain}
	i.quit, i.stop = w.background(s.Run)
	return i
}

// ready waits until the instance could sign.
func (w *world) ready(i *instance) *instance {
	w.t.Helper()
	w.until("the instance is ready", func() bool { return i.Ready(w.t.Context()) == nil })
	return i
}

// until polls for a state that another process reaches; the poll's interval
// decides nothing but when it is noticed.
func (w *world) until(what string, reached func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !reached(); {
		if time.Now().After(deadline) {
			w.dump()
			w.t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) interpreter(chain transaction.Chain) transaction.Interpreter {
	return transaction.Interpreter{
		Deployment: w.d.ID, Roles: w.d.Genesis.Roles, Generation: 1,
		Chains: map[string]transaction.Chain{"eip155": chain},
	}
}

// recordingChain remembers every signature that was made.
type recordingChain struct {
	transaction.Chain
	mu      sync.Mutex
	outputs []string
}

func (c *recordingChain) Assemble(tx transaction.Transaction, a message.AccountDescriptor, s [][]byte) (jsontext.Value, error) {
	out, err := c.Chain.Assemble(tx, a, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outputs = append(c.outputs, string(out))
	return out, err
}

func (c *recordingChain) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.outputs...)
}

// player plays one policy service.
type player struct {
	w    *world
	q    *queue.Queue
	in   transaction.Interpreter
	mu   sync.Mutex
	role *policytest.Role
	// decide answers a request; nil approves everything.
	decide    func(*policytest.Role, policytest.Asked) (policytest.Answer, bool)
	announced map[message.Hash]bool
	asked     map[string]int
	parks     time.Duration // if set, requests are parked and not answered
}

func (w *world) play(role string) *player {
	w.t.Helper()
	db := w.db.Open(role)
	p := &player{
		w: w, q: w.queue(role, db), in: w.interpreter(ethereum.New()), role: policytest.New(w.t, w.d, role),
		announced: map[message.Hash]bool{}, asked: map[string]int{},
	}
	p.in.Descriptors = descriptorpg.New(db)
	w.background(p.greet)
	w.background(func(ctx context.Context) error {
		return p.q.Consume(ctx, queue.Consumer{
			Name: role, Batch: 16, Workers: 1, Poll: 100 * time.Millisecond, MaxAttempts: 1000,
		}, p.handle)
	})
	return p
}

// greet announces to every hello of its own.
func (p *player) greet(ctx context.Context) error {
	changed := p.q.Changed(queue.TopicHello)
	for {
		notices, err := p.q.Notices(ctx, queue.TopicHello)
		if err != nil {
			return err
		}
		for _, n := range notices {
			if err := p.announce(ctx, n); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (p *player) announce(ctx context.Context, n queue.Notice) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var h message.Hello
	if err := message.Peek(n.Body, &h); err != nil || h.Role != p.role.Name || p.announced[message.Sum(n.Body)] {
		return err
	}
	p.announced[message.Sum(n.Body)] = true
	return p.q.Publish(ctx, queue.Notice{
		Topic: queue.TopicAnnouncement, Key: p.role.Instance + "/" + h.Epoch.String(), Sender: p.role.Name,
		Body: p.role.Announce(n.Body, time.Now()), Expires: time.Now().Add(policytest.Lifetime),
	})
}

func (p *player) handle(ctx context.Context, tasks []queue.Task) (queue.Work, error) {
	var out queue.Work
	for _, task := range tasks {
		out.Verdicts = append(out.Verdicts, p.one(ctx, task))
	}
	return out, nil
}

func (p *player) one(ctx context.Context, task queue.Task) queue.Verdict {
	var e message.Envelope
	if err := message.Decode(task.Body, &e); err != nil {
		return queue.Verdict{Disposition: queue.Done}
	}
	m, err := p.in.Interpret(ctx, e.Statement)
	if err != nil {
		return queue.Verdict{Disposition: queue.Retry, Delay: 50 * time.Millisecond}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := policytest.Asked{ID: task.Request.String(), Envelope: task.Body, Meaning: m, Policy: p.w.active.Ref}
	p.asked[asked.ID]++
	if p.parks > 0 {
		return queue.Verdict{Disposition: queue.Park, Delay: p.parks}
	}
	answer, ok := p.answer(asked)
	if !ok {
		return queue.Verdict{Disposition: queue.Done}
	}
	return queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{
		Sender: p.role.Name, Body: answer.Approval, Attachment: answer.Attachment, Epochs: answer.Epochs,
		Decisive: answer.Rejection,
	}}
}

func (p *player) answer(asked policytest.Asked) (policytest.Answer, bool) {
	if p.decide != nil {
		return p.decide(p.role, asked)
	}
	return p.role.Approve(asked, time.Now()), true
}

// set changes what the role says from now on.
func (p *player) set(decide func(*policytest.Role, policytest.Asked) (policytest.Answer, bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// park has the role wait for people from now on.
func (p *player) park(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parks = delay
}

func (p *player) timesAsked(id uuid.UUID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[id.String()]
}

// submit puts alice's statement on the queue and returns its id.
func (w *world) submit(kind message.Kind, payload any, life time.Duration) uuid.UUID {
	w.t.Helper()
	walletID, account := w.wallet, w.account
	switch kind {
	case message.KindWalletCreate:
		walletID, account = "", ""
	case message.KindAccountCreate:
		account = ""
	}
	statement := w.d.Statement(kind, walletID, account, payload, time.Now().Add(life))
	return w.submitStatement(statement, time.Now().Add(life))
}

func (w *world) submitStatement(statement []byte, expires time.Time) uuid.UUID {
	w.t.Helper()
	return w.submitSigned(statement, w.d.UserKey, expires)
}

func (w *world) submitSigned(statement []byte, key ed25519.PrivateKey, expires time.Time) uuid.UUID {
	w.t.Helper()
	return w.submitEnvelope(w.d.Envelope(statement, key, time.Now()), expires)
}

func (w *world) submitEnvelope(e message.Envelope, expires time.Time) uuid.UUID {
	w.t.Helper()
	s, err := message.ParseStatement(e.Statement, w.d.ID)
	must(w.t, err)
	body, err := message.Encode(e)
	must(w.t, err)
	id := uuid.MustParse(s.ID)
	outcomes, err := w.proposer.Submit(w.t.Context(), []queue.Submission{{
		ID: id, Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(e.Statement),
		Owner: deploymenttest.User, Kind: string(s.Kind), Wallet: s.Wallet, Expires: expires,
	}}, queue.Recipients{Consumers: w.d.Genesis.Roles, Gatherer: secrets.ServiceSigning})
	must(w.t, err)
	if outcomes[0] != queue.Accepted {
		w.t.Fatalf("submission: outcome %d", outcomes[0])
	}
	return id
}

// result waits for a request's end and verifies it as a user would.
func (w *world) result(id uuid.UUID) message.Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	got, err := w.proposer.ResultOf(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		got, err = w.proposer.Await(ctx, id)
	}
	if err != nil {
		w.t.Fatalf("waiting for %s: %v", id, err)
	}
	key := w.active.IdentityKeys(message.RoleSigning)[0]
	public, err := key.Ed25519()
	must(w.t, err)
	var r message.Result
	must(w.t, message.VerifyEd25519(message.TypResult, key.Thumbprint(), public, got.Body, &r))
	if r.Request != id.String() || string(r.Status) != got.Status || r.Envelope.IsZero() {
		w.t.Fatalf("result is %+v", r)
	}
	if (r.Status != message.StatusSigned && r.Status != message.StatusDone) && len(r.Reasons) == 0 {
		w.t.Fatalf("request ended as %s without a reason", r.Status)
	}
	return r
}

func (w *world) createWallet() uuid.UUID {
	w.t.Helper()
	return w.submit(message.KindWalletCreate, message.WalletCreate{
		Owner: deploymenttest.User, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware,
	}, time.Hour)
}

// needAccount makes the world's wallet and account.
func (w *world) needAccount() {
	w.t.Helper()
	r := w.result(w.createWallet())
	wantStatus(w.t, r, message.StatusDone)
	w.wallet = walletOf(w.t, r)
	r = w.result(w.submit(message.KindAccountCreate, accountCreate, time.Hour))
	wantStatus(w.t, r, message.StatusDone)
	var account countersigned.AccountOutput
	must(w.t, message.DecodeStrict(r.Output, &account))
	w.account = account.Account
}

// transfer submits a small payment.
func (w *world) transfer(life time.Duration) uuid.UUID {
	w.t.Helper()
	return w.submit(message.KindEthereumTransaction, jsontext.Value(transferPayload), life)
}

const transferPayload = `{"type":"eip1559","chain_id":"1","nonce":"0","gas_limit":"21000",` +
	`"max_fee_per_gas":"30000000000","max_priority_fee_per_gas":"1000000000",` +
	`"to":"0x00000000000000000000000000000000000000aa","value":"1000"}`

func (w *world) count(query string, args ...any) int {
	w.t.Helper()
	var n int
	must(w.t, w.db.Owner.QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

// exec does something as the database's superuser.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	_, err := w.db.Owner.ExecContext(w.t.Context(), statement, args...)
	must(w.t, err)
}

func wantStatus(t *testing.T, r message.Result, want message.Status) {
	t.Helper()
	if r.Status != want {
		t.Fatalf("request ended as %s, want %s: %v", r.Status, want, r.Reasons)
	}
}

func wantReason(t *testing.T, r message.Result, role, code string) {
	t.Helper()
	for _, x := range r.Reasons {
		if x.Role == role && x.Code == code {
			return
		}
	}
	t.Fatalf("reasons are %v, want %s of %s", r.Reasons, code, role)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var accountCreate = message.AccountCreate{Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0"}

func walletOf(t *testing.T, r message.Result) string {
	t.Helper()
	var made countersigned.WalletOutput
	must(t, message.DecodeStrict(r.Output, &made))
	return made.Wallet
}

// ciphertexts are the sealed seeds.
func (w *world) ciphertexts() []string {
	w.t.Helper()
	rows, err := w.db.Owner.QueryContext(w.t.Context(), "SELECT ciphertext FROM countersign.wallet ORDER BY id")
	must(w.t, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var b []byte
		must(w.t, rows.Scan(&b))
		out = append(out, string(b))
	}
	must(w.t, rows.Err())
	return out
}

// dump logs where everything stands, for a test that fails.
func (w *world) dump() {
	w.t.Helper()
	rows, err := w.db.Owner.QueryContext(w.t.Context(), `
		SELECT format('task %s %s state %s attempts %s note %s', request_id, consumer, state, attempts, note) FROM countersign.task
		UNION ALL SELECT format('result %s %s', request_id, status) FROM countersign.result`)
	must(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		must(w.t, rows.Scan(&line))
		w.t.Log(line)
	}
	must(w.t, rows.Err())
}

// testLog writes to the test's own log.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
