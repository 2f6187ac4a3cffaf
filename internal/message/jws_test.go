package message_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

// kind is one signed message as its receivers verify it.
type kind struct {
	typ    message.Typ
	kid    string
	sample any
	sign   func() ([]byte, error)
	verify func(compact []byte) (any, error)
}

func macKind[T any](typ message.Typ, kid string, sample T) kind {
	return kind{typ, kid, sample,
		func() ([]byte, error) { return message.SignMAC(typ, kid, macKey, sample) },
		func(compact []byte) (any, error) {
			var got T
			err := message.VerifyMAC(typ, kid, macKey, compact, &got)
			return got, err
		}}
}

func edKind[T any](typ message.Typ, sample T) kind {
	kid := thumbprint()
	return kind{typ, kid, sample,
		func() ([]byte, error) { return message.SignEd25519(typ, kid, identityKey, sample) },
		func(compact []byte) (any, error) {
			var got T
			err := message.VerifyEd25519(typ, kid, identityKey.Public().(ed25519.PublicKey), compact, &got)
			return got, err
		}}
}

func thumbprint() string {
	j, err := message.NewJWK(identityKey.Public())
	if err != nil {
		panic(err)
	}
	return j.Thumbprint()
}

func kinds(tb testing.TB) map[string]kind {
	return map[string]kind{
		"hello":            macKind(message.TypHello, "hello/fraud/1", sampleHello()),
		"announcement":     macKind(message.TypAnnouncement, "announce/fraud/1", sampleAnnouncement(tb)),
		"approval":         edKind(message.TypApproval, sampleApproval()),
		"result":           edKind(message.TypResult, sampleResult()),
		"vote":             edKind(message.TypVote, sampleVote()),
		"policy-signature": edKind(message.TypPolicySignature, samplePolicySignature()),
	}
}

// everyKind signs a sample of each kind and hands it to the test.
func everyKind(t *testing.T, run func(t *testing.T, k kind, compact []byte)) {
	t.Helper()
	for name, k := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			compact, err := k.sign()
			if err != nil {
				t.Fatal(err)
			}
			run(t, k, compact)
		})
	}
}

var raw64 = base64.RawURLEncoding

// mac makes a compact JWS under HS256 with any header and payload.
func mac(key []byte, header string, payload []byte) []byte {
	input := raw64.EncodeToString([]byte(header)) + "." + raw64.EncodeToString(payload)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(input))
	return []byte(input + "." + raw64.EncodeToString(m.Sum(nil)))
}

// edSign makes a compact JWS under Ed25519 with any header and payload.
func edSign(key ed25519.PrivateKey, header string, payload []byte) []byte {
	input := raw64.EncodeToString([]byte(header)) + "." + raw64.EncodeToString(payload)
	return []byte(input + "." + raw64.EncodeToString(ed25519.Sign(key, []byte(input))))
}

// signAny signs with the kind's own key: what a dishonest holder could send.
func (k kind) signAny(header string, payload []byte) []byte {
	if k.isMAC() {
		return mac(macKey, header, payload)
	}
	return edSign(identityKey, header, payload)
}

func (k kind) isMAC() bool { return k.typ == message.TypHello || k.typ == message.TypAnnouncement }

func (k kind) alg() string {
	if k.isMAC() {
		return "HS256"
	}
	return "EdDSA"
}

func (k kind) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, k.alg(), k.kid, k.typ)
}

func TestSignedMessagesVerify(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind, compact []byte) {
		got, err := k.verify(compact)
		if err != nil || !reflect.DeepEqual(got, k.sample) {
			t.Fatalf("verified %+v, %v", got, err)
		}
		if id, err := message.KeyID(k.typ, compact); err != nil || id != k.kid {
			t.Errorf("kid %q, %v", id, err)
		}
		if !bytes.Equal(compact, k.signAny(k.header(), encode(t, k.sample))) {
			t.Error("the JWS is not that of RFC 7515 over the expected header and encoding")
		}
		again, err := k.sign()
		if err != nil || !bytes.Equal(again, compact) {
			t.Errorf("signing again gives other bytes (%v)", err)
		}
		peeked := reflect.New(reflect.TypeOf(k.sample))
		if err := message.Peek(compact, peeked.Interface()); err != nil || !reflect.DeepEqual(peeked.Elem().Interface(), k.sample) {
			t.Errorf("peek: %v", err)
		}
	})
}

