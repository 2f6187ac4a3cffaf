package httpsig_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/trust/httpsig"
)

var (
	created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	edKey   = ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))
)

const keyID = "the-user's-key"

func request() httpsig.Message {
	return httpsig.Message{
		Method: "POST", Authority: "Countersign.example:443", Path: "/v1/requests",
		ContentType: "application/json", Body: []byte(`{"id":"x"}`),
	}
}

func p256Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// known is the lookup of a verifier that knows one key under keyID.
func known(key crypto.PublicKey) func(string) (crypto.PublicKey, error) {
	return func(id string) (crypto.PublicKey, error) {
		if id != keyID {
			return nil, errUnknownKey
		}
		return key, nil
	}
}

var errUnknownKey = errors.New("no such key")

func mustSign(t testing.TB, m httpsig.Message, p httpsig.Profile, key crypto.Signer) httpsig.Signed {
	t.Helper()
	s, err := httpsig.Sign(m, p, key, keyID, created)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignAndVerify(t *testing.T) {
	keys := map[string]crypto.Signer{"ed25519": edKey, "p256": p256Key(t)}
	profiles := map[string]httpsig.Profile{"statement": httpsig.StatementProfile, "read": httpsig.ReadProfile}
	for keyName, key := range keys {
		for profileName, p := range profiles {
			t.Run(keyName+"/"+profileName, func(t *testing.T) {
				s := mustSign(t, request(), p, key)
				if s.ContentDigest != httpsig.ContentDigest(request().Body) {
					t.Fatal("content digest is not the body's")
				}
				got, err := httpsig.Verify(request(), p, s.SignatureInput, s.Signature, created, known(key.Public()))
				if err != nil {
					t.Fatal(err)
				}
				if got.KeyID != keyID || !got.Created.Equal(created) {
					t.Fatalf("verified %+v", got)
				}
			})
		}
	}
}

// TestSignGolden pins the encoding, so that clients in other languages can be
// held against it.
func TestSignGolden(t *testing.T) {
	s := mustSign(t, request(), httpsig.StatementProfile, edKey)
	want := `sig=("@method" "@path" "content-digest" "content-type");created=1772366400;` +
		`keyid="the-user's-key";tag="countersign-statement"`
	if s.SignatureInput != want {
		t.Fatalf("signature-input %s", s.SignatureInput)
	}
	if want := "sha-256=:XiuSzFfOYY37tUhEoxd15Llcb7VS7mv1oGgTPBLSrZA=:"; s.ContentDigest != want {
		t.Fatalf("content-digest %s", s.ContentDigest)
	}
	if again := mustSign(t, request(), httpsig.StatementProfile, edKey); again != s {
		t.Fatal("Ed25519 signing is not deterministic")
	}
}

// TestVerifyAcceptsOtherSigners: what stock signers do and the profile allows.
func TestVerifyAcceptsOtherSigners(t *testing.T) {
	for name, input := range map[string]string{
		"other label, order and alg": `sig1=("content-type" "@path" "content-digest" "@method");alg="ed25519";` +
			`tag="countersign-statement";keyid="the-user's-key";created=1772366400`,
		"authority covered": `s=("@method" "@authority" "@path" "content-digest" "content-type");` +
			`created=1772366400;keyid="the-user's-key";tag="countersign-statement"`,
	} {
		t.Run(name, func(t *testing.T) {
			signature := signInput(t, request(), input)
			if err := verifyStatement(request(), input, signature); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// signInput signs whatever a Signature-Input says, as an honest signer of any
// other profile would.
func signInput(t testing.TB, m httpsig.Message, input string) string {
	t.Helper()
	name, list, _ := strings.Cut(input, "=")
	values := map[string]string{
		"@method": m.Method, "@path": m.Path, "@authority": "countersign.example",
		"content-type": m.ContentType, "content-digest": httpsig.ContentDigest(m.Body),
		"date": "today", `"@path";req`: m.Path,
	}
	base := ""
	for _, quoted := range strings.Fields(list[strings.Index(list, "(")+1 : strings.Index(list, ")")]) {
		value, ok := values[quoted]
		if !ok {
			value = values[strings.Trim(quoted, `"`)]
		}
		base += quoted + ": " + value + "\n"
	}
	base += `"@signature-params": ` + list
	return name + "=:" + base64.StdEncoding.EncodeToString(ed25519.Sign(edKey, []byte(base))) + ":"
}

func verifyStatement(m httpsig.Message, input, signature string) error {
	_, err := httpsig.Verify(m, httpsig.StatementProfile, input, signature, created, known(edKey.Public()))
	return err
}

// TestAttackSignedMessageChanged: nothing that is covered can be changed.
func TestAttackSignedMessageChanged(t *testing.T) {
	p := httpsig.StatementProfile
	p.Required = append([]string{"@authority"}, p.Required...)
	s := mustSign(t, request(), p, edKey)
	for name, change := range map[string]func(*httpsig.Message){
		"fail/method":       func(m *httpsig.Message) { m.Method = "PUT" },
		"fail/authority":    func(m *httpsig.Message) { m.Authority = "other.example" },
		"fail/port":         func(m *httpsig.Message) { m.Authority = "countersign.example:8443" },
		"fail/path":         func(m *httpsig.Message) { m.Path = "/v1/requests/" },
		"fail/content-type": func(m *httpsig.Message) { m.ContentType = "application/json; charset=utf-8" },
		"fail/body":         func(m *httpsig.Message) { m.Body = append(m.Body, ' ') },
		"fail/no body":      func(m *httpsig.Message) { m.Body = nil },
	} {
		t.Run(name, func(t *testing.T) {
			m := request()
			change(&m)
			if err := verifyStatement(m, s.SignatureInput, s.Signature); !errors.Is(err, httpsig.ErrSignature) {
				t.Fatalf("got %v, want ErrSignature", err)
			}
		})
	}
}

// TestAttackCoverageCut: a signature by the right key that covers less, or
// says more, than the profile wants is refused although it is valid by itself.
func TestAttackCoverageCut(t *testing.T) {
	const tail = `;created=1772366400;keyid="the-user's-key";tag="countersign-statement"`
	const all = `("@method" "@path" "content-digest" "content-type")`
	for name, input := range map[string]string{
		"fail/nothing covered":     `sig=()` + tail,
		"fail/body not covered":    `sig=("@method" "@path" "content-type")` + tail,
		"fail/path not covered":    `sig=("@method" "content-digest" "content-type")` + tail,
		"fail/method not covered":  `sig=("@path" "content-digest" "content-type")` + tail,
		"fail/unknown component":   `sig=("@method" "@path" "content-digest" "content-type" "date")` + tail,
		"fail/component twice":     `sig=("@method" "@path" "content-digest" "content-type" "@path")` + tail,
		"fail/component parameter": `sig=("@method" "@path";req "content-digest" "content-type")` + tail,
		"fail/upper case":          `sig=("@METHOD" "@path" "content-digest" "content-type")` + tail,
		"fail/no tag":              `sig=` + all + `;created=1772366400;keyid="the-user's-key"`,
		"fail/other tag":           `sig=` + all + `;created=1772366400;keyid="the-user's-key";tag="countersign-approver"`,
		"fail/no created":          `sig=` + all + `;keyid="the-user's-key";tag="countersign-statement"`,
		"fail/created a string":    `sig=` + all + `;created="1772366400";keyid="the-user's-key";tag="countersign-statement"`,
		"fail/created negative":    `sig=` + all + `;created=-1;keyid="the-user's-key";tag="countersign-statement"`,
		"fail/no keyid":            `sig=` + all + `;created=1772366400;tag="countersign-statement"`,
		"fail/expires":             `sig=` + all + tail + `;expires=1772366500`,
		"fail/nonce":               `sig=` + all + tail + `;nonce="n"`,
	} {
		t.Run(name, func(t *testing.T) {
			err := verifyStatement(request(), input, signInput(t, request(), input))
			if !errors.Is(err, httpsig.ErrCoverage) {
				t.Fatalf("got %v, want ErrCoverage", err)
			}
		})
	}
}

// TestAttackTwoReadingsOfFields: fields that two parsers may read differently.
func TestAttackTwoReadingsOfFields(t *testing.T) {
	s := mustSign(t, request(), httpsig.StatementProfile, edKey)
	in, sig := s.SignatureInput, s.Signature
	for name, f := range map[string]struct{ input, signature string }{
		"fail/empty":                {"", ""},
		"fail/two signatures":       {in + ", b=()", sig + ", b=:AA==:"},
		"fail/two inputs":           {in + ", b=()", sig},
		"fail/label of another":     {strings.Replace(in, "sig=", "b=", 1), sig},
		"fail/member twice":         {"sig=(), " + in, sig},
		"fail/parameter twice":      {strings.Replace(in, ";created=", `;keyid="other";created=`, 1), sig},
		"fail/white space":          {strings.Replace(in, `;created`, `; created`, 1), sig},
		"fail/leading space":        {" " + in, sig},
		"fail/leading zero":         {strings.Replace(in, "created=1", "created=01", 1), sig},
		"fail/signature a string":   {in, `sig="x"`},
		"fail/signature a list":     {in, `sig=(:AA==:)`},
		"fail/signature parameters": {in, sig + ";x"},
		"fail/spare base64 bits":    {in, sig[:len(sig)-4] + "x==:"},
		"fail/not padded":           {in, strings.Replace(sig, "==:", ":", 1)},
		"fail/bare item":            {`sig="x"`, sig},
		"fail/too long":             {in + strings.Repeat(" ", 4096), sig},
	} {
		t.Run(name, func(t *testing.T) {
			err := verifyStatement(request(), f.input, f.signature)
			if !errors.Is(err, httpsig.ErrMalformed) && !errors.Is(err, httpsig.ErrSignature) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			if name != "fail/spare base64 bits" && !errors.Is(err, httpsig.ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
		})
	}
}

// TestAttackLineInjectedIntoBase: a value must not forge the next line.
func TestAttackLineInjectedIntoBase(t *testing.T) {
	for name, change := range map[string]func(*httpsig.Message){
		"fail/newline in content-type": func(m *httpsig.Message) { m.ContentType = "a\n\"@path\": /other" },
		"fail/return in content-type":  func(m *httpsig.Message) { m.ContentType = "a\r" },
		"fail/nul in path":             func(m *httpsig.Message) { m.Path = "/v1\x00" },
		"fail/non-ascii path":          func(m *httpsig.Message) { m.Path = "/ü" },
		"fail/query in path":           func(m *httpsig.Message) { m.Path = "/v1?x=1" },
		"fail/relative path":           func(m *httpsig.Message) { m.Path = "v1" },
		"fail/space in method":         func(m *httpsig.Message) { m.Method = "GET /" },
		"fail/lower-case method":       func(m *httpsig.Message) { m.Method = "post" },
		"fail/userinfo in authority":   func(m *httpsig.Message) { m.Authority = "user@host" },
		"fail/enormous content-type":   func(m *httpsig.Message) { m.ContentType = strings.Repeat("a", 5000) },
	} {
		t.Run(name, func(t *testing.T) {
			m := request()
			change(&m)
			if _, err := httpsig.Sign(m, httpsig.StatementProfile, edKey, keyID, created); !errors.Is(err, httpsig.ErrMalformed) {
				t.Fatalf("sign: got %v, want ErrMalformed", err)
			}
			s := mustSign(t, request(), httpsig.StatementProfile, edKey)
			if err := verifyStatement(m, s.SignatureInput, s.Signature); !errors.Is(err, httpsig.ErrMalformed) {
				t.Fatalf("verify: got %v, want ErrMalformed", err)
			}
		})
	}
	m := request()
	m.ContentType = ""
	s := mustSign(t, request(), httpsig.StatementProfile, edKey)
	if err := verifyStatement(m, s.SignatureInput, s.Signature); !errors.Is(err, httpsig.ErrCoverage) {
		t.Fatalf("absent content-type: got %v, want ErrCoverage", err)
	}
}

// TestAttackAlgorithmGames: the key alone says which algorithm it is.
func TestAttackAlgorithmGames(t *testing.T) {
	const all = `sig=("@method" "@path" "content-digest" "content-type");created=1772366400;keyid="the-user's-key";tag="countersign-statement"`
	for _, alg := range []string{"ecdsa-p256-sha256", "hmac-sha256", "none", ""} {
		input := all + `;alg="` + alg + `"`
		if err := verifyStatement(request(), input, signInput(t, request(), input)); !errors.Is(err, httpsig.ErrCoverage) {
			t.Errorf("alg %q: got %v, want ErrCoverage", alg, err)
		}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := mustSign(t, request(), httpsig.StatementProfile, edKey)
	for name, key := range map[string]crypto.PublicKey{
		"rsa": rsaKey.Public(), "p384": p384.Public(), "bytes": []byte("secret"), "nil": nil,
		"short ed25519": ed25519.PublicKey("short"), "nil ecdsa": (*ecdsa.PublicKey)(nil),
		"another p256": p256Key(t).Public(), "another ed25519": ed25519.PublicKey(make([]byte, 32)),
	} {
		_, err := httpsig.Verify(request(), httpsig.StatementProfile, s.SignatureInput, s.Signature, created, known(key))
		if !errors.Is(err, httpsig.ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
	for _, key := range []crypto.Signer{rsaKey, p384} {
		if _, err := httpsig.Sign(request(), httpsig.StatementProfile, key, keyID, created); err == nil {
			t.Errorf("signed with %T", key)
		}
	}
}

// TestAttackReplayedSignedRequest: a reading request is good for a minute
// only, and for its own host, and never as a statement.
func TestAttackReplayedSignedRequest(t *testing.T) {
	m := httpsig.Message{Method: "GET", Authority: "approval.example:8443", Path: "/v1/approvals/1"}
	s := mustSign(t, m, httpsig.ReadProfile, edKey)
	verify := func(m httpsig.Message, p httpsig.Profile, now time.Time) error {
		_, err := httpsig.Verify(m, p, s.SignatureInput, s.Signature, now, known(edKey.Public()))
		return err
	}
	for name, c := range map[string]struct {
		after time.Duration
		want  error
	}{
		"at once":                {0, nil},
		"within the minute":      {time.Minute, nil},
		"fail/after the minute":  {time.Minute + time.Second, httpsig.ErrTime},
		"clock behind":           {-30 * time.Second, nil},
		"fail/clock far behind":  {-31 * time.Second, httpsig.ErrTime},
		"fail/after a long time": {365 * 24 * time.Hour, httpsig.ErrTime},
	} {
		if err := verify(m, httpsig.ReadProfile, created.Add(c.after)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	other := m
	other.Path = "/v1/approvals/2"
	if err := verify(other, httpsig.ReadProfile, created); !errors.Is(err, httpsig.ErrSignature) {
		t.Errorf("fail/other request: %v", err)
	}
	if err := verify(m, httpsig.StatementProfile, created); !errors.Is(err, httpsig.ErrCoverage) {
		t.Errorf("fail/as a statement: %v", err)
	}
}

// TestStatementSignatureDoesNotAge: its statement's expiry ends it, so that a
// request that waits for people can be verified again. The future is refused.
func TestStatementSignatureDoesNotAge(t *testing.T) {
	s := mustSign(t, request(), httpsig.StatementProfile, edKey)
	for after, want := range map[time.Duration]error{
		7 * 24 * time.Hour: nil,
		-31 * time.Second:  httpsig.ErrTime,
	} {
		_, err := httpsig.Verify(request(), httpsig.StatementProfile, s.SignatureInput, s.Signature,
			created.Add(after), known(edKey.Public()))
		if !errors.Is(err, want) {
			t.Errorf("after %s: got %v, want %v", after, err, want)
		}
	}
}

func TestUnknownKeyIsReported(t *testing.T) {
	s, err := httpsig.Sign(request(), httpsig.StatementProfile, edKey, "another", created)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyStatement(request(), s.SignatureInput, s.Signature); !errors.Is(err, errUnknownKey) {
		t.Fatalf("got %v, want the lookup's error", err)
	}
	for _, id := range []string{"", strings.Repeat("k", 257), "ü", "a\nb"} {
		if _, err := httpsig.Sign(request(), httpsig.StatementProfile, edKey, id, created); err == nil {
			t.Errorf("signed with key id %q", id)
		}
	}
}

// liar is a signer that signs something else.
type liar struct{ crypto.Signer }

func (l liar) Sign(r io.Reader, _ []byte, o crypto.SignerOpts) ([]byte, error) {
	return l.Signer.Sign(r, make([]byte, 32), o)
}

func TestSignVerifiesItsOwnSignature(t *testing.T) {
	for _, key := range []crypto.Signer{liar{edKey}, liar{p256Key(t)}} {
		if _, err := httpsig.Sign(request(), httpsig.StatementProfile, key, keyID, created); !errors.Is(err, httpsig.ErrSignature) {
			t.Errorf("got %v, want ErrSignature", err)
		}
	}
}

// FuzzVerify: no field values panic, and none but the signer's verify.
func FuzzVerify(f *testing.F) {
	s := mustSign(f, request(), httpsig.StatementProfile, edKey)
	f.Add(s.SignatureInput, s.Signature)
	f.Add(`sig=()`, `sig=::`)
	f.Add(`a=("@method";req "x");created=1;tag=b;alg=?1`, `a=1.5`)
	f.Add(`a=(:AA==: ?1 1.2 @1 %"x")`, `a=:AA==:`)
	f.Fuzz(func(t *testing.T, input, signature string) {
		err := verifyStatement(request(), input, signature)
		if err == nil && (input != s.SignatureInput || signature != s.Signature) {
			t.Fatalf("forged: %q %q", input, signature)
		}
	})
}
