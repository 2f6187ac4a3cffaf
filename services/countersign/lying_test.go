package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/policy/approval/api"
)

// approvalService is an approval service that shows whatever it is told to and
// keeps the votes that it gets.
type approvalService struct {
	mu    sync.Mutex
	shown api.Approval
	votes [][]byte
}

func (s *approvalService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer any = s.shown
	if r.Method == http.MethodPost {
		vote, _ := io.ReadAll(r.Body)
		s.votes = append(s.votes, vote)
		answer = api.Recorded{ID: s.shown.ID, Approver: s.shown.You, Decision: message.Approve, Approvals: 1, Quorum: 1}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *approvalService) show(a api.Approval) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.votes = a, nil
}

func (s *approvalService) received() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.votes
}

// approver is somebody with the command line in front of such a service.
type approver struct {
	*testing.T
	d       *deploymenttest.Deployment
	service *approvalService
	profile string
}

func newApprover(t *testing.T) *approver {
	t.Helper()
	a := &approver{T: t, d: deploymenttest.New(t), service: &approvalService{}, profile: filepath.Join(t.TempDir(), "profile.json")}
	now := time.Now()
	authority := standin.NewAuthority(t, "test", now)
	server := httptest.NewUnstartedServer(a.service)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, "approval", now.Add(-time.Hour), now.Add(time.Hour), x509.ExtKeyUsageServerAuth)},
		MinVersion:   tls.VersionTLS13,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, key := standin.PEM(t, tls.Certificate{Certificate: [][]byte{nil}, PrivateKey: a.d.ApproverKey})
	profile, err := json.Marshal(map[string]string{
		"console": server.URL, "deployment": a.d.ID.String(),
		"ca": a.file("ca.pem", authority.PEM()), "approver_key": a.file("key.pem", key),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.profile, profile, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *approver) file(name string, content []byte) string {
	a.Helper()
	path := filepath.Join(filepath.Dir(a.profile), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.Fatal(err)
	}
	return path
}

// transfer is what an honest service shows of a transfer of so many wei.
func (a *approver) transfer(wei string) api.Approval {
	a.Helper()
	descriptor := a.descriptor()
	statement := a.d.Statement(message.KindEthereumTransaction, descriptor.Wallet, descriptor.ID, map[string]string{
		"type": "eip1559", "nonce": "0", "gas_limit": "21000", "max_fee_per_gas": "10", "max_priority_fee_per_gas": "1",
		"to": "0x1111111111111111111111111111111111111111", "value": wei,
	}, time.Now().Add(time.Hour))
	envelope, err := message.Encode(a.d.Envelope(statement, a.d.UserKey, time.Now()))
	if err != nil {
		a.Fatal(err)
	}
	raw, err := message.Encode(descriptor)
	if err != nil {
		a.Fatal(err)
	}
	meaning, err := interpret(a.Context(), a.d.ID, statement, raw)
	if err != nil {
		a.Fatal(err)
	}
	return api.Approval{
		ID: meaning.Statement.ID, You: "bob", Deployment: a.d.ID, Envelope: envelope, EnvelopeHash: message.Sum(envelope),
		Descriptor: raw, Kind: meaning.Statement.Kind, Wallet: descriptor.Wallet, Account: descriptor.ID, User: deploymenttest.User,
		Digests: meaning.Digests, Policy: message.PolicyRef{Version: 1, Hash: message.Sum([]byte("policy"))}, Expires: meaning.Statement.Expires,
	}
}

// descriptor is of the account whose key is 1: its public key is the generator
// of secp256k1.
func (a *approver) descriptor() message.AccountDescriptor {
	a.Helper()
	key, err := hex.DecodeString("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	if err != nil {
		a.Fatal(err)
	}
	account := message.Sum([]byte("account"))
	return message.AccountDescriptor{
		Version: 1, Deployment: a.d.ID, ID: account.String(), Owner: deploymenttest.User, Roles: a.d.Genesis.Roles, Generation: 1,
		SeedType: "raw", Source: "software", Create: account, Wallet: message.Sum([]byte("wallet")).String(),
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0", PublicKey: key, Address: "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
	}
}

// approves runs the command line on a request and returns its exit code and
// what it said.
func (a *approver) approves(id string) (int, string) {
	var out bytes.Buffer
	code := execute(a.Context(), []string{"approve", id, "--profile", a.profile, "--yes"}, &out, &out)
	return code, out.String()
}

// TestVoteNamesWhatWasComputedHere: beside an honest service the vote is for the
// request's own digests.
func TestVoteNamesWhatWasComputedHere(t *testing.T) {
	a := newApprover(t)
	shown := a.transfer("5")
	a.service.show(shown)
	if code, said := a.approves(shown.ID); code != 0 || !strings.Contains(said, hex.EncodeToString(shown.Digests[0].Value)) {
		t.Fatalf("ended with %d: %s", code, said)
	}
	votes := a.service.received()
	if len(votes) != 1 {
		t.Fatalf("%d votes", len(votes))
	}
	public := a.d.ApproverKey.Public().(ed25519.PublicKey)
	var vote message.Vote
	if err := message.VerifyEd25519(message.TypVote, deploymenttest.JWK(t, a.d.ApproverKey).Thumbprint(), public, votes[0], &vote); err != nil {
		t.Fatal(err)
	}
	if vote.Request != shown.ID || vote.Deployment != a.d.ID || vote.Envelope != message.Sum(shown.Envelope) ||
		len(vote.Digests) != 1 || !bytes.Equal(vote.Digests[0].Value, shown.Digests[0].Value) {
		t.Errorf("vote %+v", vote)
	}
}

// TestAttackLyingApprovalService: an approval service that shows one thing and
// wants a vote on another gets none.
func TestAttackLyingApprovalService(t *testing.T) {
	a := newApprover(t)
	other := a.transfer("7")
	for name, lie := range map[string]func(*api.Approval){
		"digests of another request": func(x *api.Approval) { x.Digests = other.Digests },
		"digests left out":           func(x *api.Approval) { x.Digests = nil },
		"one digest more":            func(x *api.Approval) { x.Digests = append(x.Digests[:1:1], other.Digests...) },
		"another algorithm": func(x *api.Approval) {
			x.Digests = []message.Digest{{Algorithm: "sha256", Value: x.Digests[0].Value}}
		},
		"another request under this id":   func(x *api.Approval) { id := x.ID; *x = other; x.ID = id },
		"another request":                 func(x *api.Approval) { *x = other },
		"another envelope":                func(x *api.Approval) { x.Envelope = other.Envelope },
		"another envelope with its hash":  func(x *api.Approval) { x.Envelope, x.EnvelopeHash = other.Envelope, other.EnvelopeHash },
		"another envelope's hash":         func(x *api.Approval) { x.EnvelopeHash = other.EnvelopeHash },
		"an envelope that cannot be read": func(x *api.Approval) { x.Envelope = []byte("{"); x.EnvelopeHash = message.Sum(x.Envelope) },
		"another deployment's envelope": func(x *api.Approval) {
			a.foreign(x, func(e *message.Envelope) { e.Deployment = message.Sum([]byte("other")) })
		},
		"another account": func(x *api.Approval) {
			a.described(x, func(d *message.AccountDescriptor) { d.ID = message.Sum([]byte("other")).String() })
		},
		"another chain": func(x *api.Approval) { a.described(x, func(d *message.AccountDescriptor) { d.Chain = "eip155:5" }) },
		"another wallet": func(x *api.Approval) {
			a.described(x, func(d *message.AccountDescriptor) { d.Wallet = strings.Repeat("ab", 32) })
		},
		"no descriptor":    func(x *api.Approval) { x.Descriptor = nil },
		"a broken one":     func(x *api.Approval) { x.Descriptor = []byte("{}") },
		"an id of its own": func(x *api.Approval) { x.ID = other.ID },
		"of another owner's deployment": func(x *api.Approval) {
			a.described(x, func(d *message.AccountDescriptor) { d.Deployment = message.Sum([]byte("other")) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			shown := a.transfer("5")
			id := shown.ID
			lie(&shown)
			a.service.show(shown)
			code, said := a.approves(id)
			if code == 0 || !strings.Contains(said, "does not hold together") || !strings.Contains(said, "do not vote") {
				t.Errorf("ended with %d: %s", code, said)
			}
			if n := len(a.service.received()); n != 0 {
				t.Errorf("%d votes were sent", n)
			}
		})
	}
}

// foreign changes the envelope and its hash with it.
func (a *approver) foreign(x *api.Approval, edit func(*message.Envelope)) {
	a.Helper()
	var e message.Envelope
	if err := message.Decode(x.Envelope, &e); err != nil {
		a.Fatal(err)
	}
	edit(&e)
	raw, err := message.Encode(e)
	if err != nil {
		a.Fatal(err)
	}
	x.Envelope, x.EnvelopeHash = raw, message.Sum(raw)
}

// described changes the account's descriptor.
func (a *approver) described(x *api.Approval, edit func(*message.AccountDescriptor)) {
	a.Helper()
	d := a.descriptor()
	edit(&d)
	raw, err := message.Encode(d)
	if err != nil {
		a.Fatal(err)
	}
	x.Descriptor = raw
}