func TestAttackMACCoversLessThanAllFields(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind, compact []byte) {
		parts := strings.Split(string(compact), ".")
		original := encode(t, k.sample)
		for name, mutant := range mutants(t, k.sample) {
			payload := encode(t, mutant)
			if bytes.Equal(payload, original) {
				t.Errorf("%s is not in the encoding", name)
				continue
			}
			forged := parts[0] + "." + raw64.EncodeToString(payload) + "." + parts[2]
			if _, err := k.verify([]byte(forged)); !errors.Is(err, message.ErrSignature) {
				t.Errorf("%s changed: %v", name, err)
			}
		}
		for i := range compact {
			changed := bytes.Clone(compact)
			changed[i] ^= 1
			if _, err := k.verify(changed); err == nil {
				t.Fatalf("byte %d changed: verifies", i)
			}
		}
		for n := range compact {
			if _, err := k.verify(compact[:n]); err == nil {
				t.Fatalf("cut to %d bytes: verifies", n)
			}
		}
	})
}

func TestAttackIdentitySignatureCoversLess(t *testing.T) {
	body := sampleAnnouncement(t).AnnouncementBody
	original, err := body.IdentityInput()
	if err != nil {
		t.Fatal(err)
	}
	for name, mutant := range mutants(t, body) {
		input, err := mutant.(message.AnnouncementBody).IdentityInput()
		if err != nil || bytes.Equal(input, original) {
			t.Errorf("%s is not covered (%v)", name, err)
		}
	}
}

func TestAttackMessageMovedBetweenTypes(t *testing.T) {
	all := kinds(t)
	everyKind(t, func(t *testing.T, k kind, _ []byte) {
		for name, other := range all {
			if other.typ == k.typ {
				continue
			}
			// Another kind's message as it is, and that kind's payload under
			// this kind's header.
			compact, err := other.sign()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.verify(compact); !errors.Is(err, message.ErrHeader) {
				t.Errorf("a %s verifies: %v", name, err)
			}
			parts := strings.Split(string(compact), ".")
			moved := raw64.EncodeToString([]byte(k.header())) + "." + parts[1] + "." + parts[2]
			if _, err := k.verify([]byte(moved)); err == nil {
				t.Errorf("a %s under the header of another kind verifies", name)
			}
			if _, err := k.verify(k.signAny(k.header(), encode(t, other.sample))); err == nil {
				t.Errorf("the members of a %s verify in another kind", name)
			}
			if _, err := message.KeyID(k.typ, compact); err == nil {
				t.Errorf("the key id of a %s is given for another kind", name)
			}
		}
		if _, err := k.verify(k.signAny(strings.Replace(k.header(), k.kid, "hello/approval/1", 1), encode(t, k.sample))); !errors.Is(err, message.ErrHeader) {
			t.Errorf("another kid: %v", err)
		}
	})
}

