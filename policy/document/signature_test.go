package document_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

func TestVerifyBundle(t *testing.T) {
	d := deploymenttest.New(t)
	raw := []byte(encode(t, d.Document()))
	for name, admins := range map[string][]ed25519.PrivateKey{
		"two-of-three": {d.Admins[2], d.Admins[0]}, "all": d.Admins,
	} {
		t.Run(name, func(t *testing.T) {
			a, err := document.VerifyBundle(d.Sign(raw, admins...), d.Genesis, d.ID)
			if err != nil {
				t.Fatal(err)
			}
			if a.Ref.Version != 1 || a.Ref.Hash != message.Sum(raw) || string(a.Bundle.Document) != string(raw) {
				t.Fatalf("reference is %+v", a.Ref)
			}
		})
	}
}

// refused says that a bundle is refused with one of the errors.
func refused(t *testing.T, d *deploymenttest.Deployment, b message.PolicyBundle, want ...error) {
	t.Helper()
	a, err := document.VerifyBundle(b, d.Genesis, d.ID)
	if err == nil || a != nil {
		t.Fatal("the bundle was accepted")
	}
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	if len(want) > 0 {
		t.Fatalf("got %v", err)
	}
}

func TestAttackPolicySignedByTooFew(t *testing.T) {
	d := deploymenttest.New(t)
	raw := []byte(encode(t, d.Document()))
	refused(t, d, d.Sign(raw), document.ErrQuorum)
	refused(t, d, d.Sign(raw, d.Admins[0]), document.ErrQuorum)
	d.Genesis.Threshold = 0 // a genesis that ParseGenesis would refuse
	refused(t, d, d.Sign(raw), document.ErrQuorum)
}

func TestAttackPolicySignedByOneAdminTwice(t *testing.T) {
	d := deploymenttest.New(t)
	raw := []byte(encode(t, d.Document()))
	refused(t, d, d.Sign(raw, d.Admins[0], d.Admins[0]), document.ErrSigner)
	refused(t, d, d.Sign(raw, d.Admins[0], d.Admins[1], d.Admins[0]), document.ErrSigner)
}

func TestAttackPolicySignedByStranger(t *testing.T) {
	d := deploymenttest.New(t)
	raw := []byte(encode(t, d.Document()))
	stranger := deploymenttest.Key(t)
	refused(t, d, d.Sign(raw, d.Admins[0], stranger), document.ErrSigner)
	refused(t, d, d.Sign(raw, d.Admins[0], d.Admins[1], stranger), document.ErrSigner)

	// The stranger names an admin's key.
	forged, err := message.SignEd25519(message.TypPolicySignature,
		d.Genesis.Admins[1].Key.Thumbprint(), stranger, message.PolicySignature{
			Version: message.Version, Deployment: d.ID,
			Policy: message.PolicyRef{Version: 1, Hash: message.Sum(raw)},
		})
	if err != nil {
		t.Fatal(err)
	}
	b := d.Sign(raw, d.Admins[0])
	b.Signatures = append(b.Signatures, string(forged))
	refused(t, d, b, message.ErrSignature)
}

func TestAttackPolicyOfAnotherDeployment(t *testing.T) {
	d, other := deploymenttest.New(t), deploymenttest.New(t)
	// The other deployment has the same admins.
	other.Admins = d.Admins
	refused(t, d, other.Policy(nil), document.ErrDeployment)

	// The document is for this one, the signatures are for the other.
	raw := []byte(encode(t, d.Document()))
	b := message.PolicyBundle{Document: raw}
	for i, admin := range d.Admins[:2] {
		compact, err := message.SignEd25519(message.TypPolicySignature, d.Genesis.Admins[i].Key.Thumbprint(), admin,
			message.PolicySignature{
				Version: message.Version, Deployment: other.ID,
				Policy: message.PolicyRef{Version: 1, Hash: message.Sum(raw)},
			})
		if err != nil {
			t.Fatal(err)
		}
		b.Signatures = append(b.Signatures, string(compact))
	}
	refused(t, d, b, document.ErrSigner)

	if _, err := document.Sign(raw, other.ID, d.Admins[0]); !errors.Is(err, document.ErrDeployment) {
		t.Fatalf("an admin signed it for another deployment: %v", err)
	}
}

