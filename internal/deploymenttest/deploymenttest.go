// Package deploymenttest makes a whole deployment for a test: genesis
// document, admins, both halves of the secrets, a keyring for every service, a
// user, an approver, and signed policy documents. Only tests import it.
//
// The keys are random in each test. Nothing in here is fit for a deployment
// that anybody uses.
package deploymenttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/trust/httpsig"
)

// The persons of the default policy, and the assets that it has limits for.
const (
	User     = "alice"
	Approver = "bob"
	Ether    = "eip155:1/slip44:60"
	Token    = "eip155:1/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
	// Authority is the host that statements are signed for.
	Authority = "proposer.test"
)

// Expires is when the default policy ends.
var Expires = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// Deployment is everything that the people of one deployment hold.
type Deployment struct {
	Genesis      message.Genesis
	GenesisBytes []byte
	ID           message.Hash
	Admins       []ed25519.PrivateKey
	Build        secrets.SecretFile
	Deploy       secrets.SecretFile
	// Keyrings by service: proposer, operator, signing and every role.
	Keyrings map[string]*secrets.Keyring
	// UserKey signs statements of the user "alice", ApproverKey votes of the
	// approver "bob".
	UserKey     ed25519.PrivateKey
	ApproverKey ed25519.PrivateKey

	t testing.TB
}

// New makes a deployment with the roles authorization, fraud and approval,
// and three admins of whom two must sign.
func New(t testing.TB) *Deployment {
	t.Helper()
	return NewWithRoles(t, message.PolicyRoles()...)
}

