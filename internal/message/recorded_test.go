package message_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// Recorded messages stand for a service of the release before: today's code
// must read each, and must write the same bytes for the same content, so that
// the other reads it too. See testdata/recorded/README.md.

var record = flag.Bool("record", false, "write the recordings that are missing; none is ever overwritten")

const recorded = "testdata/recorded"

// recording returns the recorded bytes of a message. With -record it writes
// what today's code makes, where there is no recording.
func recording(t *testing.T, name string, today func() []byte) []byte {
	t.Helper()
	path := filepath.Join(recorded, name)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) && *record {
		b = today()
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(t *testing.T, typ message.Typ, key ed25519.PrivateKey, v any) []byte {
	t.Helper()
	public, err := message.NewJWK(key.Public())
	must(t, err)
	b, err := message.SignEd25519(typ, public.Thumbprint(), key, v)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// form is one recorded kind of message: how today's code makes it from the
// sample, and what it makes of the recording after reading it.
type form struct {
	make  func(t *testing.T) []byte
	again func(t *testing.T, b []byte) []byte
}

// macked is a message under a MAC key.
func macked[T any](typ message.Typ, kid string, sample func(*testing.T) T) form {
	write := func(t *testing.T, v T) []byte {
		b, err := message.SignMAC(typ, kid, macKey, v)
		must(t, err)
		return b
	}
	return form{
		make: func(t *testing.T) []byte { return write(t, sample(t)) },
		again: func(t *testing.T, b []byte) []byte {
			var got T
			must(t, message.VerifyMAC(typ, kid, macKey, b, &got))
			return write(t, got)
		},
	}
}

// signed is a message under an Ed25519 key.
func signed[T any](typ message.Typ, sample func() T) form {
	return form{
		make: func(t *testing.T) []byte { return sign(t, typ, identityKey, sample()) },
		again: func(t *testing.T, b []byte) []byte {
			kid, err := message.KeyID(typ, b)
			must(t, err)
			var got T
			must(t, message.VerifyEd25519(typ, kid, identityKey.Public().(ed25519.PublicKey), b, &got))
			return sign(t, typ, identityKey, got)
		},
	}
}

// plainly is a message that nobody signs.
func plainly[T any](sample func(*testing.T) T) form {
	return form{
		make: func(t *testing.T) []byte { return encode(t, sample(t)) },
		again: func(t *testing.T, b []byte) []byte {
			var got T
			must(t, message.Decode(b, &got))
			return encode(t, got)
		},
	}
}

func sampleRejection() message.Approval {
	a := sampleApproval()
	a.Decision, a.Digests, a.Evidence = message.Reject, []message.Digest{}, []message.Hash{}
	a.Reasons = []message.Reason{{Code: "limit_exceeded", Detail: "2 of 1"}}
	return a
}

func sampleAttachment(t *testing.T) message.Attachment {
	return message.Attachment{
		Shares: []message.Shares{{Epoch: message.EpochID{1, 2}, Shares: []message.SealedShare{
			{Scope: message.ScopeAccount, ID: h("account").String(), Generation: 1, Sealed: bytes.Repeat([]byte{8}, 48)},
		}}},
		Evidence: []string{string(sign(t, message.TypVote, identityKey, sampleVote()))},
	}
}

// sampleRejectionAttachment names the epoch and releases nothing.
func sampleRejectionAttachment(*testing.T) message.Attachment {
	return message.Attachment{
		Shares:   []message.Shares{{Epoch: message.EpochID{1, 2}, Shares: []message.SealedShare{}}},
		Evidence: []string{},
	}
}

// of gives a sample the form that takes a test.
func of[T any](sample func() T) func(*testing.T) T { return func(*testing.T) T { return sample() } }

// forms are the recorded messages of this package, by file.
func forms() map[string]form {
	return map[string]form{
		"hello.jws": macked(message.TypHello, "hello/fraud/1", of(sampleHello)),
		"announcement.jws": macked(message.TypAnnouncement, "announce/fraud/1",
			func(t *testing.T) message.Announcement { return sampleAnnouncement(t) }),
		"approval.jws":             signed(message.TypApproval, sampleApproval),
		"approval-attachment.json": plainly(sampleAttachment),
		"rejection.jws":            signed(message.TypApproval, sampleRejection),
		"rejection-attachment.json": plainly(
			sampleRejectionAttachment),
		"vote.jws":                signed(message.TypVote, sampleVote),
		"result.jws":              signed(message.TypResult, sampleResult),
		"policy-signature.jws":    signed(message.TypPolicySignature, samplePolicySignature),
		"envelope.json":           plainly(of(sampleEnvelope)),
		"wallet-descriptor.json":  plainly(of(sampleWalletDescriptor)),
		"account-descriptor.json": plainly(of(sampleAccountDescriptor)),
		"statement.json": {
			make: func(t *testing.T) []byte { return encode(t, sampleStatement()) },
			again: func(t *testing.T, b []byte) []byte {
				got, err := message.ParseStatement(b, h("deployment"))
				must(t, err)
				return encode(t, got)
			},
		},
		"genesis.json": {
			make: func(t *testing.T) []byte { return encode(t, sampleGenesis(t)) },
			again: func(t *testing.T, b []byte) []byte {
				got, id, err := message.ParseGenesis(b)
				must(t, err)
				if id != message.Sum(b) {
					t.Errorf("the deployment id is %s", id)
				}
				return encode(t, got)
			},
		},
	}
}

// policyBundle and recordEntries are recorded too, by the tests below.
const (
	policyBundle    = "policy-bundle-2.json"
	oldPolicyBundle = "policy-bundle.json"
	recordEntries   = "record-entries-2.json"
	// oldRecordEntries are from before a role kept more than amounts.
	oldRecordEntries = "record-entries.json"
)

func TestRecordedMessages(t *testing.T) {
	for name, k := range forms() {
		t.Run(name, func(t *testing.T) {
			b := recording(t, name, func() []byte { return k.make(t) })
			if again := k.again(t, b); !bytes.Equal(again, b) {
				t.Errorf("is read, but written as\n%s, not\n%s", again, b)
			}
			if today := k.make(t); !bytes.Equal(today, b) {
				t.Errorf("today's code says the same as\n%s, a release ago it was\n%s", today, b)
			}
		})
	}
}

// Nothing is recorded that is not tested, and each typ has a recording.
func TestRecordingsAreComplete(t *testing.T) {
	files, err := os.ReadDir(recorded)
	must(t, err)
	known := forms()
	for _, name := range []string{policyBundle, oldPolicyBundle, recordEntries, oldRecordEntries, "README.md"} {
		known[name] = form{}
	}
	var all []byte
	for _, f := range files {
		if _, ok := known[f.Name()]; !ok {
			t.Errorf("no test reads %s", f.Name())
		}
		delete(known, f.Name())
		b, err := os.ReadFile(filepath.Join(recorded, f.Name()))
		must(t, err)
		if filepath.Ext(f.Name()) == ".jws" {
			all = append(append(all, header(t, b)...), '\n')
		}
	}
	for name := range known {
		t.Errorf("%s is missing", name)
	}
	labels, err := os.ReadFile("labels.go")
	must(t, err)
	typs := regexp.MustCompile(`Typ = "([^"]+)"`).FindAllSubmatch(labels, -1)
	if len(typs) < 6 {
		t.Fatalf("labels.go has %d typs", len(typs))
	}
	for _, m := range typs {
		if !bytes.Contains(all, []byte(`"typ":"`+string(m[1])+`"`)) {
			t.Errorf("no recording has typ %s", m[1])
		}
	}
}

// header returns a compact JWS' protected header.
func header(t *testing.T, compact []byte) []byte {
	t.Helper()
	first, _, _ := bytes.Cut(compact, []byte("."))
	var raw message.Bytes
	must(t, json.Unmarshal([]byte(`"`+string(first)+`"`), &raw))
	return raw
}

// recordedGenesis is the genesis document of the bundle and the record chain.
func recordedGenesis(t *testing.T) (message.Genesis, message.Hash) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(recorded, "genesis.json"))
	must(t, err)
	g, id, err := message.ParseGenesis(b)
	must(t, err)
	return g, id
}

