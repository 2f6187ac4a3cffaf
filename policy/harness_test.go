package policy_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/attestation"
)

// role is the role that the runtime's tests play.
const role = message.RoleFraud

// patience bounds every wait of a test; it is reached only by a failure.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is one deployment with its database, clock, policy and notices, and
// the signing service's side of what policy services say.
type world struct {
	t testing.TB
	*databasetest.DB
	clock    *clock
	policies *policies
	queue    *fakeQueue
	epochs   map[message.EpochID]*epoch
	// descriptors are what the services read.
	descriptors transaction.Descriptors
}

type epoch struct {
	hello   message.Hello
	compact []byte
	private hpke.PrivateKey
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, DB: databasetest.New(t), queue: newFakeQueue(), policies: &policies{},
		clock:  &clock{now: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)},
		epochs: map[message.EpochID]*epoch{}, descriptors: none{},
	}
	w.policies.deployment = w.Deployment
	w.policies.set(w.Deployment.Active(nil))
	return w
}

// service makes an instance of the role; nothing of it runs yet.
func (w *world) service(decider policy.Decider) *policy.Service {
	w.t.Helper()
	s, err := policy.New(w.config(decider))
	must(w.t, err)
	return s
}

func (w *world) config(decider policy.Decider) policy.Config {
	attester, err := attestation.New(nil)
	must(w.t, err)
	d := w.Deployment
	return policy.Config{
		Role: role, Genesis: d.Genesis, Deployment: d.ID, Keyring: d.Keyrings[role],
		DB: w.As(role), Queue: w.queue,
		Interpreter: transaction.Interpreter{
			Deployment: d.ID, Roles: d.Genesis.Roles, Generation: 1,
			Chains: map[string]transaction.Chain{"eip155": ethereum.New()}, Descriptors: w.descriptors,
		},
		Policy: w.policies, Decider: decider, Attester: attester,
		Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}
}

// instance is a running service with the handler that the queue would call.
type instance struct {
	*policy.Service
	w *world
	consuming
	stop func()
}

// start runs a service and waits until it consumes.
func (w *world) start(decider policy.Decider) *instance {
	w.t.Helper()
	return w.run(w.service(decider))
}

func (w *world) run(s *policy.Service) *instance {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	i := &instance{Service: s, w: w}
	i.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	w.t.Cleanup(i.stop)
	select {
	case i.consuming = <-w.queue.consumer:
	case <-time.After(patience):
		w.t.Fatal("the service does not consume")
	}
	return i
}

// ready waits until the service says that it is.
func (i *instance) ready() *instance {
	i.w.t.Helper()
	i.w.until("the service is not ready", func() error { return i.Ready(context.Background()) })
	return i
}

// until waits for a condition that other goroutines bring about.
func (w *world) until(what string, ok func() error) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %v", what, err)
		}
		w.queue.wake()
		<-time.After(time.Millisecond) // not to take the processor from what is waited for
	}
}

// initialised starts a world in which the role was initialised and one epoch
// is open.
func initialised(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	_, err := w.service(always(policy.Approve)).Init(t.Context())
	must(t, err)
	w.openEpoch()
	return w
}

// hello returns a hello that is good; edit may make it otherwise.
func (w *world) hello(edit func(*message.Hello)) *epoch {
	w.t.Helper()
	private, public, err := hpkeshare.NewEpochKey()
	must(w.t, err)
	now := w.clock.Now()
	e := &epoch{private: private, hello: message.Hello{
		Origin: message.Origin{Version: message.Version, Deployment: w.Deployment.ID, Generation: 1},
		Role:   role, Instance: "signing-1", HPKEKey: public, Policy: w.policies.Active().Ref,
		Issued: message.At(now), Expires: message.At(now.Add(10 * time.Minute)),
	}}
	rand.Read(e.hello.Epoch[:])
	if edit != nil {
		edit(&e.hello)
	}
	e.compact = sealHello(w.t, e.hello, w.Deployment.Keyrings["signing"], secrets.Hello(role))
	return e
}

func sealHello(t testing.TB, h message.Hello, ring *secrets.Keyring, purpose secrets.Purpose) []byte {
	t.Helper()
	key, err := ring.Key(purpose, 1)
	must(t, err)
	compact, err := message.SignMAC(message.TypHello, secrets.KeyID(purpose, 1), key.Bytes(), h)
	must(t, err)
	return compact
}

// openEpoch opens an epoch and says hello.
func (w *world) openEpoch() *epoch {
	w.t.Helper()
	e := w.hello(nil)
	w.epochs[e.hello.Epoch] = e
	w.say(e.compact)
	return e
}