func TestAttackPolicyChangedByAByte(t *testing.T) {
	d := deploymenttest.New(t)
	b := d.Policy(nil)
	for i := range b.Document {
		changed := append([]byte{}, b.Document...)
		changed[i] ^= 1
		refused(t, d, message.PolicyBundle{Document: changed, Signatures: b.Signatures})
	}
	refused(t, d, message.PolicyBundle{Document: append(b.Document[:len(b.Document):len(b.Document)], '\n'), Signatures: b.Signatures}, document.ErrSigner)
}

// TestAttackPolicySignaturesOfAnotherVersion: signatures of version 1 under
// version 2.
func TestAttackPolicySignaturesOfAnotherVersion(t *testing.T) {
	d := deploymenttest.New(t)
	one := d.Policy(nil)
	two := d.Policy(func(doc *document.Document) { doc.Version = 2 })
	refused(t, d, message.PolicyBundle{Document: two.Document, Signatures: one.Signatures}, document.ErrSigner)
}

// TestAttackPolicySignatureOfAnotherKind: a vote is no policy signature, even
// by an admin.
func TestAttackPolicySignatureOfAnotherKind(t *testing.T) {
	d := deploymenttest.New(t)
	b := d.Policy(nil)
	b.Signatures[1] = d.Vote(message.Vote{Version: message.Version}, d.Admins[1])
	refused(t, d, b, message.ErrHeader)
}

func TestVerifyBundleRefusesInvalid(t *testing.T) {
	d := deploymenttest.New(t)
	_, err := document.VerifyBundle(d.Policy(func(doc *document.Document) { doc.Approval.Quorum = 9 }), d.Genesis, d.ID)
	if err == nil || !strings.Contains(err.Error(), "quorum 9") {
		t.Fatalf("got %v", err)
	}
}

func TestLookups(t *testing.T) {
	d := deploymenttest.New(t)
	fingerprint := message.Sum([]byte("certificate")).String()
	a := d.Active(func(doc *document.Document) {
		doc.Users[0].Certificates = []string{fingerprint}
		doc.Approvers = append(doc.Approvers, document.Approver{
			ID: "eve", User: "alice", Keys: []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))},
		})
	})
	if u, ok := a.UserByCertificate(fingerprint); !ok || u.ID != "alice" {
		t.Errorf("by certificate: %v %v", u.ID, ok)
	}
	if u, ok := a.UserByToken("https://issuer.test", "alice"); !ok || u.ID != "alice" {
		t.Errorf("by token: %v %v", u.ID, ok)
	}
	if u, _, ok := a.UserByKey(deploymenttest.JWK(t, d.UserKey).Thumbprint()); !ok || u.ID != "alice" {
		t.Errorf("by key: %v %v", u.ID, ok)
	}
	if _, ok := a.UserByToken("", ""); ok {
		t.Error("an empty token is a user")
	}
	if _, ok := a.UserByToken("https://issuer.test", ""); ok {
		t.Error("half a token is a user")
	}
	if _, ok := a.UserByCertificate(""); ok {
		t.Error("no certificate is a user")
	}
	eve, _ := a.Approver("eve")
	if _, _, ok := a.ApproverByKey(eve.Keys[0].Thumbprint()); ok {
		t.Error("an approver who is not listed may vote")
	}
	if a.Person("eve") != "alice" || a.Person("bob") != "bob" || a.Person("nobody") != "" {
		t.Error("persons are wrong")
	}
	for _, role := range append([]string{"signing"}, d.Genesis.Roles...) {
		keys := a.IdentityKeys(role)
		if len(keys) != 1 || keys[0].Thumbprint() != deploymenttest.JWK(t, d.IdentityKey(role)).Thumbprint() {
			t.Errorf("identity key of %s is wrong", role)
		}
	}
	if len(a.IdentityKeys("proposer")) != 0 {
		t.Error("the proposer has an identity key")
	}
}
