package token_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer/token"
)

// kinds runs a test with keys from a file and with keys from the issuer: a
// token is held to the same rules.
func kinds(t *testing.T, signers []signer, test func(t *testing.T, r running, issuer string)) {
	t.Run("file", func(t *testing.T) {
		keys := []jose.JSONWebKey{}
		for _, s := range signers {
			keys = append(keys, s.public())
		}
		test(t, run(t, quick, token.Issuer{
			Name: "urn:issuer", Audiences: []string{"first", audience}, KeyFile: keyFile(t, keySet(keys...)),
		}), "urn:issuer")
	})
	t.Run("discovery", func(t *testing.T) {
		p := newProvider(t, signers...)
		i := p.issuer()
		i.Audiences = []string{"first", audience}
		test(t, run(t, quick, i), p.url)
	})
}

func TestVerify(t *testing.T) {
	signers := []signer{ed(t, "ed"), ec(t, "ec"), {"rsa", jose.RS256, standin.RSA()}}
	kinds(t, signers, func(t *testing.T, r running, issuer string) {
		for _, s := range signers {
			compact := s.token(t, issuer, nil)
			for range 2 { // the second time from memory
				if c, err := r.verify(compact); err != nil || c != (token.Claims{Issuer: issuer, Subject: subject}) {
					t.Errorf("%s: got %+v, %v", s.kid, c, err)
				}
			}
		}
		first := signers[0]
		r.accepts(first.token(t, issuer, func(c map[string]any) { c["aud"] = []string{"other", "first"} }))
		for _, typ := range []string{"at+jwt", "at+JWT", "application/at+jwt", "Application/AT+JWT"} { // RFC 9068 section 4
			r.accepts(first.sign(t, claims(issuer, nil), map[jose.HeaderKey]any{"typ": typ}))
		}
		bound := first.token(t, issuer, func(c map[string]any) { c["cnf"] = map[string]any{"x5t#S256": "abc"} })
		if c, err := r.verify(bound); err != nil || c.Certificate != "abc" {
			t.Errorf("a bound token: %+v, %v", c, err)
		}
	})
}

// TestAttackTokens plays every token that must not let anybody in.
func TestAttackTokens(t *testing.T) {
	signers := []signer{ed(t, "ed"), ec(t, "ec"), {"rsa", jose.RS256, standin.RSA()}}
	kinds(t, signers, func(t *testing.T, r running, issuer string) {
		strong := signers[0].token(t, issuer, nil)
		r.accepts(strong)
		for name, compact := range attacks(t, signers, issuer) {
			t.Run(name, func(t *testing.T) {
				for range 2 {
					if c, err := r.verify(compact); err == nil {
						t.Fatalf("accepted as %+v", c)
					}
				}
			})
		}
		if text := r.logs.String(); strings.Contains(text, strong[:40]) {
			t.Error("a token reached the log")
		}
	})
}

