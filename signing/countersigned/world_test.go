package countersigned_test

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/policytest"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
	"github.com/countersign/countersign/wallet"
)

// world is one deployment with one signing instance, whose clocks, policy,
// store and policy services are in the test's hand.
type world struct {
	t       testing.TB
	d       *deploymenttest.Deployment
	clock   *clock
	store   *store
	v       *countersigned.Verifier
	roles   map[string]*policytest.Role
	hellos  map[string][]byte
	mu      sync.Mutex
	active  *document.Active
	wallet  string
	account string
}

// clock has a wall and a monotonic hand, moved by hand.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// set moves the wall clock alone.
func (c *clock) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// store is a wallet.Store in memory, which a test may change as an attacker
// would the database.
type store struct {
	mu       sync.Mutex
	wallets  map[string]wallet.Record
	accounts map[string]wallet.Record
}

func (s *store) Wallet(_ context.Context, id string) (wallet.Record, error) {
	return s.get(s.wallets, id)
}

func (s *store) Account(_ context.Context, id string) (wallet.Record, error) {
	return s.get(s.accounts, id)
}

func (s *store) get(table map[string]wallet.Record, id string) (wallet.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := table[id]
	if !ok {
		return wallet.Record{}, transaction.ErrNoRecord
	}
	return r, nil
}

func (s *store) InsertWallet(_ context.Context, _ *sql.Tx, r wallet.Record) error {
	return s.insert(s.wallets, r)
}

func (s *store) InsertAccount(_ context.Context, _ *sql.Tx, r wallet.Record) error {
	return s.insert(s.accounts, r)
}

func (s *store) insert(table map[string]wallet.Record, r wallet.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := table[r.ID]; ok {
		return wallet.ErrExists
	}
	table[r.ID] = r
	return nil
}

// descriptors are what the policy services of the test read.
func (s *store) WalletDescriptor(ctx context.Context, id string) ([]byte, error) {
	r, err := s.Wallet(ctx, id)
	return r.Descriptor, err
}

func (s *store) AccountDescriptor(ctx context.Context, id string) ([]byte, error) {
	r, err := s.Account(ctx, id)
	return r.Descriptor, err
}

// newWorld returns a world in which every role has announced its key.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := bareWorld(t)
	w.open()
	w.announceAll()
	return w
}

// bareWorld returns a world with an active policy and no epoch.
func bareWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, d: deploymenttest.New(t), clock: &clock{now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)},
		store:  &store{wallets: map[string]wallet.Record{}, accounts: map[string]wallet.Record{}},
		roles:  map[string]*policytest.Role{},
		hellos: map[string][]byte{},
	}
	w.active = w.d.Active(nil)
	for _, role := range w.d.Genesis.Roles {
		w.roles[role] = policytest.New(t, w.d, role)
	}
	w.v = w.verifier("signing-1")
	return w
}

func (w *world) policy() *document.Active {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active
}

// examine knows one quorum, the genesis document's.
func (w *world) examine(_ context.Context, bundle message.PolicyBundle) error {
	next, err := document.VerifyBundle(bundle, w.d.Genesis, w.d.ID)
	switch {
	case err != nil:
		return err
	case next.Version <= w.policy().Version:
		return activation.ErrOld
	case next.Expired(w.clock.Now()):
		return activation.ErrExpired
	}
	return nil
}

func (w *world) activate(edit func(*document.Document)) {
	w.t.Helper()
	active := w.d.Active(edit)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = active
}

func (w *world) interpreter() transaction.Interpreter {
	return transaction.Interpreter{
		Deployment: w.d.ID, Roles: w.d.Genesis.Roles, Generation: 1,
		Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: w.store,
	}
}

