package message_test

import (
	"bytes"
	"crypto/ed25519"
	"reflect"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// The property of every format: what decodes encodes to the same bytes, or is
// refused. The fuzzer writes the payload; the test signs it with the format's
// own key, as a dishonest holder of that key could, so that the fuzzer gets
// past the signature.

func fuzzMAC[T any](f *testing.F, typ message.Typ, sample T) {
	f.Helper()
	const kid = "hello/fraud/1"
	seeds(f, sample)
	header := `{"alg":"HS256","kid":"` + kid + `","typ":"` + string(typ) + `"}`
	f.Fuzz(func(t *testing.T, payload []byte) {
		compact := mac(macKey, header, payload)
		var got T
		if err := message.VerifyMAC(typ, kid, macKey, compact, &got); err != nil {
			return
		}
		again, err := message.SignMAC(typ, kid, macKey, got)
		if err != nil || !bytes.Equal(again, compact) {
			t.Errorf("%s verifies, but signs to %s (%v)", compact, again, err)
		}
		sameEncoding(t, payload, got)
	})
}

func fuzzSigned[T any](f *testing.F, typ message.Typ, sample T) {
	f.Helper()
	kid := thumbprint()
	seeds(f, sample)
	header := `{"alg":"EdDSA","kid":"` + kid + `","typ":"` + string(typ) + `"}`
	f.Fuzz(func(t *testing.T, payload []byte) {
		compact := edSign(identityKey, header, payload)
		var got T
		if err := message.VerifyEd25519(typ, kid, identityKey.Public().(ed25519.PublicKey), compact, &got); err != nil {
			return
		}
		again, err := message.SignEd25519(typ, kid, identityKey, got)
		if err != nil || !bytes.Equal(again, compact) {
			t.Errorf("%s verifies, but signs to %s (%v)", compact, again, err)
		}
		sameEncoding(t, payload, got)
	})
}

func fuzzPlain[T any](f *testing.F, sample T) {
	f.Helper()
	seeds(f, sample)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got T
		if err := message.Decode(b, &got); err == nil {
			sameEncoding(t, b, got)
		}
	})
}

// sameEncoding also reads the encoding back: nothing may be lost on the way.
func sameEncoding[T any](t *testing.T, b []byte, got T) {
	t.Helper()
	again := encode(t, got)
	if !bytes.Equal(again, b) {
		t.Errorf("%s decodes, but encodes to %s", b, again)
	}
	var twice T
	if err := message.Decode(again, &twice); err != nil || !reflect.DeepEqual(got, twice) {
		t.Errorf("%s reads back as something else (%v)", again, err)
	}
}

func seeds(f *testing.F, sample any) {
	f.Helper()
	good := encode(f, sample)
	f.Add(good)
	f.Add(append([]byte(" "), good...))
	f.Add(append(bytes.Clone(good), good...))
	f.Add(addMember(good, `"version":1`))
	f.Add(addMember(good, `"VERSION":1`))
	f.Add(bytes.ReplaceAll(good, []byte(`"`), []byte(`\u0022`)))
	f.Add(bytes.ReplaceAll(good, []byte("1"), []byte("1e0")))
	f.Add(bytes.ReplaceAll(good, []byte("a"), []byte(`\u0061`)))
	f.Add([]byte("{}"))
	f.Add([]byte("null"))
}

// The long keys are cut: the fuzzer would spend its time on their letters.
func FuzzHello(f *testing.F) {
	v := sampleHello()
	v.HPKEKey = v.HPKEKey[:4]
	fuzzMAC(f, message.TypHello, v)
}

func FuzzAnnouncement(f *testing.F) {
	v := sampleAnnouncement(f)
	v.Encapsulation, v.Identity = v.Encapsulation[:4], v.Identity[:4]
	fuzzMAC(f, message.TypAnnouncement, v)
}

func FuzzApproval(f *testing.F) { fuzzSigned(f, message.TypApproval, sampleApproval()) }
func FuzzResult(f *testing.F)   { fuzzSigned(f, message.TypResult, sampleResult()) }
func FuzzVote(f *testing.F)     { fuzzSigned(f, message.TypVote, sampleVote()) }
func FuzzPolicySignature(f *testing.F) {
	fuzzSigned(f, message.TypPolicySignature, samplePolicySignature())
}
func FuzzEnvelope(f *testing.F)          { fuzzPlain(f, sampleEnvelope()) }
func FuzzWalletDescriptor(f *testing.F)  { fuzzPlain(f, sampleWalletDescriptor()) }
func FuzzAccountDescriptor(f *testing.F) { fuzzPlain(f, sampleAccountDescriptor()) }
func FuzzPolicyBundle(f *testing.F) {
	fuzzPlain(f, message.PolicyBundle{Document: []byte("version: 1\n"), Signatures: []string{"a.b.c"}})
}

func FuzzAttachment(f *testing.F) {
	fuzzPlain(f, message.Attachment{
		Shares: []message.Shares{{Epoch: message.EpochID{1}, Shares: []message.SealedShare{{
			Scope: message.ScopeAccount, ID: h("account").String(), Generation: 1, Sealed: bytes.Repeat([]byte{1}, 48),
		}}}},
		Evidence: []string{"a.b.c"},
	})
}

func FuzzGenesis(f *testing.F) {
	seeds(f, sampleGenesis(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, id, err := message.ParseGenesis(b)
		if err != nil {
			return
		}
		if id != message.Sum(b) {
			t.Error("the deployment id is not the hash of the bytes")
		}
		sameEncoding(t, b, g)
	})
}

// A statement is a user's: white space and order are free, but it must mean
// one thing only, which its re-encoding keeps.
func FuzzStatement(f *testing.F) {
	seeds(f, sampleStatement())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := message.ParseStatement(b, h("deployment"))
		if err != nil {
			return
		}
		again, err := message.ParseStatement(encode(t, s), h("deployment"))
		if err != nil || !bytes.Equal(encode(t, s), encode(t, again)) {
			t.Errorf("%s means another thing when it is written again (%v)", b, err)
		}
	})
}

// FuzzCompact gives the fuzzer the whole JWS: nothing but the original
// verifies, and nothing panics.
func FuzzCompact(f *testing.F) {
	var originals [][]byte
	all := kinds(f)
	for _, k := range all {
		compact, err := k.sign()
		if err != nil {
			f.Fatal(err)
		}
		originals = append(originals, compact)
		f.Add(compact)
	}
	f.Fuzz(func(t *testing.T, compact []byte) {
		for name, k := range all {
			if _, err := k.verify(compact); err != nil {
				continue
			}
			found := false
			for _, o := range originals {
				found = found || bytes.Equal(o, compact)
			}
			if !found {
				t.Errorf("%s verifies as %s", compact, name)
			}
		}
		_, _ = message.KeyID(message.TypVote, compact)
		_ = message.Peek(compact, &message.Vote{})
	})
}