// say puts a hello where policy services read it.
func (w *world) say(compact []byte) {
	w.queue.mu.Lock()
	w.queue.notices[queue.TopicHello] = append(w.queue.notices[queue.TopicHello],
		queue.Notice{Topic: queue.TopicHello, Body: compact})
	w.queue.mu.Unlock()
	w.queue.wake()
}

// announcements returns what was announced, verified by the MAC, by epoch.
func (w *world) announcements() map[message.EpochID][]message.Announcement {
	w.t.Helper()
	notices, err := w.queue.Notices(w.t.Context(), queue.TopicAnnouncement)
	must(w.t, err)
	key, err := w.Deployment.Keyrings["signing"].Key(secrets.Announce(role), 1)
	must(w.t, err)
	out := map[message.EpochID][]message.Announcement{}
	for _, n := range notices {
		var a message.Announcement
		must(w.t, message.VerifyMAC(message.TypAnnouncement, secrets.KeyID(secrets.Announce(role), 1), key.Bytes(), n.Body, &a))
		out[a.Epoch] = append(out[a.Epoch], a)
	}
	return out
}

// task is a wallet.create by alice, who signs it.
func (w *world) task() queue.Task {
	w.t.Helper()
	return w.taskOf(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: "test",
	}, w.clock.Now().Add(time.Hour))
}

func (w *world) taskOf(kind message.Kind, wallet, account string, payload any, expires time.Time) queue.Task {
	w.t.Helper()
	return w.envelop(w.Deployment.Statement(kind, wallet, account, payload, expires))
}

// envelop writes the envelope of a statement, received now.
func (w *world) envelop(statement []byte) queue.Task {
	w.t.Helper()
	body, err := message.Encode(w.Deployment.Envelope(statement, w.Deployment.UserKey, w.clock.Now()))
	must(w.t, err)
	var s message.Statement
	must(w.t, message.DecodeStrict(statement, &s))
	id, err := uuid.Parse(s.ID)
	must(w.t, err)
	return queue.Task{Request: id, Body: body, Hash: message.Sum(body), Submitted: w.clock.Now(), Expires: s.Expires.Time}
}

func (w *world) tasks(n int) []queue.Task {
	out := make([]queue.Task, n)
	for i := range out {
		out[i] = w.task()
	}
	return out
}

var errCrash = errors.New("the settling failed")

// crash is a fault that has the verdicts of a batch never arrive.
func crash() error { return errCrash }

// deliver hands tasks to the handler, as the queue does.
func (i *instance) deliver(tasks ...queue.Task) []queue.Verdict {
	i.w.t.Helper()
	verdicts, err := i.attempt(nil, tasks...)
	must(i.w.t, err)
	return verdicts
}

// attempt is deliver with a fault where the queue would write the verdicts. As
// the queue does it delivers again where the basis does not hold.
func (i *instance) attempt(fault func() error, tasks ...queue.Task) ([]queue.Verdict, error) {
	for {
		work, err := i.handler(context.Background(), tasks)
		if err == nil && fault != nil {
			err = fault()
		}
		if err != nil {
			return nil, err
		}
		if !i.w.holds(work.Basis) {
			continue
		}
		i.AfterCommit(tasks, work.Verdicts)
		return work.Verdicts, nil
	}
}

// holds reports whether the chain ends with the basis.
func (w *world) holds(b *queue.Basis) bool {
	w.t.Helper()
	if b == nil {
		return true
	}
	var n, same int
	must(w.t, w.Owner.QueryRow("SELECT count(*), count(*) FILTER (WHERE seq = $2 AND mac = $3) FROM countersign.record WHERE role = $1 AND seq >= $2",
		role, b.Seq, b.MAC[:]).Scan(&n, &same))
	return n == 1 && same == 1
}

// one delivers one task and returns its verified approval and attachment.
func (i *instance) one(task queue.Task) (message.Approval, message.Attachment) {
	i.w.t.Helper()
	v := i.deliver(task)[0]
	if v.Disposition != queue.Done || v.Reply == nil {
		i.w.t.Fatalf("verdict %+v, want a reply", v)
	}
	return i.w.open(v.Reply)
}

