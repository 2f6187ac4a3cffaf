package message_test

import (
	"bytes"
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
)

// Samples of every format with no field left empty, so that a test that walks
// over the fields sees all of them.

func h(s string) message.Hash { return message.Sum([]byte(s)) }

var (
	identityKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	macKey      = bytes.Repeat([]byte{2}, 32)
	now         = message.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	later       = message.At(now.Add(10 * time.Minute))
	origin      = message.Origin{Version: 1, Deployment: h("deployment"), Generation: 1}
	policyRef   = message.PolicyRef{Version: 3, Hash: h("policy")}
	requestID   = "0197e5c2-0000-7000-8000-000000000001"
	digests     = []message.Digest{{Algorithm: "secp256k1", Value: bytes.Repeat([]byte{7}, 32)}}
)

func jwk(tb testing.TB, seed byte) message.JWK {
	tb.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	j, err := message.NewJWK(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

func sampleHello() message.Hello {
	return message.Hello{
		Origin: origin, Role: "fraud", Instance: "signing-1", Epoch: message.EpochID{1, 2},
		HPKEKey: bytes.Repeat([]byte{3}, 1216), Policy: policyRef,
		Issued: now, Expires: later, Attestation: []byte("quote"),
	}
}

func sampleAnnouncement(tb testing.TB) message.Announcement {
	return message.Announcement{
		AnnouncementBody: message.AnnouncementBody{
			Origin: origin, Role: "fraud", Instance: "fraud-1", Epoch: message.EpochID{1, 2},
			Hello: h("hello"), Encapsulation: bytes.Repeat([]byte{4}, 1120),
			PublicKey: jwk(tb, 5), Issued: now, Expires: later, Attestation: []byte("quote"),
		},
		Identity: bytes.Repeat([]byte{6}, 64),
	}
}

func sampleApproval() message.Approval {
	return message.Approval{
		Origin: origin, Role: "fraud", Instance: "fraud-1", Request: requestID,
		Envelope: h("envelope"), Kind: message.KindEthereumTransaction,
		Wallet: h("wallet").String(), Account: h("account").String(), Descriptor: h("descriptor"),
		Digests: digests, Decision: message.Approve,
		Reasons: []message.Reason{{Code: "within_limits", Detail: "1 of 2"}},
		Policy:  policyRef, Evidence: []message.Hash{h("vote")}, Issued: now, Expires: later,
		Epochs: []message.EpochShares{{Epoch: message.EpochID{1, 2}, Shares: h("shares")}},
	}
}

func sampleResult() message.Result {
	return message.Result{
		Origin: origin, Request: requestID, Envelope: h("envelope"), Status: message.StatusSigned,
		Reasons: []message.RoleReason{{Role: "fraud", Reason: message.Reason{Code: "limit", Detail: "2 of 1"}}},
		Output:  jsontext.Value(`{"raw":"0x00"}`), Approvals: []message.Hash{h("approval")}, Time: now,
	}
}

func sampleVote() message.Vote {
	return message.Vote{
		Version: 1, Deployment: h("deployment"), Request: requestID, Envelope: h("envelope"),
		Digests: digests, Decision: message.Approve, Approver: "bob", Policy: h("policy"), Expires: later,
	}
}

func samplePolicySignature() message.PolicySignature {
	return message.PolicySignature{Version: 1, Deployment: h("deployment"), Policy: policyRef}
}

func sampleStatement() message.Statement {
	return message.Statement{
		ID: requestID, Audience: h("deployment"), Kind: message.KindEthereumMessage,
		Wallet: h("wallet").String(), Account: h("account").String(),
		Payload: jsontext.Value(`{"text":"hello"}`), Expires: later,
	}
}

func sampleEnvelope() message.Envelope {
	return message.Envelope{
		Version: 1, Deployment: h("deployment"), Statement: []byte(`{"id":"x"}`),
		Signature: message.HTTPSignature{Input: "sig=()", Signature: "sig=::", Authority: "a", ContentType: "application/json"},
		Received:  now,
	}
}

func sampleWalletDescriptor() message.WalletDescriptor {
	return message.WalletDescriptor{
		Version: 1, Deployment: h("deployment"), ID: h("wallet").String(), Owner: "alice",
		Roles: []string{"authorization", "fraud"}, Generation: 1, SeedType: "raw", Source: "software", Create: h("wallet"),
	}
}

func sampleAccountDescriptor() message.AccountDescriptor {
	return message.AccountDescriptor{
		Version: 1, Deployment: h("deployment"), ID: h("account").String(), Owner: "alice",
		Roles: []string{"authorization", "fraud"}, Generation: 1, SeedType: "raw", Source: "software", Create: h("account"),
		Wallet: h("wallet").String(), WalletHash: h("descriptor"), Chain: "eip155:1", Curve: "secp256k1",
		Path: "m/44'/60'/0'/0/0", PublicKey: bytes.Repeat([]byte{2}, 33), Address: "0x00",
	}
}

func sampleGenesis(tb testing.TB) message.Genesis {
	return message.Genesis{
		Version: 1, Name: "test", Mode: message.ModeStrict, Nonce: bytes.Repeat([]byte{9}, 16),
		Admins:    []message.Admin{{Name: "a", Key: jwk(tb, 10)}, {Name: "b", Key: jwk(tb, 11)}},
		Threshold: 2, Roles: []string{"authorization", "fraud", "approval"}, AttestationRoots: []string{"root"},
	}
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := message.Encode(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// mutants returns, by the path of the changed leaf, copies of v of which one
// leaf each is changed.
func mutants(tb testing.TB, v any) map[string]any {
	tb.Helper()
	out := map[string]any{}
	walk(reflect.TypeOf(v), nil, "", func(path []int, name string) {
		changed := reflect.New(reflect.TypeOf(v)).Elem()
		changed.Set(reflect.ValueOf(v))
		leaf := changed
		if len(path) > 0 { // an element that is itself a leaf has no path
			leaf = changed.FieldByIndex(path)
		}
		original := leaf.Interface()
		changeLeaf(tb, leaf, name)
		out[name] = changed.Interface()
		if leaf.Kind() != reflect.Slice || leaf.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for inner, element := range mutants(tb, reflect.ValueOf(original).Index(0).Interface()) {
			again := reflect.New(reflect.TypeOf(v)).Elem()
			again.Set(reflect.ValueOf(v))
			slice := reflect.MakeSlice(leaf.Type(), 0, 1)
			again.FieldByIndex(path).Set(reflect.Append(slice, reflect.ValueOf(element)))
			out[name+"[0]."+inner] = again.Interface()
		}
	})
	if len(out) == 0 {
		tb.Fatalf("%T has no leaves", v)
	}
	return out
}

var opaque = map[reflect.Type]bool{
	reflect.TypeFor[message.Time]():    true,
	reflect.TypeFor[message.Hash]():    true,
	reflect.TypeFor[message.EpochID](): true,
}

func walk(t reflect.Type, path []int, name string, visit func([]int, string)) {
	if t.Kind() != reflect.Struct || opaque[t] {
		visit(path, name)
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		walk(f.Type, append(append([]int{}, path...), i), strings.TrimPrefix(name+"."+f.Name, "."), visit)
	}
}

func changeLeaf(tb testing.TB, leaf reflect.Value, name string) {
	tb.Helper()
	switch x := leaf.Interface().(type) {
	case message.Time:
		leaf.Set(reflect.ValueOf(message.At(x.Add(time.Second))))
		return
	case message.Hash:
		x[31] ^= 1
		leaf.Set(reflect.ValueOf(x))
		return
	case message.EpochID:
		x[15] ^= 1
		leaf.Set(reflect.ValueOf(x))
		return
	case jsontext.Value:
		leaf.Set(reflect.ValueOf(jsontext.Value(`{"raw":"0x01"}`)))
		return
	}
	switch leaf.Kind() {
	case reflect.Int:
		leaf.SetInt(leaf.Int() + 1)
	case reflect.String:
		if leaf.Len() == 0 && !strings.HasSuffix(name, ".Y") {
			tb.Fatalf("sample leaves %s empty", name)
		}
		leaf.SetString(leaf.String() + "x")
	case reflect.Slice:
		changeSlice(tb, leaf, name)
	default:
		tb.Fatalf("no mutation for %s (%s)", name, leaf.Type())
	}
}

// changeSlice appends a byte, or repeats the first element: mutants also changes
// what is inside the first element.
func changeSlice(tb testing.TB, leaf reflect.Value, name string) {
	tb.Helper()
	if leaf.Len() == 0 && !strings.HasSuffix(name, ".Y") {
		tb.Fatalf("sample leaves %s empty", name)
	}
	clone := reflect.MakeSlice(leaf.Type(), 0, leaf.Len()+1)
	clone = reflect.AppendSlice(clone, leaf)
	if leaf.Type().Elem().Kind() == reflect.Uint8 {
		leaf.Set(reflect.Append(clone, reflect.ValueOf(byte(1))))
		return
	}
	leaf.Set(reflect.Append(clone, leaf.Index(0)))
}
