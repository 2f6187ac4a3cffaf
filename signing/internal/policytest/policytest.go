// Package policytest plays the policy services in tests of the signing
// service, by hand and from the specification rather than by the policy
// runtime: it says exactly what a test tells it to say, true or not. Only
// tests import it.
package policytest

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
)

// Lifetime is how long announcements and approvals are valid.
const Lifetime = 5 * time.Minute

// Role is one instance of one policy service.
type Role struct {
	Name     string
	Instance string
	Key      ed25519.PrivateKey // the ephemeral key
	Identity ed25519.PrivateKey

	t       testing.TB
	d       *deploymenttest.Deployment
	Keyring *secrets.Keyring
	epochs  []seat
}

type seat struct {
	id      message.EpochID
	channel *hpkeshare.Channel
}

// New returns an instance of a role with a fresh ephemeral key.
func New(t testing.TB, d *deploymenttest.Deployment, name string) *Role {
	t.Helper()
	return &Role{
		Name: name, Instance: name + "-1", Key: deploymenttest.Key(t),
		Identity: d.IdentityKey(name), t: t, d: d, Keyring: d.Keyrings[name],
	}
}

// JWK returns the ephemeral public key.
func (r *Role) JWK() message.JWK { return deploymenttest.JWK(r.t, r.Key) }

// Announce answers a hello. The edits are made before the identity signature
// and the MAC.
func (r *Role) Announce(hello []byte, now time.Time, edits ...func(*message.AnnouncementBody)) []byte {
	r.t.Helper()
	var h message.Hello
	purpose := secrets.Hello(r.Name)
	key, err := r.Keyring.Key(purpose, r.Keyring.Generation())
	must(r.t, err)
	must(r.t, message.VerifyMAC(message.TypHello, secrets.KeyID(purpose, r.Keyring.Generation()), key.Bytes(), hello, &h))
	info := hpkeshare.Info{
		Deployment: r.d.ID, Generation: h.Generation, Role: r.Name, Instance: r.Instance, Hello: message.Sum(hello),
	}
	info.PublicKey, err = hpkeshare.KeyHash(r.JWK())
	must(r.t, err)
	encapsulation, channel, err := hpkeshare.Announce(h.HPKEKey, info)
	must(r.t, err)
	r.epochs = append(r.epochs, seat{h.Epoch, channel})
	body := message.AnnouncementBody{
		Origin: h.Origin, Role: r.Name, Instance: r.Instance, Epoch: h.Epoch, Hello: info.Hello,
		Encapsulation: encapsulation, PublicKey: r.JWK(),
		Issued: message.At(now), Expires: message.At(now.Add(Lifetime)),
	}
	for _, edit := range edits {
		edit(&body)
	}
	return r.MAC(message.Announcement{AnnouncementBody: body, Identity: r.SignIdentity(body)})
}

// SignIdentity signs an announcement with the role's identity key.
func (r *Role) SignIdentity(body message.AnnouncementBody) []byte {
	r.t.Helper()
	input, err := body.IdentityInput()
	must(r.t, err)
	return ed25519.Sign(r.Identity, input)
}

// MAC puts the role's MAC on an announcement.
func (r *Role) MAC(a message.Announcement) []byte {
	r.t.Helper()
	purpose := secrets.Announce(r.Name)
	key, err := r.Keyring.Key(purpose, r.Keyring.Generation())
	must(r.t, err)
	compact, err := message.SignMAC(message.TypAnnouncement, secrets.KeyID(purpose, r.Keyring.Generation()), key.Bytes(), a)
	must(r.t, err)
	return compact
}

// Asked is a request as a policy service sees it.
type Asked struct {
	ID       string
	Envelope []byte
	Meaning  transaction.Meaning
	Policy   message.PolicyRef
	Votes    []string
}

// Answer is a reply on the queue.
type Answer struct {
	Approval   []byte
	Attachment []byte
	Epochs     []message.EpochID
	Rejection  bool
}

// Edit changes an approval and what stands beside it, before the approval is
// signed.
type Edit func(*message.Approval, *message.Attachment)