// open verifies a reply under the announced keys, as a signing service would.
func (w *world) open(r *queue.Reply) (message.Approval, message.Attachment) {
	w.t.Helper()
	var a message.Approval
	var attachment message.Attachment
	must(w.t, message.Decode(r.Attachment, &attachment))
	kid, err := message.KeyID(message.TypApproval, r.Body)
	must(w.t, err)
	for _, list := range w.announcements() {
		for _, n := range list {
			if n.PublicKey.Thumbprint() != kid {
				continue
			}
			key, err := n.PublicKey.Ed25519()
			must(w.t, err)
			must(w.t, message.VerifyEd25519(message.TypApproval, kid, key, r.Body, &a))
			w.checkReply(r, a, attachment)
			return a, attachment
		}
	}
	w.t.Fatal("the approval's key was never announced")
	return a, attachment
}

// checkReply checks what every reply must keep to.
func (w *world) checkReply(r *queue.Reply, a message.Approval, attachment message.Attachment) {
	w.t.Helper()
	if len(a.Epochs) == 0 || len(a.Epochs) != len(attachment.Shares) || len(a.Epochs) != len(r.Epochs) {
		w.t.Fatalf("%d epochs, %d attachments, %d routes", len(a.Epochs), len(attachment.Shares), len(r.Epochs))
	}
	for i, e := range a.Epochs {
		hash, err := attachment.Shares[i].Hash()
		must(w.t, err)
		if e.Shares != hash || e.Epoch != attachment.Shares[i].Epoch || e.Epoch != r.Epochs[i] {
			w.t.Fatal("the approval does not name the shares beside it")
		}
		if a.Decision != message.Approve && len(attachment.Shares[i].Shares) > 0 {
			w.t.Fatal("a rejection releases shares")
		}
	}
	if (a.Decision == message.Reject) != r.Decisive || r.Sender != role || a.Role != role {
		w.t.Fatal("the route does not fit the decision")
	}
	if life := a.Expires.Sub(a.Issued.Time); life <= 0 || life > 10*time.Minute {
		w.t.Fatalf("approval lives for %v", life)
	}
}

// opened opens every share of an attachment as the signing service does.
func (w *world) opened(task queue.Task, attachment message.Attachment) map[message.EpochID][]*secrets.Secret {
	w.t.Helper()
	out := map[message.EpochID][]*secrets.Secret{}
	for _, shares := range attachment.Shares {
		e, a := w.epochs[shares.Epoch], w.announcements()[shares.Epoch][0]
		hash, err := hpkeshare.KeyHash(a.PublicKey)
		must(w.t, err)
		channel, err := hpkeshare.Receive(e.private, a.Encapsulation, hpkeshare.Info{
			Deployment: w.Deployment.ID, Generation: 1, Role: role, Instance: a.Instance,
			Hello: message.Sum(e.compact), PublicKey: hash,
		})
		must(w.t, err)
		for _, s := range shares.Shares {
			share, err := channel.Open(hpkeshare.ShareContext{
				Request: task.Request.String(), Envelope: task.Hash, Role: role,
				Scope: s.Scope, ID: s.ID, Generation: s.Generation,
			}, s.Sealed)
			must(w.t, err)
			out[shares.Epoch] = append(out[shares.Epoch], share)
		}
	}
	return out
}

// attack runs a statement as the database's superuser.
func (w *world) attack(query string, args ...any) {
	w.t.Helper()
	if _, err := w.Owner.ExecContext(w.t.Context(), query, args...); err != nil {
		w.t.Fatalf("the attack itself failed: %v", err)
	}
}

// refusing has the database refuse every further record, as one with a full
// disk does, until the returned function is called.
func (w *world) refusing() (mend func()) {
	w.t.Helper()
	w.attack("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN" +
		" RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$")
	w.attack("CREATE TRIGGER refuse BEFORE INSERT ON countersign.record FOR EACH ROW EXECUTE FUNCTION refuse()")
	return func() { w.attack("DROP TRIGGER refuse ON countersign.record") }
}

// rows returns how many entries the role's chain has.
func (w *world) rows() (n int) {
	w.t.Helper()
	must(w.t, w.Owner.QueryRowContext(w.t.Context(), "SELECT count(*) FROM countersign.record WHERE role = $1", role).Scan(&n))
	return n
}

func code(a message.Approval) string {
	if len(a.Reasons) == 0 {
		return ""
	}
	return a.Reasons[0].Code
}

func publicOf(t testing.TB, k message.JWK) ed25519.PublicKey {
	t.Helper()
	key, err := k.Ed25519()
	must(t, err)
	return key
}

func verifyEd25519(t testing.TB, k message.JWK, input, signature []byte) {
	t.Helper()
	if !ed25519.Verify(publicOf(t, k), input, signature) {
		t.Fatal("the signature does not verify")
	}
}
