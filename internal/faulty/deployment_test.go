package faulty_test

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/json"
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
	client  *client.Client
	db      *sql.DB
	wallet  string
	account string
	address string
	nonce   atomic.Int64
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
	if w.db, err = r.Superuser(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if service != "" {
		w.interpose()
	}
	w.wallet = w.create(message.KindWalletCreate, "", walletPayload(r.User))["wallet"]
	account := w.create(message.KindAccountCreate, w.wallet, accountPayload("m/44'/60'/0'/0/0"))
	w.account, w.address = account["account"], account["address"]
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

// submit sends one statement until it is taken, and waits until its request has
// ended. Errors on the way are what this is about: only time ends it.
func (w *world) submit(ctx context.Context, kind message.Kind, wallet, account string, payload any) (api.Request, error) {
	s, err := w.client.NewStatement(kind, wallet, account, payload, w.lifetime)
	if err != nil {
		return api.Request{}, err
	}
	for {
		r, err := w.client.Submit(ctx, s, time.Second)
		if err == nil && r.Ended() {
			return r, nil
		}
		if kind == message.KindEthereumTransaction && err == nil && r.Status == message.StatusWaiting {
			err = w.approve(ctx, s.ID)
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("request %s is %q: %w, %w", s.ID, r.Status, ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// approve votes for a request, once it can be seen.
func (w *world) approve(ctx context.Context, id string) error {
	_, err := w.Countersign(ctx, "approve", id, "--key", w.ApproverKey)
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

// outcome is a kind of request with the end that it is to have.
type outcome struct {
	name string
	want message.Status
	run  func(ctx context.Context, w *world) (api.Request, error)
}

var outcomes = []outcome{
	{"transfer signed", message.StatusSigned, transfer("0x00000000000000000000000000000000000000a1", "1")},
	{"transfer rejected", message.StatusRejected, transfer("0x000000000000000000000000000000000000dead", "1")},
	{"transfer approved by a person", message.StatusSigned, transfer("0x00000000000000000000000000000000000000a1", "1000000000000000001")},
	{"wallet created", message.StatusDone, func(ctx context.Context, w *world) (api.Request, error) {
		return w.submit(ctx, message.KindWalletCreate, "", "", walletPayload(w.User))
	}},
	{"account created", message.StatusDone, func(ctx context.Context, w *world) (api.Request, error) {
		path := fmt.Sprintf("m/44'/60'/0'/0/%d", w.nonce.Add(1))
		return w.submit(ctx, message.KindAccountCreate, w.wallet, "", accountPayload(path))
	}},
}

func walletPayload(owner string) any {
	return map[string]string{"owner": owner, "seed_type": "raw", "source": "software", "label": "faulty"}
}

func accountPayload(path string) any {
	return map[string]string{"chain": "eip155:1", "curve": "secp256k1", "path": path, "label": "faulty"}
}

func transfer(to, value string) func(context.Context, *world) (api.Request, error) {
	return func(ctx context.Context, w *world) (api.Request, error) {
		return w.submit(ctx, message.KindEthereumTransaction, w.wallet, w.account, transferPayload(w.nonce.Add(1), to, value))
	}
}

func transferPayload(nonce int64, to, value string) any {
	return map[string]string{
		"type": "eip1559", "chain_id": "1", "nonce": fmt.Sprint(nonce), "to": to, "value": value,
		"gas_limit": "21000", "max_priority_fee_per_gas": "1000000", "max_fee_per_gas": "1000000000",
	}
}

// run runs a request to its end and returns how long that took.
func (w *world) run(o outcome) time.Duration {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), endWithin)
	defer cancel()
	began := time.Now()
	r, err := o.run(ctx, w)
	if err != nil {
		w.Errorf("%s: %v", o.name, err)
	} else if r.Status != o.want {
		w.Errorf("%s: ended as %s, want %s: %+v", o.name, r.Status, o.want, r.Result)
	}
	return time.Since(began)
}

// fault is one way to break one statement.
type fault struct {
	name  string
	after bool
	kill  bool
}

var (
	cuts  = []fault{{"cut before", false, false}, {"cut after", true, false}}
	kills = []fault{{"killed before", false, true}, {"killed after", true, true}}
)

// TestFaultAtEveryStatement: whichever statement of a service breaks, each
// request ends as it would have, once. The short run cuts connections of each
// service while transfers are signed; the long one (COUNTERSIGN_LONG) also
// kills the services, for each kind of request and each end.
func TestFaultAtEveryStatement(t *testing.T) {
	chosen, faults := outcomes[:1], cuts
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		chosen, faults = outcomes, append(cuts, kills...)
	}
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, service)
			for _, o := range chosen {
				for _, f := range faults {
					w.everyStatement(o, f)
				}
			}
			w.checkNothingLost()
		})
	}
}

// everyStatement breaks the first statement, the second and so on, until a
// request ends without coming to the statement that was to break.
func (w *world) everyStatement(o outcome, f fault) {
	w.Helper()
	var slowest time.Duration
	n := 1
	for ; n <= mostStatements && !w.Failed(); n++ {
		todo := faulty.Fault{At: n, After: f.after}
		if f.kill {
			todo.Do = w.kill
		}
		happened := w.proxy.Arm(todo)
		slowest = max(slowest, w.run(o))
		if !w.soon(happened) {
			break
		}
	}
	w.proxy.Disarm()
	w.Logf("%s, %s, %s: statements 1 to %d, the slowest request took %v", w.service, o.name, f.name, n-1, slowest.Round(time.Millisecond))
	page.statements.add(w.service, o.name, f.name, n-1, seconds(slowest))
}

// soon waits for a fault of a service that is still at work when the request
// has ended without it.
func (w *world) soon(happened <-chan struct{}) bool {
	select {
	case <-happened:
		return true
	case <-time.After(300 * time.Millisecond):
		return false
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// mostStatements ends a series for services that are busy by themselves.
const mostStatements = 12

// checkNothingLost: every request has one result, which is signed once, and no
// task is left.
func (w *world) checkNothingLost() {
	w.Helper()
	for what, query := range map[string]string{
		"requests without a result": `SELECT count(*) FROM countersign.request r WHERE NOT EXISTS
			(SELECT FROM countersign.result x WHERE x.request_id = r.id)`,
		"requests with two signed results": `SELECT count(*) FROM (SELECT request_id FROM countersign.audit_entry
			WHERE kind = 'result' GROUP BY request_id HAVING count(*) > 1) twice`,
		"results that are not the logged ones": `SELECT count(*) FROM countersign.result x WHERE NOT EXISTS
			(SELECT FROM countersign.audit_entry e WHERE e.request_id = x.request_id AND e.kind = 'result' AND e.body = x.body)`,
	} {
		var n int
		if err := w.db.QueryRow(query).Scan(&n); err != nil || n != 0 {
			w.Errorf("%d %s, %v", n, what, err)
		}
	}
}