// verifier returns a further signing instance on the same store.
func (w *world) verifier(instance string, edits ...func(*countersigned.Config)) *countersigned.Verifier {
	w.t.Helper()
	attester, err := attestation.New(w.d.Genesis.AttestationRoots)
	must(w.t, err)
	cfg := countersigned.Config{
		Genesis: w.d.Genesis, Deployment: w.d.ID, Keyring: w.d.Keyrings["signing"], Instance: instance,
		Store: w.store, Seeds: wallet.NewSoftwareSource(), Interpreter: w.interpreter(),
		Policy: w.policy, Examine: w.examine, Attester: attester, Now: w.clock.Now, Elapsed: w.clock.Elapsed,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	v, err := countersigned.New(cfg)
	must(w.t, err)
	w.t.Cleanup(v.Close)
	return v
}

// open opens an epoch and remembers its hellos.
func (w *world) open() {
	w.t.Helper()
	hellos, err := w.v.OpenEpoch(w.t.Context())
	must(w.t, err)
	for _, h := range hellos {
		w.hellos[h.Role] = h.Compact
	}
}

func (w *world) announceAll() {
	w.t.Helper()
	for name, role := range w.roles {
		must(w.t, w.v.Announcement(w.t.Context(), role.Announce(w.hellos[name], w.clock.Now())))
	}
}

// ask makes a request with alice's signature, and its meaning as the policy
// services compute it.
func (w *world) ask(kind message.Kind, walletID, account string, payload any) policytest.Asked {
	w.t.Helper()
	statement := w.d.Statement(kind, walletID, account, payload, w.clock.Now().Add(time.Hour))
	return w.askStatement(statement)
}

func (w *world) askStatement(statement []byte) policytest.Asked {
	w.t.Helper()
	return w.askEnvelope(w.d.Envelope(statement, w.d.UserKey, w.clock.Now()))
}

func (w *world) askEnvelope(envelope message.Envelope) policytest.Asked {
	w.t.Helper()
	raw, err := message.Encode(envelope)
	must(w.t, err)
	m, err := w.interpreter().Interpret(w.t.Context(), envelope.Statement)
	must(w.t, err)
	return policytest.Asked{ID: m.Statement.ID, Envelope: raw, Meaning: m, Policy: w.policy().Ref}
}

// transfer asks for a small payment from the world's account.
func (w *world) transfer() policytest.Asked {
	w.t.Helper()
	w.needAccount()
	return w.ask(message.KindEthereumTransaction, w.wallet, w.account, jsontext.Value(transferPayload))
}

const transferPayload = `{"type":"eip1559","chain_id":"1","nonce":"0","gas_limit":"21000",` +
	`"max_fee_per_gas":"30000000000","max_priority_fee_per_gas":"1000000000",` +
	`"to":"0x00000000000000000000000000000000000000aa","value":"1000"}`

// needAccount makes the world's wallet and account, once.
func (w *world) needAccount() {
	w.t.Helper()
	if w.account != "" {
		return
	}
	create := w.walletCreate()
	out := w.carryOut(create)
	must(w.t, w.store.InsertWallet(w.t.Context(), nil, *out.Wallet))
	w.wallet = out.Wallet.ID
	out = w.carryOut(w.accountCreate())
	must(w.t, w.store.InsertAccount(w.t.Context(), nil, *out.Account))
	w.account = out.Account.ID
}

func (w *world) walletCreate() policytest.Asked {
	w.t.Helper()
	return w.ask(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: "test",
	})
}

func (w *world) accountCreate() policytest.Asked {
	w.t.Helper()
	return w.ask(message.KindAccountCreate, w.wallet, "", message.AccountCreate{
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0", Label: "test",
	})
}

// approvals are one approval of each role, in genesis order; the edit is
// applied to the one of the named role, or of every role for "".
func (w *world) approvals(asked policytest.Asked, role string, edits ...policytest.Edit) []countersigned.Reply {
	w.t.Helper()
	var out []countersigned.Reply
	for _, name := range w.d.Genesis.Roles {
		var mine []policytest.Edit
		if role == "" || role == name {
			mine = edits
		}
		out = append(out, reply(w.roles[name].Approve(asked, w.clock.Now(), mine...)))
	}
	return out
}

func reply(a policytest.Answer) countersigned.Reply {
	return countersigned.Reply{Approval: a.Approval, Attachment: a.Attachment}
}

func (w *world) verify(asked policytest.Asked, replies []countersigned.Reply) countersigned.Finding {
	w.t.Helper()
	return w.verifyCase(countersigned.Case{ID: asked.ID, Envelope: asked.Envelope, Replies: replies})
}

func (w *world) verifyCase(c countersigned.Case) countersigned.Finding {
	w.t.Helper()
	f, err := w.v.Verify(w.t.Context(), c)
	must(w.t, err)
	if (f.Request != nil) != (f.Ruling == countersigned.Countersigned) {
		w.t.Fatalf("ruling %d with request %v", f.Ruling, f.Request != nil)
	}
	if f.Ruling != countersigned.Countersigned && len(f.Reasons) == 0 {
		w.t.Fatalf("ruling %d gives no reason", f.Ruling)
	}
	return f
}

// carryOut has all roles approve and the request carried out.
func (w *world) carryOut(asked policytest.Asked) countersigned.Outcome {
	w.t.Helper()
	return w.finish(w.verify(asked, w.approvals(asked, "")))
}

func (w *world) finish(f countersigned.Finding) countersigned.Outcome {
	w.t.Helper()
	if f.Ruling != countersigned.Countersigned {
		w.t.Fatalf("not countersigned: ruling %d, %v", f.Ruling, f.Reasons)
	}
	_, err := f.Request.Intent()
	must(w.t, err)
	out, err := f.Request.CarryOut(w.t.Context())
	must(w.t, err)
	return out
}

// wantCode fails unless the finding is a ruling with a reason of the role and
// code.
func wantCode(t *testing.T, f countersigned.Finding, ruling countersigned.Ruling, role, code string) {
	t.Helper()
	if f.Ruling != ruling {
		t.Fatalf("ruling is %d, want %d; reasons %v", f.Ruling, ruling, f.Reasons)
	}
	if !slices.ContainsFunc(f.Reasons, func(r message.RoleReason) bool { return r.Role == role && r.Code == code }) {
		t.Fatalf("reasons are %v, want %s of %s", f.Reasons, code, role)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
