package faulty_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/deployment"
	"github.com/countersign/countersign/internal/faulty"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// services are the processes between which and the database faults happen.
var services = slices.Concat([]string{"proposer"}, message.PolicyRoles(), []string{message.RoleSigning})

// endWithin is how long a request may take to end although something broke.
const endWithin = 60 * time.Second

// world is a running deployment with a proxy in front of the database for one
// service; without one where service is empty.
type world struct {
	*testing.T
	*deployment.Running
	service string
	proxy   *faulty.Proxy
	client  *client.Client   // of the user
	clients []*client.Client // the same, one for each proposer
	turn    atomic.Int64     // whose turn it is
	taken   [3]atomic.Int64  // how many requests' ends each of them has told
	db      *sql.DB
	wallet  string
	account string
	address string
	asked   risk // since the wallet was made
	nonce   atomic.Int64
	version atomic.Int64 // of the newest policy document
	thawed  []string     // freezes that every later document takes back
	// lifetime is how long a request may take to be signed.
	lifetime time.Duration
}

// built are the folders of binaries, which TestMain removes.
var built struct {
	sync.Mutex
	dirs []string
}

func binDir() (string, error) {
	bin, err := os.MkdirTemp("", "countersign-faulty-bin-")
	built.Lock()
	defer built.Unlock()
	built.dirs = append(built.dirs, bin)
	return bin, err
}

// binaries builds the services once for all tests.
var binaries = sync.OnceValues(func() (string, error) {
	bin, err := binDir()
	if err != nil {
		return "", err
	}
	return bin, goBuild("-o", bin+"/", "./services/...")
})

// goBuild runs go build at the top of the repository.
func goBuild(args ...string) error {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the services: %w\n%s", err, out)
	}
	return nil
}

// setup says how a world differs from a plain one.
type setup struct {
	service string              // that has the proxy in front of the database
	bin     string              // folder of the binaries; empty: those of this source as it is
	prepare func(folder string) // is called before the deployment is made in the folder
}

func newWorld(t *testing.T, service string) *world {
	t.Helper()
	return newWorldOf(t, setup{service: service})
}