func TestAttackAlgorithmGames(t *testing.T) {
	everyKind(t, func(t *testing.T, k kind, compact []byte) {
		payload := encode(t, k.sample)
		parts := strings.Split(string(compact), ".")
		own, err := message.NewJWK(identityKey.Public())
		if err != nil {
			t.Fatal(err)
		}
		attacker := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x66}, 32))
		theirs, err := message.NewJWK(attacker.Public())
		if err != nil {
			t.Fatal(err)
		}
		with := func(member string) string { return strings.TrimSuffix(k.header(), "}") + "," + member + "}" }
		alg := func(a string) string { return strings.Replace(k.header(), k.alg(), a, 1) }
		for name, forged := range map[string][]byte{
			"none":                   []byte(raw64.EncodeToString([]byte(alg("none"))) + "." + parts[1] + "."),
			"none-with-signature":    []byte(raw64.EncodeToString([]byte(alg("none"))) + "." + parts[1] + "." + parts[2]),
			"None":                   []byte(raw64.EncodeToString([]byte(alg("None"))) + "." + parts[1] + "."),
			"no-signature":           []byte(parts[0] + "." + parts[1] + "."),
			"hs256-with-public-key":  mac(own.X, alg("HS256"), payload),
			"hs256-with-jwk-text":    mac(encode(t, own), alg("HS256"), payload),
			"hs256-empty-key":        mac(nil, alg("HS256"), payload),
			"hs512":                  k.signAny(alg("HS512"), payload),
			"es256":                  k.signAny(alg("ES256"), payload),
			"eddsa-by-attacker":      edSign(attacker, alg("EdDSA"), payload),
			"jwk":                    edSign(attacker, strings.Replace(with(`"jwk":`+string(encode(t, theirs))), k.alg(), "EdDSA", 1), payload),
			"jwk-own-signature":      k.signAny(with(`"jwk":`+string(encode(t, theirs))), payload),
			"jku":                    k.signAny(with(`"jku":"https://attacker.example/keys"`), payload),
			"x5u":                    k.signAny(with(`"x5u":"https://attacker.example/cert"`), payload),
			"x5c":                    k.signAny(with(`"x5c":["AAAA"]`), payload),
			"crit":                   k.signAny(with(`"crit":["exp"],"exp":1`), payload),
			"b64":                    k.signAny(with(`"b64":false,"crit":["b64"]`), payload),
			"zip":                    k.signAny(with(`"zip":"DEF"`), payload),
			"cty":                    k.signAny(with(`"cty":"JWT"`), payload),
			"nonce":                  k.signAny(with(`"nonce":"1"`), payload),
			"upper-typ":              k.signAny(strings.Replace(k.header(), `"typ"`, `"TYP"`, 1), payload),
			"both-typ":               k.signAny(with(`"TYP":"JWT"`), payload),
			"typ-twice":              k.signAny(with(`"typ":"JWT"`), payload),
			"alg-twice":              k.signAny(with(`"alg":"none"`), payload),
			"typ-in-upper-case":      k.signAny(strings.Replace(k.header(), string(k.typ), strings.ToUpper(string(k.typ)), 1), payload),
			"typ-with-application":   k.signAny(strings.Replace(k.header(), string(k.typ), "application/"+string(k.typ), 1), payload),
			"no-typ":                 k.signAny(fmt.Sprintf(`{"alg":%q,"kid":%q}`, k.alg(), k.kid), payload),
			"no-kid":                 k.signAny(fmt.Sprintf(`{"alg":%q,"typ":%q}`, k.alg(), k.typ), payload),
			"other-order":            k.signAny(fmt.Sprintf(`{"typ":%q,"alg":%q,"kid":%q}`, k.typ, k.alg(), k.kid), payload),
			"white-space-in-header":  k.signAny(strings.Replace(k.header(), ",", ", ", 1), payload),
			"escape-in-header":       k.signAny(strings.Replace(k.header(), "alg", `\u0061lg`, 1), payload),
			"json-serialization":     fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
			"unprotected-header":     fmt.Appendf(nil, `{"payload":%q,"protected":%q,"header":{"alg":"none"},"signature":%q}`, parts[1], parts[0], parts[2]),
			"line-break-in-header":   []byte(parts[0][:8] + "\n" + parts[0][8:] + "." + parts[1] + "." + parts[2]),
			"line-break-in-payload":  []byte(parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2]),
			"line-break-in-signing":  []byte(parts[0] + "." + parts[1] + "." + parts[2][:8] + "\r\n" + parts[2][8:]),
			"line-break-behind":      append(bytes.Clone(compact), '\n'),
			"space-before":           append([]byte(" "), compact...),
			"fourth-part":            append(bytes.Clone(compact), ".AAAA"...),
			"empty-fourth-part":      append(bytes.Clone(compact), '.'),
			"padding":                append(bytes.Clone(compact), '='),
			"standard-alphabet":      []byte(strings.NewReplacer("-", "+", "_", "/").Replace(string(compact)) + " "),
			"signature-extended":     []byte(parts[0] + "." + parts[1] + "." + raw64.EncodeToString(append(mustRaw(t, parts[2]), 0))),
			"signature-cut":          []byte(parts[0] + "." + parts[1] + "." + raw64.EncodeToString(mustRaw(t, parts[2])[:31])),
			"empty":                  nil,
			"dots":                   []byte(".."),
			"spare-bits-in-mac":      []byte(parts[0] + "." + parts[1] + "." + spareBits(t, parts[2])),
			"detached":               []byte(parts[0] + ".." + parts[2]),
			"trailing-bytes":         k.signAny(k.header(), append(bytes.Clone(payload), "{}"...)),
			"trailing-space":         k.signAny(k.header(), append(bytes.Clone(payload), ' ')),
			"trailing-nul":           k.signAny(k.header(), append(bytes.Clone(payload), 0)),
			"leading-bom":            k.signAny(k.header(), append([]byte("\xef\xbb\xbf"), payload...)),
			"unknown-member":         k.signAny(k.header(), addMember(payload, `"extra":1`)),
			"duplicate-member":       k.signAny(k.header(), addMember(payload, `"version":1`)),
			"other-case":             k.signAny(k.header(), bytes.Replace(payload, []byte(`"version"`), []byte(`"Version"`), 1)),
			"other-case-additional":  k.signAny(k.header(), addMember(payload, `"Deployment":""`)),
			"member-missing":         k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1,`), nil, 1)),
			"member-null":            k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1`), []byte(`"version":null`), 1)),
			"number-as-float":        k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1`), []byte(`"version":1.0`), 1)),
			"number-with-exponent":   k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1`), []byte(`"version":1e0`), 1)),
			"number-as-string":       k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1`), []byte(`"version":"1"`), 1)),
			"hash-in-upper-case":     k.signAny(k.header(), bytes.Replace(payload, []byte(h("deployment").String()), []byte(strings.ToUpper(h("deployment").String())), 1)),
			"escaped-member-name":    k.signAny(k.header(), bytes.Replace(payload, []byte(`"version"`), []byte(`"\u0076ersion"`), 1)),
			"white-space-in-payload": k.signAny(k.header(), bytes.Replace(payload, []byte(`,`), []byte(`, `), 1)),
			"bad-utf8":               k.signAny(k.header(), bytes.Replace(payload, []byte(`"version":1`), []byte("\"version\":1,\"a\xff\":1"), 1)),
			"empty-object":           k.signAny(k.header(), []byte("{}")),
			"null":                   k.signAny(k.header(), []byte("null")),
			"array":                  k.signAny(k.header(), []byte("[]")),
			"no-payload":             k.signAny(k.header(), nil),
			"too-large":              k.signAny(k.header(), append(bytes.Clone(payload), bytes.Repeat([]byte(" "), message.MaxSize)...)),
		} {
			t.Run("fail/"+name, func(t *testing.T) {
				if bytes.Equal(forged, compact) {
					t.Fatal("the forgery is the original: the test tests nothing")
				}
				if got, err := k.verify(forged); err == nil {
					t.Errorf("verifies: %+v", got)
				}
			})
		}
	})
}

func mustRaw(t *testing.T, s string) []byte {
	t.Helper()
	b, err := raw64.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func addMember(payload []byte, member string) []byte {
	return append(append(bytes.Clone(payload[:len(payload)-1]), ','), member+"}"...)
}

// spareBits sets one of the bits that base64 leaves over at the end of 32 or
// 64 bytes, so that a lax decoder gives the same bytes.
func spareBits(t *testing.T, s string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	out := s[:len(s)-1] + string(alphabet[last^1])
	if !bytes.Equal(mustRaw(t, out), mustRaw(t, s)) {
		t.Fatal("these bits are not spare")
	}
	return out
}

func TestAttackSparePayloadBits(t *testing.T) {
	// A payload of a length that leaves bits over: made so by the instance's
	// name.
	for n := range 3 {
		v := sampleVote()
		v.Approver = strings.Repeat("b", n+1)
		if len(encode(t, v))%3 == 0 {
			continue
		}
		k := edKind(message.TypVote, v)
		compact, err := k.sign()
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(compact), ".")
		input := parts[0] + "." + spareBits(t, parts[1])
		forged := input + "." + raw64.EncodeToString(ed25519.Sign(identityKey, []byte(input)))
		if _, err := k.verify([]byte(forged)); err == nil {
			t.Error("a signed payload with spare bits verifies")
		}
	}
}

func TestKeysOfWrongLength(t *testing.T) {
	var v message.Vote
	for _, n := range []int{0, 1, 31, 33, 64} {
		key := make([]byte, n)
		if _, err := message.SignMAC(message.TypHello, "k", key, sampleHello()); err == nil {
			t.Errorf("MAC made with a key of %d bytes", n)
		}
		compact := mac(key, `{"alg":"HS256","kid":"k","typ":"countersign-hello+jws"}`, encode(t, sampleHello()))
		if err := message.VerifyMAC(message.TypHello, "k", key, compact, &message.Hello{}); err == nil {
			t.Errorf("MAC verified with a key of %d bytes", n)
		}
		if n != 32 {
			if err := message.VerifyEd25519(message.TypVote, "k", key, compact, &v); err == nil {
				t.Errorf("signature verified with a key of %d bytes", n)
			}
		}
	}
	v = sampleVote()
	v.Approver = strings.Repeat("x", message.MaxSize)
	if _, err := message.SignEd25519(message.TypVote, "k", identityKey, v); err == nil {
		t.Error("a message above MaxSize was signed")
	}
}

func TestKeyIDRefuses(t *testing.T) {
	for name, compact := range map[string]string{
		"empty": "", "no-dot": "abc", "not-base64": "!!.a.b", "long": strings.Repeat("A", 2000) + ".a.b",
		"spare-bits": "fR.a.b", "not-a-header": raw64.EncodeToString([]byte(`{}`)) + ".a.b",
	} {
		if _, err := message.KeyID(message.TypVote, []byte(compact)); !errors.Is(err, message.ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeaderWithEscapes: a kid that JSON does not write as it is signs and
// verifies under the same bytes as encoding/json gives, and is nobody's key id.
func TestHeaderWithEscapes(t *testing.T) {
	key := bytes.Repeat([]byte{1}, message.MACKeySize)
	for _, kid := range []string{"plain/kid#1", `a"b`, `a\b`, "a\nb", "\u00e4", "\u007f", `","typ":"x`, ""} {
		compact, err := message.SignMAC(message.TypHello, kid, key, sampleHello())
		if err != nil {
			t.Fatal(err)
		}
		want, err := message.Encode(struct {
			Alg string `json:"alg"`
			Kid string `json:"kid"`
			Typ string `json:"typ"`
		}{"HS256", kid, string(message.TypHello)})
		if err != nil {
			t.Fatal(err)
		}
		protected, _, _ := strings.Cut(string(compact), ".")
		if got, err := base64.RawURLEncoding.DecodeString(protected); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: header %s, want %s", kid, got, want)
		}
		var h message.Hello
		if err := message.VerifyMAC(message.TypHello, kid, key, compact, &h); err != nil {
			t.Errorf("%q: %v", kid, err)
		}
		got, err := message.KeyID(message.TypHello, compact)
		if plain := kid == "plain/kid#1" || kid == ""; plain != (err == nil) || plain && got != kid {
			t.Errorf("%q: read as %q, %v", kid, got, err)
		}
	}
}