// NewWithRoles makes a deployment with the given policy roles.
func NewWithRoles(t testing.TB, roles ...string) *Deployment {
	t.Helper()
	d := &Deployment{
		t:           t,
		UserKey:     Key(t),
		ApproverKey: Key(t),
		Build:       secrets.NewSecretFile(secrets.HalfBuild, 1),
		Deploy:      secrets.NewSecretFile(secrets.HalfDeploy, 1),
		Keyrings:    map[string]*secrets.Keyring{},
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	d.Genesis = message.Genesis{
		Version: message.Version, Name: "test", Mode: message.ModeDevelopment, Nonce: nonce,
		Threshold: 2, Roles: roles, AttestationRoots: []string{},
	}
	for _, name := range []string{"ada", "ben", "cas"} {
		key := Key(t)
		d.Admins = append(d.Admins, key)
		d.Genesis.Admins = append(d.Genesis.Admins, message.Admin{Name: name, Key: JWK(t, key)})
	}
	raw, err := message.Encode(d.Genesis)
	must(t, err)
	d.Genesis, d.ID, err = message.ParseGenesis(raw)
	must(t, err)
	d.GenesisBytes = raw
	for _, service := range secrets.Services(roles) {
		d.Keyrings[service] = d.keyring(service)
	}
	return d
}

// For returns the same deployment for use by another test than the one that
// made it.
func (d *Deployment) For(t testing.TB) *Deployment {
	other := *d
	other.t = t
	return &other
}

func (d *Deployment) keyring(service string) *secrets.Keyring {
	d.t.Helper()
	build, err := d.Build.Split(service, d.Genesis.Roles)
	must(d.t, err)
	deploy, err := d.Deploy.Split(service, d.Genesis.Roles)
	must(d.t, err)
	k, err := secrets.NewKeyring(d.ID, service, d.Genesis.Roles, secrets.Pair{Build: build, Deploy: deploy})
	must(d.t, err)
	return k
}

// IdentityKey returns the Ed25519 identity key of a role or of "signing".
func (d *Deployment) IdentityKey(role string) ed25519.PrivateKey {
	d.t.Helper()
	k := d.Keyrings[role]
	secret, err := k.Key(secrets.Identity(role), k.Generation())
	must(d.t, err)
	key, err := secrets.IdentityKey(secret)
	must(d.t, err)
	return key
}

// Document returns the default policy: alice may do everything with her own
// wallets, up to 100 ether and a million of Token (six decimals) at once and
// ten times that in 24 hours; above 1 ether or 1000 Token bob must agree.
func (d *Deployment) Document() *document.Document {
	d.t.Helper()
	doc := &document.Document{
		Version: 1, Deployment: d.ID.String(), Expires: document.At(Expires),
		Services: map[string][]message.JWK{},
		Users:    []document.User{{ID: User, Issuer: "https://issuer.test", Subject: User, Keys: []message.JWK{JWK(d.t, d.UserKey)}}},
		Approvers: []document.Approver{
			{ID: Approver, Keys: []message.JWK{JWK(d.t, d.ApproverKey)}},
		},
		Grants: []document.Grant{{
			Users: []string{User},
			Kinds: []message.Kind{
				message.KindWalletCreate, message.KindAccountCreate,
				message.KindEthereumTransaction, message.KindEthereumMessage, message.KindEthereumTypedData,
			},
			Wallets: []string{document.WalletsOwn},
		}},
		Approval: document.Approval{Approvers: []string{Approver}, Quorum: 1},
	}
	defaultRules(doc)
	for _, role := range append([]string{message.RoleSigning}, d.Genesis.Roles...) {
		doc.Services[role] = []message.JWK{JWK(d.t, d.IdentityKey(role))}
	}
	return doc
}

// Policy returns the default policy document, changed by edit (which may be
// nil) and signed by as many admins as the threshold asks for. The document
// need not be valid.
func (d *Deployment) Policy(edit func(*document.Document)) message.PolicyBundle {
	d.t.Helper()
	doc := d.Document()
	if edit != nil {
		edit(doc)
	}
	raw, err := yaml.Marshal(doc)
	must(d.t, err)
	return d.Sign(raw, d.Admins[:d.Genesis.Threshold]...)
}

// Sign returns the exact bytes of a policy document with the signatures of
// the given admins.
func (d *Deployment) Sign(raw []byte, admins ...ed25519.PrivateKey) message.PolicyBundle {
	d.t.Helper()
	bundle := message.PolicyBundle{Document: raw, Signatures: []string{}}
	for _, admin := range admins {
		compact, err := document.Sign(raw, d.ID, admin)
		must(d.t, err)
		bundle.Signatures = append(bundle.Signatures, compact)
	}
	return bundle
}

// Active returns the default policy, changed by edit, as it is after
// verification.
func (d *Deployment) Active(edit func(*document.Document)) *document.Active {
	d.t.Helper()
	a, err := document.VerifyBundle(d.Policy(edit), d.Genesis, d.ID)
	must(d.t, err)
	return a
}

// Statement returns the bytes of a statement with a new id. Payload is
// anything that encodes to a JSON object.
func (d *Deployment) Statement(kind message.Kind, wallet, account string, payload any, expires time.Time) []byte {
	d.t.Helper()
	body, err := message.Encode(payload)
	must(d.t, err)
	id, err := uuid.NewV7()
	must(d.t, err)
	raw, err := message.Encode(message.Statement{
		ID: id.String(), Audience: d.ID, Kind: kind, Wallet: wallet, Account: account,
		Payload: body, Expires: message.At(expires),
	})
	must(d.t, err)
	return raw
}

// Envelope signs a statement with a user's key and returns the envelope that
// the proposer would write.
func (d *Deployment) Envelope(statement []byte, key ed25519.PrivateKey, now time.Time) message.Envelope {
	d.t.Helper()
	signed, err := httpsig.Sign(httpsig.Message{
		Method: document.RequestsMethod, Authority: Authority, Path: document.RequestsPath,
		ContentType: "application/json", Body: statement,
	}, httpsig.StatementProfile, key, JWK(d.t, key).Thumbprint(), now)
	must(d.t, err)
	return message.Envelope{
		Version: message.Version, Deployment: d.ID, Statement: statement,
		Signature: message.HTTPSignature{
			Input: signed.SignatureInput, Signature: signed.Signature,
			Authority: Authority, ContentType: "application/json",
		},
		Received: message.At(now),
	}
}

// Vote returns an approver's signed vote as compact JWS.
func (d *Deployment) Vote(v message.Vote, key ed25519.PrivateKey) string {
	d.t.Helper()
	compact, err := message.SignEd25519(message.TypVote, JWK(d.t, key).Thumbprint(), key, v)
	must(d.t, err)
	return string(compact)
}

// Key returns a new Ed25519 key.
func Key(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

// JWK returns the public key of key.
func JWK(t testing.TB, key ed25519.PrivateKey) message.JWK {
	t.Helper()
	jwk, err := message.NewJWK(key.Public())
	must(t, err)
	return jwk
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