func samplePolicy(t *testing.T, id message.Hash) []byte {
	t.Helper()
	moving := []message.Kind{message.KindEthereumTransaction}
	d := document.Document{
		Version: 3, Deployment: id.String(), Expires: document.At(time.Date(2126, 11, 21, 12, 0, 0, 0, time.UTC)),
		Services: map[string][]message.JWK{},
		Users: []document.User{{
			ID: "alice", Issuer: "https://login.example", Subject: "alice",
			Certificates: []string{h("certificate").String()}, Keys: []message.JWK{jwk(t, 20)},
		}},
		Approvers: []document.Approver{{ID: "bob", User: "alice", Keys: []message.JWK{jwk(t, 21)}}},
		Groups:    []document.Group{{ID: "desk", Members: []string{"alice", "bob"}}},
		Lists: []document.List{{ID: "denied", Entries: []document.Entry{{
			Account: "eip155:1:0x000000000000000000000000000000000000dead", Label: "burnt",
			Since: document.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)),
		}}}},
		Assets: []document.Asset{{ID: "eth", Asset: "eip155:1/slip44:60", Decimals: 18}},
		Calls:  []document.Call{{Function: "transfer(address to,uint256 value)"}},
		Grants: []document.Grant{{
			Users: []string{"alice"}, Kinds: []message.Kind{message.KindWalletCreate, message.KindEthereumTransaction},
			Wallets: []string{document.WalletsOwn},
		}},
		Rules: document.Rules{
			Authorization: []document.Rule{{ID: "granted", Effect: document.EffectAllow, When: "true"}},
			Fraud: []document.Rule{
				{ID: "denied", Effect: document.EffectDeny, Kinds: moving, When: `tx.destinations.exists(d, listed("denied", d))`, Reason: "on the list"},
				{ID: "rest", Effect: document.EffectAllow, When: "true", UnknownCalls: true},
			},
			Approval: []document.Rule{
				{ID: "large", Effect: document.EffectAsk, Kinds: moving, When: `amount_of(asset("eth")) > 1`, Approvers: []string{"bob"}, Quorum: 1},
				{ID: "rest", Effect: document.EffectAllow, When: "true"},
			},
		},
		Approval: document.Approval{Approvers: []string{"bob"}, Quorum: 1},
	}
	for i, role := range []string{"signing", "authorization", "fraud", "approval"} {
		d.Services[role] = []message.JWK{jwk(t, byte(30+i))}
	}
	raw, err := yaml.Marshal(d)
	must(t, err)
	return raw
}

