package document_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// introduce returns an edit that names new admins.
func introduce(t *testing.T, threshold int, keys ...ed25519.PrivateKey) func(*document.Document) {
	t.Helper()
	admins := &document.Admins{Threshold: threshold}
	for i, key := range keys {
		admins.Keys = append(admins.Keys, document.Admin{Name: []string{"dan", "eve", "fay"}[i], Key: deploymenttest.JWK(t, key)})
	}
	return func(x *document.Document) { x.Admins = admins }
}

// signedBy returns the default document, changed and signed.
func signedBy(t *testing.T, d *deploymenttest.Deployment, edit func(*document.Document), admins ...ed25519.PrivateKey) message.PolicyBundle {
	t.Helper()
	doc := d.Document()
	edit(doc)
	return d.Sign([]byte(encode(t, doc)), admins...)
}

func TestSuccession(t *testing.T) {
	d := deploymenttest.New(t)
	dan, eve := deploymenttest.Key(t), deploymenttest.Key(t)
	edit := introduce(t, 2, dan, eve)
	old := document.GenesisQuorum(d.Genesis)
	s, err := document.VerifySigned(signedBy(t, d, edit, d.Admins[0], dan, d.Admins[1], eve), old, d.Genesis, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if s.Next.Threshold != 2 || len(s.Next.Admins) != 2 || s.Next.Admins[0].Name != "dan" {
		t.Fatalf("next are %+v", s.Next)
	}
	two := signedBy(t, d, func(x *document.Document) { edit(x); x.Version = 2 }, dan, eve)
	if _, err := document.VerifySuccessor(two, s.Next, d.Genesis, d.ID); err != nil {
		t.Fatal(err)
	}
	refused(t, d, two, document.ErrQuorum) // with the genesis's admins in force

	silent := signedBy(t, d, func(x *document.Document) { x.Version = 2 }, dan, eve)
	if _, err := document.VerifySuccessor(silent, s.Next, d.Genesis, d.ID); err == nil || !strings.Contains(err.Error(), "admins are missing") {
		t.Fatalf("got %v", err)
	}
}

// TestSuccessionOverlap: who is an old and a new admin signs once and counts in
// both.
func TestSuccessionOverlap(t *testing.T) {
	d := deploymenttest.New(t)
	dan := deploymenttest.Key(t)
	edit := introduce(t, 2, dan, d.Admins[0])
	if _, err := document.VerifyBundle(signedBy(t, d, edit, d.Admins[0], d.Admins[1], dan), d.Genesis, d.ID); err != nil {
		t.Fatal(err)
	}
	refused(t, d, signedBy(t, d, edit, d.Admins[0], d.Admins[1]), document.ErrQuorum)
	refused(t, d, signedBy(t, d, edit, d.Admins[0], dan), document.ErrQuorum)
}

// TestLostAdminKey: two of three are enough to replace the third.
func TestLostAdminKey(t *testing.T) {
	d := deploymenttest.New(t)
	dan := deploymenttest.Key(t)
	edit := introduce(t, 2, d.Admins[0], d.Admins[1], dan)
	s, err := document.VerifySigned(signedBy(t, d, edit, d.Admins[0], d.Admins[1]), document.GenesisQuorum(d.Genesis), d.Genesis, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	lost := signedBy(t, d, func(x *document.Document) { edit(x); x.Version = 2 }, d.Admins[0], d.Admins[2])
	if _, err := document.VerifySuccessor(lost, s.Next, d.Genesis, d.ID); !errors.Is(err, document.ErrSigner) {
		t.Fatalf("the lost key still signs: %v", err)
	}
}

// TestAttackNewQuorumWithoutTheOld: nobody makes himself an admin.
func TestAttackNewQuorumWithoutTheOld(t *testing.T) {
	d := deploymenttest.New(t)
	dan, eve := deploymenttest.Key(t), deploymenttest.Key(t)
	edit := introduce(t, 2, dan, eve)
	refused(t, d, signedBy(t, d, edit, dan, eve), document.ErrQuorum)
	refused(t, d, signedBy(t, d, edit, dan, eve, d.Admins[0]), document.ErrQuorum)
	// The old alone prove nothing of the new keys.
	refused(t, d, signedBy(t, d, edit, d.Admins[0], d.Admins[1]), document.ErrQuorum)
	refused(t, d, signedBy(t, d, edit, d.Admins[0], d.Admins[1], dan), document.ErrQuorum)
	refused(t, d, signedBy(t, d, edit, d.Admins[0], d.Admins[1], dan, dan), document.ErrSigner)
	refused(t, d, signedBy(t, d, edit, d.Admins[0], d.Admins[1], dan, eve, deploymenttest.Key(t)), document.ErrSigner)
}

func TestValidateAdmins(t *testing.T) {
	d := deploymenttest.New(t)
	dan, eve := deploymenttest.Key(t), deploymenttest.Key(t)
	for name, tt := range map[string]struct {
		strict bool
		edit   func(*document.Document)
		want   string
	}{
		"ok":                  {false, func(*document.Document) {}, ""},
		"ok/strict":           {true, func(*document.Document) {}, ""},
		"ok/one-of-two":       {false, func(x *document.Document) { x.Admins.Threshold = 1 }, ""},
		"fail/threshold-zero": {false, func(x *document.Document) { x.Admins.Threshold = 0 }, "threshold 0"},
		"fail/threshold-high": {false, func(x *document.Document) { x.Admins.Threshold = 3 }, "threshold 3"},
		"fail/strict-one":     {true, func(x *document.Document) { x.Admins.Threshold = 1 }, "strict mode"},
		"fail/name-twice":     {false, func(x *document.Document) { x.Admins.Keys[1].Name = "dan" }, "stands twice"},
		"fail/no-name":        {false, func(x *document.Document) { x.Admins.Keys[1].Name = "" }, "missing"},
		"fail/name-control":   {false, func(x *document.Document) { x.Admins.Keys[1].Name = "a\nb" }, "not printable"},
		"fail/key-twice":      {false, func(x *document.Document) { x.Admins.Keys[1].Key = x.Admins.Keys[0].Key }, "stands twice"},
		"fail/key-form":       {false, func(x *document.Document) { x.Admins.Keys[1].Key.Crv = "P-256" }, "unknown key"},
		"fail/key-of-service": {false, func(x *document.Document) { x.Admins.Keys[1].Key = x.Services["fraud"][0] }, "is also a service's"},
	} {
		t.Run(name, func(t *testing.T) {
			genesis := d.Genesis
			doc := d.Document()
			if tt.strict {
				genesis.Mode = message.ModeStrict
				raw, err := message.Encode(genesis)
				if err != nil {
					t.Fatal(err)
				}
				doc.Deployment = message.Sum(raw).String()
			}
			introduce(t, 2, dan, eve)(doc)
			tt.edit(doc)
			err := doc.Validate(genesis)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestSignedIsReadPastWhatIsNew: the succession goes on over documents of
// another release, but not over what it does not know of the admins.
func TestSignedIsReadPastWhatIsNew(t *testing.T) {
	d := deploymenttest.New(t)
	sign := func(text string) message.PolicyBundle {
		raw := []byte(text)
		b := message.PolicyBundle{Document: raw}
		for i, admin := range d.Admins[:2] {
			compact, err := message.SignEd25519(message.TypPolicySignature, d.Genesis.Admins[i].Key.Thumbprint(), admin,
				message.PolicySignature{
					Version: message.Version, Deployment: d.ID,
					Policy: message.PolicyRef{Version: 1, Hash: message.Sum(raw)},
				})
			if err != nil {
				t.Fatal(err)
			}
			b.Signatures = append(b.Signatures, string(compact))
		}
		return b
	}
	old := document.GenesisQuorum(d.Genesis)
	good := encode(t, d.Document())
	s, err := document.VerifySigned(sign(good+"surprise: 1\n"), old, d.Genesis, d.ID)
	if err != nil || s.Ref.Version != 1 {
		t.Fatalf("got %v", err)
	}
	if a, err := s.Read(d.Genesis); err == nil || a != nil {
		t.Fatal("it can be used")
	}
	if _, err := document.VerifySigned(sign(good+"admins: {threshold: 1, keys: [], weight: 2}\n"), old, d.Genesis, d.ID); !errors.Is(err, document.ErrForm) {
		t.Fatalf("got %v", err)
	}
	none, err := document.VerifySigned(sign(strings.Replace(good, "expires:", "expired:", 1)), old, d.Genesis, d.ID)
	if err != nil || !none.Expires.IsZero() {
		t.Fatalf("got %v", err)
	}
}

// TestAttackServiceWithAnAdminsKey: a later document cannot make an admin who is
// in force a service.
func TestAttackServiceWithAnAdminsKey(t *testing.T) {
	d := deploymenttest.New(t)
	fraud := d.IdentityKey("fraud")
	inForce := document.Quorum{Threshold: 1, Admins: []message.Admin{{Name: "dan", Key: deploymenttest.JWK(t, fraud)}}}
	bundle := signedBy(t, d, introduce(t, 1, deploymenttest.Key(t)), fraud)
	_, err := document.VerifySuccessor(bundle, inForce, d.Genesis, d.ID)
	if err == nil || !strings.Contains(err.Error(), "is also a service's") {
		t.Fatalf("got %v", err)
	}
}

func TestExpired(t *testing.T) {
	d := deploymenttest.New(t)
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	a := d.Active(func(x *document.Document) { x.Expires = document.At(end) })
	for moment, want := range map[time.Time]bool{end.Add(-time.Nanosecond): false, end: true, end.Add(time.Hour): true} {
		if a.Expired(moment) != want {
			t.Errorf("at %v: %v", moment, !want)
		}
	}
	x := d.Document()
	x.Expires = document.Time{}
	if err := x.Validate(d.Genesis); err == nil || !strings.Contains(err.Error(), "expires is missing") {
		t.Fatalf("got %v", err)
	}
	good := encode(t, d.Document())
	stands := "2100-01-01T00:00:00Z"
	for _, bad := range []string{
		"2027-01-31", "2027-01-31T00:00:00", "2027-01-31T01:00:00+01:00", "2027-01-31T00:00:00.5Z", "2027-01-31t00:00:00z", "soon", "1800000000", "[]",
	} {
		if !strings.Contains(good, stands) {
			t.Fatal("the default document has another end")
		}
		for _, text := range []string{bad, `"` + bad + `"`} {
			changed := strings.Replace(good, `"`+stands+`"`, text, 1)
			if changed == good {
				changed = strings.Replace(good, stands, text, 1)
			}
			if _, err := document.Parse([]byte(changed)); err == nil {
				t.Errorf("%s was read", text)
			}
		}
	}
}
