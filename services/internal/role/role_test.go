package role_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/loopback"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/readiness"
	"github.com/countersign/countersign/services/internal/role"
	"github.com/countersign/countersign/signing"
	"github.com/countersign/countersign/wallet"
	"github.com/countersign/countersign/wallet/walletpg"
)

// patience ends a test that hangs; nothing else waits for it.
const patience = 60 * time.Second

// approving approves everything: what deciders say is their own tests' part.
type approving struct{}

func (approving) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{Verdict: policy.Approve}, nil
}

// stage is a deployment whose services run in this process.
type stage struct {
	*testing.T
	db     *databasetest.DB
	ctx    context.Context
	health map[string]string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s := &stage{T: t, db: databasetest.New(t), ctx: ctx, health: map[string]string{}}
	t.Cleanup(cancel)
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// config writes a service's files and returns what names them.
func (s *stage) config(service string) config.Service {
	s.Helper()
	d, dir := s.db.Deployment, s.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	s.must(os.WriteFile(at("genesis.json"), d.GenesisBytes, 0o600))
	for name, half := range map[string]secrets.SecretFile{"build.json": d.Build, "deploy.json": d.Deploy} {
		branch, err := half.Split(service, d.Genesis.Roles)
		s.must(err)
		s.must(branch.Write(at(name)))
	}
	health, err := loopback.Reserve()
	s.must(err)
	s.Cleanup(func() { _ = health.Close() })
	s.health[service] = health.Addr
	c := s.db.Cluster.Config(s.db.Name)
	return config.Service{
		Development: true, Genesis: at("genesis.json"), Health: s.health[service],
		Branches: []config.Branches{{Build: at("build.json"), Deploy: at("deploy.json")}},
		Database: config.Database{Addresses: []string{c.Addr}, Name: c.Name, CA: s.db.Cluster.CAFile, ServerName: c.ServerName},
		Log:      config.Log{Level: "error"},
		Sandbox:  config.SandboxOff, // the services share the test's process
	}
}

// serve runs a service until the test ends.
func (s *stage) serve(n *node.Node, own readiness.Check, run node.Part) {
	ctx, stop := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := n.Serve(ctx, s.health[n.Service], own, run); err != nil && ctx.Err() == nil {
			s.Errorf("%s: %v", n.Service, err)
		}
	})
	s.Cleanup(func() { stop(); running.Wait(); n.DB.Close() })
}

func (s *stage) role(name string) *policy.Service {
	s.Helper()
	n, service, err := role.New(name, s.config(name), approving{})
	s.must(err)
	s.serve(n, role.Ready(service), service.Run)
	return service
}

func (s *stage) signing() {
	s.Helper()
	n, err := node.Connect(secrets.ServiceSigning, s.config(secrets.ServiceSigning), nil)
	s.must(err)
	service, err := signing.New(signing.Config{
		Genesis: n.Genesis, Deployment: n.ID, Keyring: n.Keyring, DB: n.DB, Queue: n.Queue,
		Store: walletpg.New(n.DB), Seeds: wallet.NewSoftwareSource(), Interpreter: n.Interpreter,
		Policy: n.Policy, Attester: n.Attester, Now: node.Now, Log: n.Log, Ended: n.Metrics.Ended,
	})
	s.must(err)
	n.Metrics.Epochs(service.Epochs)
	s.serve(n, readiness.Check{Ready: service.Ready, Otherwise: readiness.NotReady}, service.Run)
}

func (s *stage) queue(service string) *queue.Queue {
	return queue.New(s.db.As(service), s.db.Config(service), nil)
}

func (s *stage) pushPolicy() {
	s.Helper()
	s.push("1", nil)
}

// push publishes a policy document under a key of its own.
func (s *stage) push(key string, edit func(*document.Document)) {
	s.Helper()
	bundle, err := message.Encode(s.db.Deployment.Policy(edit))
	s.must(err)
	s.must(s.queue("operator").Publish(s.ctx, queue.Notice{Topic: queue.TopicPolicy, Key: key, Sender: "operator", Body: bundle}))
}