func attacks(t *testing.T, signers []signer, issuer string) map[string]string {
	now := time.Now().Unix()
	own, stranger := signers[0], ed(t, "ed")
	edit := func(name string, value any) string {
		return own.token(t, issuer, func(c map[string]any) { c[name] = value })
	}
	without := func(name string) string {
		return own.token(t, issuer, func(c map[string]any) { delete(c, name) })
	}
	by := func(alg jose.SignatureAlgorithm, key any, kid string) string {
		return signer{kid, alg, key}.token(t, issuer, nil)
	}
	headed := func(s signer, name jose.HeaderKey, value any) string {
		return s.sign(t, claims(issuer, nil), map[jose.HeaderKey]any{name: value})
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(standin.RSA().Public())
	must(t, err)
	strong := own.token(t, issuer, nil)
	return map[string]string{
		"Attack/empty":                     "",
		"Attack/not-a-token":               "abc",
		"Attack/expired":                   edit("exp", now-31),
		"Attack/not-yet-valid":             edit("nbf", now+40),
		"Attack/issued-in-the-future":      edit("iat", now+3600),
		"Attack/no-expiry":                 without("exp"),
		"Attack/expiry-is-text":            edit("exp", "9999999999"),
		"Attack/expiry-overflows":          edit("exp", 1e300),
		"Attack/other-audience":            edit("aud", "elsewhere"),
		"Attack/audience-is-a-prefix":      edit("aud", audience[:5]),
		"Attack/no-audience":               without("aud"),
		"Attack/other-issuer":              edit("iss", "https://evil.test"),
		"Attack/issuer-with-a-slash":       edit("iss", issuer+"/"),
		"Attack/issuer-in-capitals":        edit("iss", strings.ToUpper(issuer)),
		"Attack/no-issuer":                 without("iss"),
		"Attack/no-subject":                without("sub"),
		"Attack/claim-twice":               raw(own, `{"alg":"EdDSA","kid":"ed"}`, `{"iss":"`+issuer+`","iss":"`+issuer+`","sub":"alice","aud":"countersign","exp":9999999999}`),
		"Attack/alg-none":                  raw(signer{}, `{"alg":"none","kid":"ed","typ":"JWT"}`, string(encode(claims(issuer, nil)))),
		"Attack/alg-none-capital":          raw(signer{}, `{"alg":"NONE","kid":"ed","typ":"JWT"}`, string(encode(claims(issuer, nil)))),
		"Attack/hs256-with-public-key":     by(jose.HS256, rsaPublic, "rsa"),
		"Attack/hs256-with-ed25519-key":    by(jose.HS256, []byte(own.key.(ed25519.PrivateKey).Public().(ed25519.PublicKey)), "ed"),
		"Attack/rs512":                     by(jose.RS512, standin.RSA(), "rsa"),
		"Attack/ps256":                     by(jose.PS256, standin.RSA(), "rsa"),
		"Attack/key-not-in-key-set":        by(jose.EdDSA, stranger.key, "stranger"),
		"Attack/kid-of-another-key":        stranger.token(t, issuer, nil),
		"Attack/kid-of-another-type":       by(jose.EdDSA, own.key, "ec"),
		"Attack/no-kid":                    by(jose.EdDSA, own.key, ""),
		"Attack/jwk-header":                headed(stranger, "jwk", jose.JSONWebKey{Key: stranger.public().Key}),
		"Attack/jku-header":                headed(own, "jku", "https://evil.test/jwks"),
		"Attack/x5u-header":                headed(own, "x5u", "https://evil.test/cert"),
		"Attack/crit-header":               headed(own, "b64", true),
		"Attack/other-typ":                 headed(own, "typ", "dpop+jwt"),
		"Attack/other-media-type":          headed(own, "typ", "application/dpop+jwt"),
		"Attack/typ-with-parameter":        headed(own, "typ", "application/at+jwt;x=1"),
		"Attack/bound-to-a-key":            edit("cnf", map[string]any{"jkt": "abc"}),
		"Attack/bound-twice":               edit("cnf", map[string]any{"x5t#S256": "abc", "jkt": "abc"}),
		"Attack/bound-to-nothing":          edit("cnf", map[string]any{}),
		"Attack/padding":                   strong + "=",
		"Attack/line-break":                strings.Replace(strong, ".", ".\n", 1),
		"Attack/four-parts":                strong + ".x",
		"Attack/two-parts":                 strong[:strings.LastIndex(strong, ".")],
		"Attack/signature-cut":             strong[:len(strong)-8],
		"Attack/claims-of-another-token":   swapped(strong, edit("sub", "root")),
		"Attack/issuer-changed-afterwards": swapped(edit("iss", "https://evil.test"), strong),
		"Attack/enormous":                  edit("roles", strings.Repeat("A", 9<<10)),
		"Attack/spare-bits-in-base64":      strong[:len(strong)-1] + spare(strong[len(strong)-1]),
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// raw makes a token of a header and claims that no library would write.
func raw(s signer, header, claims string) string {
	e := base64.RawURLEncoding
	input := e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims))
	if key, ok := s.key.(ed25519.PrivateKey); ok {
		return input + "." + e.EncodeToString(ed25519.Sign(key, []byte(input)))
	}
	return input + "."
}

// spare is the last character of a signature in another spelling: 86 characters
// hold 64 bytes and four bits that mean nothing.
func spare(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)|1])
}

// swapped is a token with the claims of another.
func swapped(token, other string) string {
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

// TestAttackTokenExpiresWhileRemembered checks that a token whose signature is
// remembered still ends.
func TestAttackTokenExpiresWhileRemembered(t *testing.T) {
	s := ed(t, "ed")
	kinds(t, []signer{s}, func(t *testing.T, r running, issuer string) {
		compact := s.token(t, issuer, nil)
		r.accepts(compact)
		if _, err := r.Verify(t.Context(), compact, time.Now().Add(331*time.Second)); err == nil {
			t.Error("accepted after its end")
		}
		r.accepts(compact)
	})
}

// TestAttackIssuerMixUp has several issuers, one of which is dishonest: its keys
// and its tokens must let nobody in as a user of another's.
func TestAttackIssuerMixUp(t *testing.T) {
	honest, evil := ed(t, "same-kid"), ed(t, "same-kid")
	only := ed(t, "only-the-evil-one-has-it")
	a, b := newProvider(t, honest), newProvider(t, evil, only)
	inFile := ed(t, "same-kid")
	file := token.Issuer{Name: "urn:file", Audiences: []string{"audience-of-file"}, KeyFile: keyFile(t, keySet(inFile.public()))}
	r := run(t, quick, a.issuer(), b.issuer(), file)

	r.accepts(honest.token(t, a.url, nil))
	r.accepts(evil.token(t, b.url, nil))
	toFile := func(c map[string]any) { c["aud"] = "audience-of-file" }
	r.accepts(inFile.token(t, "urn:file", toFile))
	for name, compact := range map[string]string{
		"Attack/key-of-b-with-the-same-kid": evil.token(t, a.url, nil),
		"Attack/key-that-only-b-has":        only.token(t, a.url, nil),
		"Attack/key-of-a-in-the-name-of-b":  honest.token(t, b.url, nil),
		"Attack/key-of-b-for-the-file":      evil.token(t, "urn:file", toFile),
		"Attack/audience-of-another-issuer": evil.token(t, b.url, toFile),
		"Attack/both-issuers-in-one-claim":  evil.token(t, a.url, func(c map[string]any) { c["iss"] = []string{a.url, b.url} }),
	} {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			for range 2 {
				r.refuses(compact)
			}
		})
	}
}