// Approve approves, with the shares for every epoch that the role announced
// to.
func (r *Role) Approve(asked Asked, now time.Time, edits ...Edit) Answer {
	r.t.Helper()
	a := r.approval(asked, now)
	at := message.Attachment{Evidence: asked.Votes}
	for _, vote := range asked.Votes {
		a.Evidence = append(a.Evidence, message.Sum([]byte(vote)))
	}
	for _, s := range r.epochs {
		at.Shares = append(at.Shares, r.Shares(s.id, asked))
	}
	a.Epochs = r.Named(at.Shares)
	for _, edit := range edits {
		edit(&a, &at)
	}
	return r.Answer(a, at)
}

// Reject rejects with one reason.
func (r *Role) Reject(asked Asked, now time.Time, code string, edits ...Edit) Answer {
	r.t.Helper()
	a := r.approval(asked, now)
	a.Decision = message.Reject
	a.Reasons = []message.Reason{{Code: code, Detail: "said in a test"}}
	var at message.Attachment
	for _, s := range r.epochs {
		at.Shares = append(at.Shares, message.Shares{Epoch: s.id})
	}
	a.Epochs = r.Named(at.Shares)
	for _, edit := range edits {
		edit(&a, &at)
	}
	return r.Answer(a, at)
}

func (r *Role) approval(asked Asked, now time.Time) message.Approval {
	m := asked.Meaning
	return message.Approval{
		Origin: message.Origin{
			Version: message.Version, Deployment: r.d.ID, Generation: r.Keyring.Generation(),
		},
		Role: r.Name, Instance: r.Instance, Request: asked.ID, Envelope: message.Sum(asked.Envelope),
		Kind: m.Statement.Kind, Wallet: m.Wallet, Account: m.Account, Descriptor: m.Descriptor,
		Digests: m.Digests, Decision: message.Approve, Policy: asked.Policy,
		Issued: message.At(now), Expires: message.At(now.Add(Lifetime)),
	}
}

// Shares seals the shares that a request asks for, for one epoch.
func (r *Role) Shares(epoch message.EpochID, asked Asked) message.Shares {
	r.t.Helper()
	out := message.Shares{Epoch: epoch}
	for _, release := range asked.Meaning.Releases {
		key, err := r.Keyring.Key(secrets.Share(r.Name), release.Generation)
		must(r.t, err)
		share, err := secrets.NewShare(key, release.Scope, release.ID)
		must(r.t, err)
		sealed, err := r.channel(epoch).Seal(hpkeshare.ShareContext{
			Request: asked.ID, Envelope: message.Sum(asked.Envelope), Role: r.Name,
			Scope: release.Scope, ID: release.ID, Generation: release.Generation,
		}, share)
		must(r.t, err)
		out.Shares = append(out.Shares, message.SealedShare{
			Scope: release.Scope, ID: release.ID, Generation: release.Generation, Sealed: sealed,
		})
	}
	return out
}

func (r *Role) channel(epoch message.EpochID) *hpkeshare.Channel {
	r.t.Helper()
	for _, s := range r.epochs {
		if s.id == epoch {
			return s.channel
		}
	}
	r.t.Fatalf("%s never announced to epoch %s", r.Name, epoch)
	return nil
}

// Named returns what an approval says of these shares.
func (r *Role) Named(all []message.Shares) []message.EpochShares {
	r.t.Helper()
	var out []message.EpochShares
	for _, s := range all {
		sum, err := s.Hash()
		must(r.t, err)
		out = append(out, message.EpochShares{Epoch: s.Epoch, Shares: sum})
	}
	return out
}

// Answer signs an approval with the ephemeral key.
func (r *Role) Answer(a message.Approval, at message.Attachment) Answer {
	r.t.Helper()
	compact, err := message.SignEd25519(message.TypApproval, r.JWK().Thumbprint(), r.Key, a)
	must(r.t, err)
	attachment, err := message.Encode(at)
	must(r.t, err)
	out := Answer{Approval: compact, Attachment: attachment, Rejection: a.Decision == message.Reject}
	for _, e := range a.Epochs {
		out.Epochs = append(out.Epochs, e.Epoch)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