// A document that a quorum signed a release ago still counts; another release
// would sign the same.
func TestRecordedPolicyBundle(t *testing.T) {
	genesis, id := recordedGenesis(t)
	signatures := func(raw []byte) (out []string) {
		for _, seed := range []byte{10, 11} {
			compact, err := document.Sign(raw, id, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
			must(t, err)
			out = append(out, compact)
		}
		return out
	}
	b := recording(t, policyBundle, func() []byte {
		raw := samplePolicy(t, id)
		return encode(t, message.PolicyBundle{Document: raw, Signatures: signatures(raw)})
	})
	var bundle message.PolicyBundle
	must(t, message.Decode(b, &bundle))
	active, err := document.VerifyBundle(bundle, genesis, id)
	must(t, err)
	if active.Version != 3 || len(active.Users) != 1 || active.Approval.Quorum != 1 {
		t.Errorf("read as %+v", active.Document)
	}
	for _, role := range genesis.Roles {
		_, err := rules.Compile(active.Document, role, active.Files())
		must(t, err)
	}
	if again := encode(t, bundle); !bytes.Equal(again, b) {
		t.Errorf("written as\n%s, not\n%s", again, b)
	}
	if again := signatures(bundle.Document); !slices.Equal(again, bundle.Signatures) {
		t.Errorf("today's admins would sign\n%s, a release ago it was\n%s", again, bundle.Signatures)
	}
}

// A document from before there were rules stands in the succession by its
// signatures, but nothing is decided under it: it does not say what to allow.
func TestRecordedPolicyBundleWithoutRules(t *testing.T) {
	genesis, id := recordedGenesis(t)
	b := recording(t, oldPolicyBundle, func() []byte { t.Fatal("no code writes it any more"); return nil })
	var bundle message.PolicyBundle
	must(t, message.Decode(b, &bundle))
	signed, err := document.VerifySigned(bundle, document.GenesisQuorum(genesis), genesis, id)
	must(t, err)
	if signed.Ref != (message.PolicyRef{Version: 3, Hash: message.Sum(bundle.Document)}) || len(signed.Next.Admins) != len(genesis.Admins) {
		t.Errorf("read as %+v", signed)
	}
	if _, err := document.VerifyBundle(bundle, genesis, id); err == nil {
		t.Error("requests are decided under it")
	}
}
