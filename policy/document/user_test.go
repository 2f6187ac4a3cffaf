package document_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/httpsig"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// asked is one signed request with everything around it.
type asked struct {
	d       *deploymenttest.Deployment
	records *deploymenttest.Records
	wallet  string
	account string
	env     message.Envelope
	meaning transaction.Meaning
}

func ask(t *testing.T, d *deploymenttest.Deployment) asked {
	t.Helper()
	a := asked{d: d, records: d.Records()}
	a.wallet = a.records.AddWallet(deploymenttest.User)
	a.account, _ = a.records.AddAccount(a.wallet, deploymenttest.User)
	a.env = d.Ask(message.KindEthereumTransaction, a.wallet, a.account,
		deploymenttest.Transfer{To: "0x00000000000000000000000000000000000000aa", Value: "1"}.Payload(), now)
	a.meaning = d.Interpret(a.records, a.env)
	return a
}

// resign replaces the signature of the envelope.
func (a *asked) resign(t *testing.T, key crypto.Signer, keyID string, edit func(*httpsig.Message, *httpsig.Profile)) {
	t.Helper()
	m := httpsig.Message{
		Method: "POST", Authority: deploymenttest.Authority, Path: "/v1/requests",
		ContentType: "application/json", Body: a.env.Statement,
	}
	p := httpsig.StatementProfile
	if edit != nil {
		edit(&m, &p)
	}
	signed, err := httpsig.Sign(m, p, key, keyID, now)
	if err != nil {
		t.Fatal(err)
	}
	a.env.Signature.Input, a.env.Signature.Signature = signed.SignatureInput, signed.Signature
}

func wantCode(t *testing.T, active *document.Active, a asked, at time.Time, code string) {
	t.Helper()
	user, reason := document.VerifyUser(active, a.env, a.meaning, at)
	switch {
	case code == "" && (reason != nil || user.ID != "alice"):
		t.Fatalf("got %v %+v", user.ID, reason)
	case code != "" && (reason == nil || reason.Code != code):
		t.Fatalf("got %+v, want %s", reason, code)
	case code != "" && user.ID != "":
		t.Fatalf("a refused request has user %s", user.ID)
	}
}

func TestVerifyUser(t *testing.T) {
	d := deploymenttest.New(t)
	active := d.Active(nil)
	a := ask(t, d)
	wantCode(t, active, a, now, "")
	wantCode(t, active, a, now.Add(time.Hour-time.Second), "")
	wantCode(t, active, a, now.Add(time.Hour), document.CodeExpired)
	wantCode(t, active, a, now.Add(-time.Hour), document.CodeEarly)

	a.resign(t, d.UserKey, deploymenttest.JWK(t, d.UserKey).Thumbprint(), func(_ *httpsig.Message, p *httpsig.Profile) {
		p.Required, p.Optional = append(p.Required[:len(p.Required):len(p.Required)], "@authority"), nil
	})
	wantCode(t, active, a, now, "")
	a.env.Signature.Authority = "elsewhere.test"
	wantCode(t, active, a, now, document.CodeSignature)
}

func TestVerifyUserP256(t *testing.T) {
	d := deploymenttest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := message.NewJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	a := ask(t, d)
	a.resign(t, key, jwk.Thumbprint(), nil)
	active := d.Active(func(doc *document.Document) { doc.Users[0].Keys = append(doc.Users[0].Keys, jwk) })
	wantCode(t, active, a, now, "")
	wantCode(t, d.Active(nil), a, now, document.CodeUnknownKey)
}

// TestAttackStatementSignedByAnother: the signature is by a key that is not
// the user's, also where it names the user's.
func TestAttackStatementSignedByAnother(t *testing.T) {
	d := deploymenttest.New(t)
	stranger := deploymenttest.Key(t)
	active := d.Active(nil)
	a := ask(t, d)
	a.resign(t, stranger, deploymenttest.JWK(t, stranger).Thumbprint(), nil)
	wantCode(t, active, a, now, document.CodeUnknownKey)
	a.resign(t, stranger, deploymenttest.JWK(t, d.UserKey).Thumbprint(), nil)
	wantCode(t, active, a, now, document.CodeSignature)
	a.resign(t, d.ApproverKey, deploymenttest.JWK(t, d.ApproverKey).Thumbprint(), nil)
	wantCode(t, active, a, now, document.CodeUnknownKey)
}

// TestAttackStatementForAnotherWallet: another user's wallet by id.
func TestAttackStatementForAnotherWallet(t *testing.T) {
	d := deploymenttest.New(t)
	a := ask(t, d)
	a.wallet = a.records.AddWallet("carol")
	a.account, _ = a.records.AddAccount(a.wallet, "carol")
	a.env = d.Ask(message.KindEthereumTransaction, a.wallet, a.account,
		deploymenttest.Transfer{To: "0x00000000000000000000000000000000000000aa", Value: "1"}.Payload(), now)
	a.meaning = d.Interpret(a.records, a.env)
	wantCode(t, d.Active(nil), a, now, document.CodeNotGranted)
	wantCode(t, d.Active(func(doc *document.Document) { doc.Grants[0].Wallets = []string{a.wallet} }), a, now, "")
	wantCode(t, d.Active(func(doc *document.Document) { doc.Grants[0].Wallets = []string{document.WalletsAny} }), a, now, "")

	// The meaning of an own wallet beside a statement about another's.
	own := ask(t, d)
	a.meaning = own.meaning
	wantCode(t, d.Active(nil), a, now, document.CodeDeployment)

	// A meaning that says of no bytes that it is theirs, or of another account.
	a = own
	a.meaning.Create = message.Hash{}
	wantCode(t, d.Active(nil), a, now, document.CodeDeployment)
	a = own
	a.meaning.Account = a.wallet
	wantCode(t, d.Active(nil), a, now, document.CodeDeployment)
}