func newWorldOf(t *testing.T, o setup) *world {
	t.Helper()
	bin, service := o.bin, o.service
	var err error
	if bin == "" {
		if bin, err = binaries(); err != nil {
			t.Fatal(err)
		}
	}
	parent, err := deployment.TempDir("countersign-faulty-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	dir := filepath.Join(parent, "deployment")
	if o.prepare != nil {
		o.prepare(dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := deployment.Start(ctx, bin, dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Running: r, service: service, lifetime: 10 * time.Minute}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	if w.client, err = r.Client(); err != nil {
		t.Fatal(err)
	}
	w.clients = []*client.Client{w.client}
	w.version.Store(1)
	if w.db, err = r.Superuser(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if service != "" {
		w.interpose()
	}
	w.useNewWallet()
	return w
}

// interpose puts the proxy between the service and the database: the service's
// configuration names it, and the launcher starts the service again with that.
func (w *world) interpose() {
	w.Helper()
	upstream, err := url.Parse(w.Database)
	if err != nil {
		w.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(w.Dir, "postgres", "ca.pem"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		w.Fatalf("reading the database's CA: %v", err)
	}
	if w.proxy, err = faulty.New(upstream.Host, roots); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(w.proxy.Close)
	path := filepath.Join(w.Dir, "config", w.service+".yaml")
	config, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	ca := filepath.Join(w.Dir, "tls", "faulty.pem")
	config = regexp.MustCompile(`(?m)^( *- ).*\n( *name: countersign\n *ca: ).*$`).
		ReplaceAll(config, []byte("${1}"+w.proxy.Addr+"\n${2}"+ca))
	for name, b := range map[string][]byte{ca: w.proxy.CA, path: config} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	w.kill()
}

// kill ends the service as kill -9 does. The launcher starts it again.
func (w *world) kill() { w.stop(w.service) }

func (w *world) stop(service string) {
	if pid := w.PIDs()[service]; pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// ask is a statement before it has an id.
type ask struct {
	kind            message.Kind
	wallet, account string
	payload         any
	dryRun          bool
	lifetime        time.Duration  // zero: the world's
	by              *client.Client // nil: the user, at any proposer
	// waiting is what is done, again and again, while the request waits for
	// people.
	waiting func(ctx context.Context, id string) error
}

// errNotTaken says that no proposer has taken a statement before its time was
// over.
var errNotTaken = errors.New("the statement was not taken in time")

// submit sends one statement until it is taken, and waits until its request has
// ended. People approve of transfers.
func (w *world) submit(ctx context.Context, kind message.Kind, wallet, account string, payload any) (api.Request, error) {
	a := ask{kind: kind, wallet: wallet, account: account, payload: payload}
	if kind == message.KindEthereumTransaction {
		a.waiting = w.approve
	}
	return w.send(ctx, a)
}

// send sends one statement until it is taken, and waits until its request has
// ended. Errors on the way are what this is about: only time ends it. After an
// error it goes to the next proposer, as behind a load balancer.
func (w *world) send(ctx context.Context, a ask) (api.Request, error) {
	s, err := w.statement(a)
	if err != nil {
		return api.Request{}, err
	}
	taken := false
	for turn := w.turn.Add(1); ; turn++ {
		to := turn % int64(len(w.clients))
		c := w.clients[to]
		if a.by != nil {
			c = a.by
		}
		r, err := c.Submit(ctx, s, time.Second)
		if client.Code(err) == "expiry_out_of_range" && !taken {
			return r, errNotTaken
		}
		taken = taken || err == nil
		if err == nil && r.Ended() {
			w.taken[to].Add(1)
			return r, nil
		}
		if a.waiting != nil && err == nil && r.Status == message.StatusWaiting {
			err = a.waiting(ctx, s.ID)
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("request %s is %q: %w, %w", s.ID, r.Status, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) statement(a ask) (message.Statement, error) {
	by, lifetime := a.by, a.lifetime
	if by == nil {
		by = w.client
	}
	if lifetime == 0 {
		lifetime = w.lifetime
	}
	s, err := by.NewStatement(a.kind, a.wallet, a.account, a.payload, lifetime)
	s.DryRun = a.dryRun
	return s, err
}

// approve votes for a request, once it can be seen; refuse votes against it;
// cancel takes it back.
func (w *world) approve(ctx context.Context, id string) error { return w.vote(ctx, "approve", id) }
func (w *world) refuse(ctx context.Context, id string) error  { return w.vote(ctx, "reject", id) }

func (w *world) vote(ctx context.Context, vote, id string) error {
	_, err := w.Countersign(ctx, vote, id, "--key", w.ApproverKey)
	return err
}

func (w *world) cancel(ctx context.Context, id string) error {
	_, err := w.client.Cancel(ctx, id)
	return err
}

// create makes a wallet or an account and returns what came out.
func (w *world) create(kind message.Kind, wallet string, payload any) map[string]string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), endWithin)
	defer cancel()
	r, err := w.submit(ctx, kind, wallet, "", payload)
	if err != nil {
		w.Fatal(err)
	}
	var out map[string]string
	if r.Status != message.StatusDone || json.Unmarshal(r.Result.Output, &out) != nil {
		w.Fatalf("%s ended as %s: %+v", kind, r.Status, r.Result)
	}
	return out
}

func walletPayload(owner string) any {
	return map[string]string{"owner": owner, "seed_type": "raw", "source": "software", "label": "faulty"}
}

func accountPayload(path string) any {
	return map[string]string{"chain": "eip155:1", "curve": "secp256k1", "path": path, "label": "faulty"}
}

func transferPayload(nonce int64, to, value string) any {
	return map[string]string{
		"type": "eip1559", "chain_id": "1", "nonce": fmt.Sprint(nonce), "to": to, "value": value,
		"gas_limit": "21000", "max_priority_fee_per_gas": "1000000", "max_fee_per_gas": "1000000000",
	}
}