// get asks a service's face.
func (s *stage) get(service, path string) (string, error) {
	resp, err := http.Get("http://" + s.health[service] + path)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// awaitCodes waits until exactly these things are missing.
func (s *stage) awaitCodes(service string, want ...readiness.Code) {
	s.Helper()
	got := ""
	for s.ctx.Err() == nil {
		body, err := s.get(service, "/readyz")
		if err != nil {
			continue // it does not listen yet
		}
		found := map[readiness.Code]bool{}
		for line := range strings.Lines(body) {
			var one struct {
				Code readiness.Code `json:"code"`
			}
			s.must(json.Unmarshal([]byte(line), &one))
			found[one.Code] = true
		}
		delete(found, "") // {"status":"ready"}
		same := len(found) == len(want)
		for _, code := range want {
			same = same && found[code]
		}
		if same {
			return
		}
		got = body
	}
	s.Fatalf("%s lacks %s, want %v", service, got, want)
}

// awaitFigure waits until a line stands in a service's metrics.
func (s *stage) awaitFigure(service, line string) string {
	s.Helper()
	body := ""
	for s.ctx.Err() == nil {
		var err error
		body, err = s.get(service, "/metrics")
		s.must(err)
		if strings.Contains(body, "\n"+line+"\n") {
			return body
		}
	}
	s.Fatalf("%s does not show %q in\n%s", service, line, body)
	return ""
}

// Readiness names all that is missing, and less and less of it as the
// deployment comes up; it notices when the database only reads.
func TestReadiness(t *testing.T) {
	s := newStage(t)
	fraud := s.role(message.RoleFraud)
	s.awaitCodes(message.RoleFraud, readiness.PolicyInactive, readiness.KeysNotExchanged, readiness.RecordsEmpty)
	_, err := fraud.Init(s.ctx)
	s.must(err)
	s.awaitCodes(message.RoleFraud, readiness.PolicyInactive, readiness.KeysNotExchanged)
	s.awaitFigure(message.RoleFraud, "countersign_policy_version 0")
	s.pushPolicy()
	s.awaitCodes(message.RoleFraud, readiness.KeysNotExchanged)
	s.signing()
	s.awaitCodes(message.RoleFraud)
	s.awaitFigure(message.RoleFraud, "countersign_policy_version 1")
	s.awaitFigure(message.RoleFraud, "countersign_epochs_open 1")
	s.awaitFigure(message.RoleFraud, "countersign_record_chain_broken 0")

	_, err = s.db.Owner.ExecContext(s.ctx, "REVOKE INSERT ON countersign.reply FROM countersign_fraud")
	s.must(err)
	s.awaitCodes(message.RoleFraud, readiness.DatabaseUnwritable)
	_, err = s.db.Owner.ExecContext(s.ctx, "GRANT INSERT ON countersign.reply TO countersign_fraud")
	s.must(err)
	s.awaitCodes(message.RoleFraud)
	_, err = s.db.Owner.ExecContext(s.ctx, "UPDATE countersign.record SET mac = '' WHERE role = 'fraud'")
	s.must(err)
	s.awaitCodes(message.RoleFraud, readiness.RecordsBroken)
	s.awaitFigure(message.RoleFraud, "countersign_record_chain_broken 1")
}

// TestAttackRulesThatDoNotCompile: a role stays with the document before one that
// is signed, but that some role, itself or another, could not decide by.
func TestAttackRulesThatDoNotCompile(t *testing.T) {
	s := newStage(t)
	version := func(n int, edit func(*document.Rules)) func(*document.Document) {
		return func(doc *document.Document) {
			doc.Version = n
			edit(&doc.Rules)
		}
	}
	wrong := document.Rule{ID: "wrong", Effect: document.EffectDeny, When: `tx.value > "much"`}
	s.push("1", nil)
	s.push("2", version(2, func(r *document.Rules) { r.Fraud = append(r.Fraud, wrong) }))
	for decider, want := range map[policy.Decider]int{
		authorization.New(nil): 1, fraud.New(nil): 1, approval.New(nil): 1,
		approving{}: 2, // has no rules
	} {
		n, _, err := role.New(message.RoleFraud, s.config(message.RoleFraud), decider)
		s.must(err)
		defer n.DB.Close()
		_, err = n.Policy.Refresh(s.ctx)
		s.must(err)
		if got := n.Policy.Active(); got == nil || got.Version != want {
			t.Errorf("%T: got %+v, want version %d", decider, got, want)
		}
	}
	s.push("3", version(3, func(*document.Rules) {}))
	n, _, err := role.New(message.RoleFraud, s.config(message.RoleFraud), fraud.New(nil))
	s.must(err)
	defer n.DB.Close()
	_, err = n.Policy.Refresh(s.ctx)
	s.must(err)
	if got := n.Policy.Active(); got == nil || got.Version != 3 {
		t.Errorf("got %+v, want version 3", got)
	}
}

// TestAttackIdentityInMetrics has a wallet made by the whole deployment and
// reads every service's metrics: they count the request, and tell nothing of
// whose it is.
func TestAttackIdentityInMetrics(t *testing.T) {
	s := newStage(t)
	d := s.db.Deployment
	s.pushPolicy()
	for _, name := range d.Genesis.Roles {
		_, err := s.role(name).Init(s.ctx)
		s.must(err)
	}
	s.signing()
	for service := range s.health {
		s.awaitCodes(service)
	}
	statement := d.Statement(message.KindWalletCreate, "", "", message.WalletCreate{
		Owner: deploymenttest.User, SeedType: "raw", Source: "software", Label: "hunter2",
	}, time.Now().Add(time.Hour))
	body, err := message.Encode(d.Envelope(statement, d.UserKey, time.Now()))
	s.must(err)
	parsed, err := message.ParseStatement(statement, d.ID)
	s.must(err)
	id := uuid.MustParse(parsed.ID)
	_, err = s.queue("proposer").Submit(s.ctx, []queue.Submission{{
		ID: id, Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(statement),
		Owner: deploymenttest.User, Kind: string(message.KindWalletCreate), Expires: time.Now().Add(time.Hour),
	}}, queue.Recipients{Consumers: d.Genesis.Roles, Gatherer: message.RoleSigning})
	s.must(err)

	pages := []string{s.awaitFigure(message.RoleSigning, `countersign_requests_total{outcome="done",role="signing"} 1`)}
	for _, name := range d.Genesis.Roles {
		pages = append(pages, s.awaitFigure(name, `countersign_requests_total{outcome="approved",role="`+name+`"} 1`))
	}
	wallet := message.Sum(statement).String()
	for _, page := range pages {
		for _, word := range []string{deploymenttest.User, "hunter2", id.String(), wallet, d.ID.String(), "countersign_" + message.RoleFraud, "127.0.0.1"} {
			if strings.Contains(page, word) {
				t.Errorf("the metrics tell %q", word)
			}
		}
	}
}