// TestAttackGrantMissing: the kind, the wallet or the user is not granted.
func TestAttackGrantMissing(t *testing.T) {
	d := deploymenttest.New(t)
	a := ask(t, d)
	for name, edit := range map[string]func(*document.Document){
		"no-grants":  func(x *document.Document) { x.Grants = nil },
		"other-kind": func(x *document.Document) { x.Grants[0].Kinds = []message.Kind{message.KindEthereumMessage} },
		"other-wallet": func(x *document.Document) {
			x.Grants[0].Wallets = []string{message.Sum([]byte("other")).String()}
		},
		"other-user": func(x *document.Document) {
			key := deploymenttest.JWK(t, deploymenttest.Key(t))
			x.Users = append(x.Users, document.User{ID: "carol", Keys: []message.JWK{key}})
			x.Grants[0].Users = []string{"carol"}
		},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, d.Active(edit), a, now, document.CodeNotGranted) })
	}
}

// TestGrantsDoNotMix: a kind of one grant and a wallet of another make none.
func TestGrantsDoNotMix(t *testing.T) {
	d := deploymenttest.New(t)
	a := ask(t, d)
	wantCode(t, d.Active(func(x *document.Document) {
		x.Grants = []document.Grant{
			{Users: []string{"alice"}, Kinds: []message.Kind{message.KindEthereumMessage}, Wallets: []string{a.wallet}},
			{Users: []string{"alice"}, Kinds: []message.Kind{message.KindEthereumTransaction}, Wallets: []string{message.Sum(nil).String()}},
		}
	}), a, now, document.CodeNotGranted)
}

// TestAttackStatementCoversTooLittle: the signature leaves out a component.
func TestAttackStatementCoversTooLittle(t *testing.T) {
	d := deploymenttest.New(t)
	id := deploymenttest.JWK(t, d.UserKey).Thumbprint()
	for _, component := range httpsig.StatementProfile.Required {
		t.Run(component, func(t *testing.T) {
			a := ask(t, d)
			a.resign(t, d.UserKey, id, func(_ *httpsig.Message, p *httpsig.Profile) {
				var fewer []string
				for _, c := range p.Required {
					if c != component {
						fewer = append(fewer, c)
					}
				}
				p.Required = fewer
			})
			wantCode(t, d.Active(nil), a, now, document.CodeSignature)
		})
	}
}

// TestAttackStatementSignatureOfAnotherUse: a signature made over something
// else, or for another purpose.
func TestAttackStatementSignatureOfAnotherUse(t *testing.T) {
	d := deploymenttest.New(t)
	id := deploymenttest.JWK(t, d.UserKey).Thumbprint()
	for name, edit := range map[string]func(*httpsig.Message, *httpsig.Profile){
		"other-tag":    func(_ *httpsig.Message, p *httpsig.Profile) { p.Tag = message.TagApprover },
		"other-method": func(m *httpsig.Message, _ *httpsig.Profile) { m.Method = "PUT" },
		"other-path":   func(m *httpsig.Message, _ *httpsig.Profile) { m.Path = "/v1/other" },
		"other-type":   func(m *httpsig.Message, _ *httpsig.Profile) { m.ContentType = "text/plain" },
		"other-body":   func(m *httpsig.Message, _ *httpsig.Profile) { m.Body = []byte("{}") },
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, d)
			a.resign(t, d.UserKey, id, edit)
			wantCode(t, d.Active(nil), a, now, document.CodeSignature)
		})
	}
}

// TestAttackStatementOfAnotherDeployment: a signed statement carried over.
func TestAttackStatementOfAnotherDeployment(t *testing.T) {
	d, other := deploymenttest.New(t), deploymenttest.New(t)
	other.UserKey = d.UserKey
	a := ask(t, other)
	wantCode(t, d.Active(nil), a, now, document.CodeDeployment)
	a.env.Deployment = d.ID
	wantCode(t, d.Active(nil), a, now, document.CodeDeployment)
}

func TestOwnerOfWalletCreate(t *testing.T) {
	d := deploymenttest.New(t)
	for owner, code := range map[string]string{"alice": "", "carol": document.CodeNotGranted} {
		a := asked{d: d, records: d.Records()}
		a.env = d.Ask(message.KindWalletCreate, "", "", message.WalletCreate{
			Owner: owner, SeedType: "raw", Source: "software", Label: "l",
		}, now)
		a.meaning = d.Interpret(a.records, a.env)
		wantCode(t, d.Active(nil), a, now, code)
	}
	a := asked{d: d, records: d.Records()}
	wallet := a.records.AddWallet("carol")
	a.env = d.Ask(message.KindAccountCreate, wallet, "", message.AccountCreate{
		Chain: "eip155:1", Curve: "secp256k1", Path: "m/44'/60'/0'/0/0",
	}, now)
	a.meaning = d.Interpret(a.records, a.env)
	wantCode(t, d.Active(nil), a, now, document.CodeNotGranted)
}

// TestReasonsDoNotEcho: a reason never carries back what the sender wrote.
func TestReasonsDoNotEcho(t *testing.T) {
	d := deploymenttest.New(t)
	a := ask(t, d)
	a.env.Signature.Input = `<script>marker</script>`
	_, reason := document.VerifyUser(d.Active(nil), a.env, a.meaning, now)
	if reason == nil || strings.Contains(reason.Detail, "marker") {
		t.Fatalf("got %+v", reason)
	}
}
