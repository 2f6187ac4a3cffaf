package docs_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/trust/httpsig"
	"github.com/countersign/countersign/wallet"
)

type answers = map[string]string

// computers are the computations by the name of the vector.
var computers = map[string]func(*testing.T, block) answers{
	"context":    contextOf,
	"genesis":    genesis,
	"branch":     branch,
	"key":        key,
	"identity":   identity,
	"hpke":       channel,
	"hello":      hello,
	"envelope":   envelope,
	"shares":     shares,
	"share":      share,
	"sealing":    sealing,
	"derivation": derivation,
	"record":     record,
	"webhook":    outcome,

	"ethereum":           ethereumSigned,
	"ethereum-refused":   ethereumRefused,
	"approver-signature": approverSignature,

	"announcement":     announcement,
	"approval":         signed[message.Approval](message.TypApproval),
	"vote":             signed[message.Vote](message.TypVote),
	"result":           signed[message.Result](message.TypResult),
	"policy-signature": signed[message.PolicySignature](message.TypPolicySignature),
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// agree fails where the product and the standard library differ.
func agree(t *testing.T, product, standard []byte) string {
	t.Helper()
	if !slices.Equal(product, standard) {
		t.Errorf("the product computes %x, the standard library %x", product, standard)
	}
	return hex.EncodeToString(product)
}

func kdf(t *testing.T, ikm, salt, info []byte) []byte {
	t.Helper()
	return must(hkdf.Key(sha256.New, ikm, salt, string(info), 32))(t)
}

// fields is Context, written a second time.
func fields(parts ...string) []byte {
	var out []byte
	for _, p := range parts {
		n := len(p)
		out = append(out, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		out = append(out, p...)
	}
	return out
}

func u64(n int) string { return string(append(make([]byte, 7), byte(n))) }

func gcm(t *testing.T, key, nonce, plaintext, data []byte) []byte {
	t.Helper()
	return must(cipher.NewGCM(must(aes.NewCipher(key))(t)))(t).Seal(nil, nonce, plaintext, data)
}

func contextOf(t *testing.T, b block) answers {
	label := b.get(t, "label")
	var raw [][]byte
	for _, f := range b.all("field") {
		raw = append(raw, []byte(f))
	}
	return answers{"context": agree(t, message.Context(label, raw...), fields(append([]string{label}, b.all("field")...)...))}
}

func genesis(t *testing.T, b block) answers {
	_, id, err := message.ParseGenesis([]byte(b.get(t, "document")))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(b.get(t, "document")))
	return answers{"deployment": agree(t, id[:], sum[:])}
}

func branch(t *testing.T, b block) answers {
	s := secrets.NewSecret(b.bytes(t, "secret"))
	got := must(secrets.Branch(s, secrets.Purpose(b.get(t, "purpose"))))(t)
	file := secrets.SecretFile{Half: secrets.HalfBuild, Generation: 1, Secret: s}
	if _, err := secrets.ParseSecretFile(must(file.Encode())(t)); err == nil {
		t.Error("the page's secret would be accepted by a service")
	}
	return answers{
		"branch":      agree(t, got.Bytes(), kdf(t, s.Bytes(), []byte("countersign/v1/branch"), []byte(b.get(t, "purpose")))),
		"fingerprint": must(secrets.Fingerprint(s))(t),
	}
}

func key(t *testing.T, b block) answers {
	build, deploy := secrets.NewSecret(b.bytes(t, "build secret")), secrets.NewSecret(b.bytes(t, "deploy secret"))
	deployment, purpose := b.hash(t, "deployment"), secrets.Purpose(b.get(t, "purpose"))
	one, two := must(secrets.Branch(build, purpose))(t), must(secrets.Branch(deploy, purpose))(t)
	got := must(secrets.Key(one, two, deployment, purpose))(t)
	ikm := slices.Concat(one.Bytes(), two.Bytes())
	return answers{"key": agree(t, got.Bytes(), kdf(t, ikm, deployment[:], []byte("countersign/v1/key/"+string(purpose))))}
}

func identity(t *testing.T, b block) answers {
	k := secrets.NewSecret(b.bytes(t, "key"))
	jwk := must(message.NewJWK(must(secrets.IdentityKey(k))(t).Public()))(t)
	return answers{
		"jwk":      string(must(message.Encode(jwk))(t)),
		"kid":      jwk.Thumbprint(),
		"password": string(secrets.DatabasePassword(k).Bytes()),
	}
}

func number(t *testing.T, b block, name string) int {
	t.Helper()
	return must(strconv.Atoi(b.get(t, name)))(t)
}

func channel(t *testing.T, b block) answers {
	priv := must(hpke.MLKEM768X25519().NewPrivateKey(b.bytes(t, "private key")))(t)
	enc := must(base64.RawURLEncoding.DecodeString(b.get(t, "encapsulation")))(t)
	info := hpkeshare.Info{
		Deployment: b.hash(t, "deployment"), Generation: number(t, b, "generation"),
		Role: b.get(t, "role"), Instance: b.get(t, "instance"),
		Hello: b.hash(t, "hello"), PublicKey: b.hash(t, "public key"),
	}
	c := hpkeshare.ShareContext{
		Request: b.get(t, "request"), Envelope: b.hash(t, "envelope"), Role: info.Role,
		Scope: message.Scope(b.get(t, "scope")), ID: b.get(t, "id"), Generation: number(t, b, "record generation"),
	}
	product := must(hpkeshare.Receive(priv, enc, info))(t)
	sealed := must(product.Seal(c, secrets.NewSecret(b.bytes(t, "share"))))(t)
	opened := must(product.Open(c, sealed))(t)
	agree(t, opened.Bytes(), b.bytes(t, "share"))

	hpkeInfo := fields("countersign/v1/hpke", string(info.Deployment[:]), u64(info.Generation), info.Role, info.Instance,
		string(info.Hello[:]), string(info.PublicKey[:]))
	r := must(hpke.NewRecipient(enc, priv, hpke.HKDFSHA256(), hpke.AES256GCM(), hpkeInfo))(t)
	secret := must(r.Export("countersign/v1/export", 32))(t)
	k := kdf(t, secret, info.Deployment[:], fields("countersign/v1/sealed-share", c.Request, string(c.Envelope[:]),
		c.Role, string(c.Scope), c.ID, u64(c.Generation)))
	return answers{
		"hpke public key sha256": message.Sum(priv.PublicKey().Bytes()).String(),
		"channel":                hex.EncodeToString(secret),
		"sealed":                 agree(t, sealed, gcm(t, k, make([]byte, 12), b.bytes(t, "share"), nil)),
	}
}

// jws is RFC 7515 by the standard library.
func jws(header, payload string, sign func([]byte) []byte) string {
	e := base64.RawURLEncoding.EncodeToString
	input := e([]byte(header)) + "." + e([]byte(payload))
	return input + "." + e(sign([]byte(input)))
}

func macked(t *testing.T, b block, typ message.Typ, payload string, v any) string {
	t.Helper()
	kid, key := b.get(t, "kid"), b.bytes(t, "key")
	product := must(message.SignMAC(typ, kid, key, v))(t)
	standard := jws(`{"alg":"HS256","kid":"`+kid+`","typ":"`+string(typ)+`"}`, payload, func(in []byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(in)
		return m.Sum(nil)
	})
	agree(t, product, []byte(standard))
	return standard
}

func hello(t *testing.T, b block) answers {
	var h message.Hello
	payload := b.get(t, "payload")
	if err := message.Decode([]byte(payload), &h); err != nil {
		t.Fatal(err)
	}
	out := macked(t, b, message.TypHello, payload, h)
	if err := message.VerifyMAC(message.TypHello, b.get(t, "kid"), b.bytes(t, "key"), []byte(out), &h); err != nil {
		t.Error(err)
	}
	return answers{"jws": out}
}

func announcement(t *testing.T, b block) answers {
	var body message.AnnouncementBody
	text := b.get(t, "body")
	if err := message.Decode([]byte(text), &body); err != nil {
		t.Fatal(err)
	}
	priv := ed25519.NewKeyFromSeed(b.bytes(t, "identity seed"))
	input := must(body.IdentityInput())(t)
	agree(t, input, fields("countersign/v1/announcement-identity", text))
	sig := ed25519.Sign(priv, input)
	text = text[:len(text)-1] + `,"identity":"` + base64.RawURLEncoding.EncodeToString(sig) + `"}`
	return answers{
		"identity": hex.EncodeToString(sig),
		"jws":      macked(t, b, message.TypAnnouncement, text, message.Announcement{AnnouncementBody: body, Identity: sig}),
	}
}

func signed[T any](typ message.Typ) func(*testing.T, block) answers {
	return func(t *testing.T, b block) answers {
		var v T
		payload := b.get(t, "payload")
		if err := message.Decode([]byte(payload), &v); err != nil {
			t.Fatal(err)
		}
		priv := ed25519.NewKeyFromSeed(b.bytes(t, "seed"))
		public := priv.Public().(ed25519.PublicKey)
		kid := must(message.NewJWK(public))(t).Thumbprint()
		product := must(message.SignEd25519(typ, kid, priv, v))(t)
		if err := message.VerifyEd25519(typ, kid, public, product, &v); err != nil {
			t.Error(err)
		}
		standard := jws(`{"alg":"EdDSA","kid":"`+kid+`","typ":"`+string(typ)+`"}`, payload, func(in []byte) []byte {
			return ed25519.Sign(priv, in)
		})
		agree(t, product, []byte(standard))
		return answers{"jws": standard}
	}
}

func envelope(t *testing.T, b block) answers {
	statement := []byte(b.get(t, "statement"))
	priv := ed25519.NewKeyFromSeed(b.bytes(t, "user seed"))
	kid := must(message.NewJWK(priv.Public()))(t).Thumbprint()
	created := must(time.Parse(time.RFC3339, b.get(t, "created")))(t)
	received := must(time.Parse(time.RFC3339, b.get(t, "received")))(t)
	request := httpsig.Message{
		Method: "POST", Authority: b.get(t, "authority"), Path: "/v1/requests",
		ContentType: b.get(t, "content type"), Body: statement,
	}
	s := must(httpsig.Sign(request, httpsig.StatementProfile, priv, kid, created))(t)
	deployment := must(message.ParseHash(audience(t, statement)))(t)
	if _, err := message.ParseStatement(statement, deployment); err != nil {
		t.Error(err)
	}
	e := must(message.Encode(message.Envelope{
		Version: 1, Deployment: deployment, Statement: statement,
		Signature: message.HTTPSignature{
			Input: s.SignatureInput, Signature: s.Signature,
			Authority: request.Authority, ContentType: request.ContentType,
		},
		Received: message.At(received),
	}))(t)
	return answers{
		"wallet id":       message.Sum(statement).String(),
		"content-digest":  s.ContentDigest,
		"signature-input": s.SignatureInput,
		"signature":       s.Signature,
		"envelope hash":   message.Sum(e).String(),
	}
}

func audience(t *testing.T, statement []byte) string {
	t.Helper()
	var s message.Statement
	if err := message.DecodeStrict(statement, &s); err != nil {
		t.Fatal(err)
	}
	return s.Audience.String()
}

func shares(t *testing.T, b block) answers {
	var s message.Shares
	if err := message.Decode([]byte(b.get(t, "shares")), &s); err != nil {
		t.Fatal(err)
	}
	h := must(s.Hash())(t)
	sum := sha256.Sum256(fields("countersign/v1/shares", b.get(t, "shares")))
	return answers{"hash": agree(t, h[:], sum[:])}
}

func share(t *testing.T, b block) answers {
	k, scope, id := b.bytes(t, "key"), b.get(t, "scope"), b.get(t, "id")
	got := must(wallet.NewShare(secrets.NewSecret(k), message.Scope(scope), id))(t)
	return answers{"share": agree(t, got.Bytes(), kdf(t, k, nil, fields("countersign/v1/share", scope, id)))}
}

func sealing(t *testing.T, b block) answers {
	text := b.get(t, "descriptor")
	var d message.AccountDescriptor
	if err := message.Decode([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	own := b.bytes(t, "signing share")
	ikm, parts := slices.Clone(own), []string{"countersign/v1/sealing", "account", d.ID, u64(d.Generation)}
	held := wallet.Shares{}
	for _, role := range d.Roles {
		s := b.bytes(t, role+" share")
		ikm, parts = append(ikm, s...), append(parts, role)
		held[role] = secrets.NewSecret(s)
	}
	k := kdf(t, ikm, d.Deployment[:], fields(parts...))
	ciphertext := append(b.bytes(t, "nonce"), gcm(t, k, b.bytes(t, "nonce"), b.bytes(t, "plaintext"), []byte(text))...)
	s := wallet.Sealing{Deployment: d.Deployment, Roles: d.Roles, Scope: message.ScopeAccount, ID: d.ID, Generation: d.Generation}
	opened, err := wallet.OpenKey(s, secrets.NewSecret(own), held, d, []byte(text), ciphertext)
	if err != nil {
		t.Fatalf("the product does not open what the page seals: %v", err)
	}
	opened.Wipe()
	return answers{"k": hex.EncodeToString(k), "ciphertext": hex.EncodeToString(ciphertext)}
}

// derivation goes the product's only way to a key: a sealed seed is opened.
func derivation(t *testing.T, b block) answers {
	id := message.Sum([]byte("create"))
	roles := []string{"fraud"}
	s := wallet.Sealing{Deployment: id, Roles: roles, Scope: message.ScopeSeed, ID: id.String(), Generation: 1}
	descriptor := must(message.Encode(message.WalletDescriptor{
		Version: 1, Deployment: id, ID: id.String(), Roles: roles, Generation: 1, Create: id,
	}))(t)
	own, held := secrets.Generate(), wallet.Shares{"fraud": secrets.Generate()}
	ciphertext := must(wallet.Seal(s, own, held, descriptor, secrets.NewSecret(b.bytes(t, "seed"))))(t)
	seed := must(wallet.OpenSeed(s, own, held, descriptor, ciphertext))(t)
	k := must(seed.Derive(b.get(t, "curve"), b.get(t, "path")))(t)
	sig := must(k.Sign(message.Digest{Algorithm: b.get(t, "curve"), Value: b.bytes(t, "digest")}))(t)
	return answers{"public key": hex.EncodeToString(k.PublicKey()), "signature": hex.EncodeToString(sig)}
}

// record is computed by the standard library alone: policy/history hides its
// MAC behind the database.
func record(t *testing.T, b block) answers {
	m := hmac.New(sha256.New, b.bytes(t, "key"))
	before := b.bytes(t, "before")
	m.Write(fields("countersign/v1/record", b.get(t, "role"), u64(number(t, b, "seq")), string(before), b.get(t, "body")))
	return answers{"mac": hex.EncodeToString(m.Sum(nil))}
}

// outcome signs by the reference library, and once more by the standard library.
func outcome(t *testing.T, b block) answers {
	key := secrets.NewSecret(b.bytes(t, "key"))
	secret := must(secrets.WebhookSecret(key, b.get(t, "webhook")))(t)
	agree(t, secret.Bytes(), kdf(t, key.Bytes(), nil, fields("countersign/v1/webhook", b.get(t, "webhook"))))
	signer := must(standardwebhooks.NewWebhook(string(secrets.FormatWebhook(secret).Bytes())))(t)
	at := number(t, b, "timestamp")
	signature := must(signer.Sign(b.get(t, "id"), time.Unix(int64(at), 0), []byte(b.get(t, "body"))))(t)
	mac := hmac.New(sha256.New, secret.Bytes())
	mac.Write([]byte(b.get(t, "id") + "." + b.get(t, "timestamp") + "." + b.get(t, "body")))
	agree(t, []byte(signature), []byte("v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	var event webhook.Event
	if err := message.Decode([]byte(b.get(t, "body")), &event); err != nil {
		t.Error(err)
	}
	return answers{"secret": string(secrets.FormatWebhook(secret).Bytes()), "signature": signature}
}
