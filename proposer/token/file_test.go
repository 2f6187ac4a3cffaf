package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/internal/standin"
	"github.com/countersign/countersign/proposer/token"
)

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path+".new", content, 0o600))
	must(t, os.Rename(path+".new", path)) // nobody reads half of it
}

func fileIssuer(path string) token.Issuer {
	return token.Issuer{Name: "urn:issuer", Audiences: []string{audience}, KeyFile: path}
}

// TestKeyFileChanges changes the file while the verifier runs.
func TestKeyFileChanges(t *testing.T) {
	old, next := ed(t, "old"), ec(t, "next")
	path := keyFile(t, keySet(old.public()))
	r := run(t, quick, fileIssuer(path))
	r.accepts(old.token(t, "urn:issuer", nil))
	r.refuses(next.token(t, "urn:issuer", nil))

	write(t, path, keySet(old.public(), next.public()))
	eventually(t, "the new key counts", func() bool { _, err := r.verify(next.token(t, "urn:issuer", nil)); return err == nil })
	r.accepts(old.token(t, "urn:issuer", nil))
	if s := r.State("urn:issuer"); s.Keys != 2 || s.Failing || s.Read.IsZero() {
		t.Errorf("state %+v", s)
	}
}

// TestKeyFileIsExchanged exchanges the file as mounted secrets are: a link to
// another file of the same length and the same, old date.
func TestKeyFileIsExchanged(t *testing.T) {
	old, next := ed(t, "old"), ed(t, "new")
	dir, date := t.TempDir(), time.Now().Add(-24*time.Hour)
	for name, s := range map[string]signer{"one": old, "two": next} {
		write(t, filepath.Join(dir, name), keySet(s.public()))
		must(t, os.Chtimes(filepath.Join(dir, name), date, date))
	}
	link := filepath.Join(dir, "jwks.json")
	must(t, os.Symlink("one", link))
	r := run(t, quick, fileIssuer(link))
	r.accepts(old.token(t, "urn:issuer", nil))
	must(t, os.Symlink("two", link+".new"))
	must(t, os.Rename(link+".new", link))
	eventually(t, "the new key counts", func() bool { _, err := r.verify(next.token(t, "urn:issuer", nil)); return err == nil })
	r.refuses(old.token(t, "urn:issuer", nil))
}

// TestAttackKeyTakenOutOfFile checks that a token which was accepted before
// ends with its key.
func TestAttackKeyTakenOutOfFile(t *testing.T) {
	stolen, next := ed(t, "stolen"), ed(t, "next")
	path := keyFile(t, keySet(stolen.public(), next.public()))
	r := run(t, quick, fileIssuer(path))
	compact := stolen.token(t, "urn:issuer", nil)
	r.accepts(compact)
	write(t, path, keySet(next.public()))
	eventually(t, "the token ends", func() bool { _, err := r.verify(compact); return err != nil })
	r.refuses(compact)
}

// TestAttackKeyExchangedUnderItsID checks the same where another key takes the
// kid.
func TestAttackKeyExchangedUnderItsID(t *testing.T) {
	stolen, next := ed(t, "kid"), ed(t, "kid")
	path := keyFile(t, keySet(stolen.public()))
	r := run(t, quick, fileIssuer(path))
	compact := stolen.token(t, "urn:issuer", nil)
	r.accepts(compact)
	write(t, path, keySet(next.public()))
	eventually(t, "the token ends", func() bool { _, err := r.verify(compact); return err != nil })
	r.accepts(next.token(t, "urn:issuer", nil))
}

// brokenFiles are contents that no key file may have.
func brokenFiles(t testing.TB) map[string][]byte {
	good := ed(t, "good")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	noKid := good.public()
	noKid.KeyID = ""
	enc := good.public()
	enc.Use = "enc"
	return map[string][]byte{
		"empty":             {},
		"cut":               keySet(good.public())[:40],
		"no-json":           []byte("-----BEGIN PUBLIC KEY-----"),
		"no-list":           []byte(`{}`),
		"list-is-null":      []byte(`{"keys":null}`),
		"trailing-bytes":    append(keySet(good.public()), '{'),
		"no-key":            keySet(),
		"private-key":       keySet(jose.JSONWebKey{Key: good.key, KeyID: "good"}),
		"symmetric-key":     keySet(good.public(), jose.JSONWebKey{Key: []byte("hunter2-hunter2-hunter2-hunter2!"), KeyID: "sym"}),
		"kid-twice":         keySet(good.public(), ed(t, "good").public()),
		"kid-missing":       keySet(noKid),
		"only-a-weak-key":   keySet(jose.JSONWebKey{Key: weak.Public(), KeyID: "weak"}),
		"only-a-p384-key":   keySet(jose.JSONWebKey{Key: p384.Public(), KeyID: "p384"}),
		"only-for-secrets":  keySet(enc),
		"other-algorithm":   keySet(jose.JSONWebKey{Key: standin.RSA().Public(), KeyID: "rsa", Algorithm: "PS256"}),
		"point-off-a-curve": []byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"x","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}]}`),
		"enormous":          append(keySet(good.public()), bytes.Repeat([]byte(" "), 600<<10)...),
	}
}

// TestBrokenKeyFile breaks the file while the verifier runs: the keys of before
// stay, and the log and the state say so, once.
func TestBrokenKeyFile(t *testing.T) {
	s := ed(t, "ed")
	path := keyFile(t, keySet(s.public()))
	r := run(t, quick, fileIssuer(path))
	failing := func() bool { return r.State("urn:issuer").Failing }
	for name, content := range brokenFiles(t) {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			write(t, path, content)
			eventually(t, "the state says that the file is broken", failing)
			r.accepts(s.token(t, "urn:issuer", nil))
			write(t, path, keySet(s.public()))
			eventually(t, "the state says that the file is whole again", func() bool { return !failing() })
		})
	}
	must(t, os.Remove(path))
	eventually(t, "the state says that the file is gone", failing)
	r.accepts(s.token(t, "urn:issuer", nil))
	r.logged("key file is broken: the keys of before stay in use", "no such file")
	r.logged("key file was read", `"keys":1`)

	before := strings.Count(r.logs.String(), "no such file")
	time.Sleep(10 * quick.Poll)
	if after := strings.Count(r.logs.String(), "no such file"); after != before {
		t.Errorf("the same fault is logged %d times", after)
	}
	if strings.Contains(r.logs.String(), "hunter2") {
		t.Error("a key reached the log")
	}
}

func TestNewRefusesKeyFiles(t *testing.T) {
	for name, content := range brokenFiles(t) {
		t.Run("fail/"+name, func(t *testing.T) {
			_, err := token.New(token.Config{Issuers: []token.Issuer{fileIssuer(keyFile(t, content))}})
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error tells the key")
			}
		})
	}
	if _, err := token.New(token.Config{Issuers: []token.Issuer{fileIssuer("/no/such/file")}}); err == nil {
		t.Error("a file that is not there is accepted")
	}
}

// TestKeysOfNoUse checks that keys which are not for tokens do not spoil a set
// (RFC 7517 section 5).
func TestKeysOfNoUse(t *testing.T) {
	s := ed(t, "good")
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(t, err)
	enc := jose.JSONWebKey{Key: standin.RSA().Public(), KeyID: "good", Use: "enc"} // its kid may be that of another use
	set := keySet(s.public(), jose.JSONWebKey{Key: p521.Public(), KeyID: "p521"}, enc)
	more := `{"kty":"OKP","crv":"Ed448","kid":"a","x":"AA"},{"kty":"EC","crv":"secp256k1","kid":"b","x":"AA","y":"AA"},{"kty":"PQ","kid":"c"},`
	set = bytes.Replace(set, []byte(`{"keys":[`), []byte(`{"keys":[`+more), 1)
	r := run(t, quick, fileIssuer(keyFile(t, set)))
	r.accepts(s.token(t, "urn:issuer", nil))
	if n := r.State("urn:issuer").Keys; n != 1 {
		t.Errorf("%d keys count, want 1", n)
	}
}
