package document_test

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

func encode(t testing.TB, doc *document.Document) string {
	t.Helper()
	raw, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestParseReadsWhatYAMLWrites(t *testing.T) {
	d := deploymenttest.New(t)
	text := encode(t, d.Document())
	got, err := document.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, got); again != text {
		t.Fatalf("another document came out:\n%s\n%s", text, again)
	}
	if err := got.Validate(d.Genesis); err != nil {
		t.Fatal(err)
	}
}

// TestAttackAmbiguousYAML: a document that two readers could read differently
// is refused by every reader.
func TestAttackAmbiguousYAML(t *testing.T) {
	d := deploymenttest.New(t)
	good := encode(t, d.Document())
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the document has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"fail/unknown-key":            good + "surprise: 1\n",
		"fail/misspelled-key":         replace("approvers:", "aprovers:"),
		"fail/key-in-other-case":      replace("grants:", "Grants:"),
		"fail/unknown-nested-key":     replace("quorum: 1", "quorum: 1\n    quorom: 2"),
		"fail/duplicate-key":          good + "version: 2\n",
		"fail/duplicate-nested-key":   replace("quorum: 1", "quorum: 1\n    quorum: 0"),
		"fail/duplicate-service":      replace("services:", "services:\n    fraud: []"),
		"fail/alias":                  replace("quorum: 1", "quorum: &q 1\n    self_approval: *q"),
		"fail/anchor-alone":           replace("quorum: 1", "quorum: &q 1"),
		"fail/merge-key":              replace("quorum: 1", "<<: {quorum: 1}"),
		"fail/explicit-tag":           replace("quorum: 1", "quorum: !!int 1"),
		"fail/binary-tag":             replace("id: alice", "id: !!binary YWxpY2U="),
		"fail/empty-value":            replace("quorum: 1", "quorum:"),
		"fail/null-value":             replace("id: alice", "id: ~"),
		"fail/fraction":               replace("version: 1\n", "version: 1.5\n"),
		"fail/exponent":               replace("version: 1\n", "version: 1e0\n"),
		"fail/octal":                  replace("version: 1\n", "version: 01\n"),
		"fail/hexadecimal":            replace("version: 1\n", "version: 0x1\n"),
		"fail/underscored":            replace("version: 1\n", "version: 1_0\n"),
		"fail/signed":                 replace("version: 1\n", "version: +1\n"),
		"fail/infinite":               replace("version: 1\n", "version: .inf\n"),
		"fail/no":                     replace("self_approval: false", "self_approval: no"),
		"fail/False":                  replace("self_approval: false", "self_approval: False"),
		"fail/no-as-text":             replace("id: alice", "id: NO"),
		"fail/two-documents":          good + "---\n" + good,
		"fail/second-document-broken": good + "---\n{",
		"fail/not-a-mapping":          "- 1\n",
		"fail/empty":                  "",
		"fail/not-utf8":               good + "# \xff\n",
		"fail/byte-order-mark":        "\ufeff" + good,
		"fail/hidden-line-NEL":        replace("quorum: 1", "quorum: 1 # four eyes\u0085    self_approval: true"),
		"fail/hidden-line-LS":         replace("quorum: 1", "quorum: 1 # four eyes\u2028    self_approval: true"),
		"fail/hidden-line-PS":         replace("quorum: 1", "quorum: 1 # four eyes\u2029    self_approval: true"),
		"fail/hidden-line-CR":         replace("quorum: 1", "quorum: 1 # four eyes\r    self_approval: true"),
		"fail/hidden-right-to-left":   replace("quorum: 1", "quorum: 1 # \u202eeert"),
		"fail/hidden-zero-width":      replace("id: alice", "id: al\u200bice"),
		"fail/hidden-filler":          replace("id: alice", "id: alice\u3164"),
		"fail/hidden-selector":        replace("id: alice", "id: alice\ufe0f"),
		"fail/hidden-blank":           replace("quorum: 1", "quorum: 1 # \u2800"),
		"fail/hidden-no-break-space":  replace("id: alice", "id: alice\u00a0"),
		"fail/number-as-key":          replace("services:", "services:\n    1: []"),
		"fail/too-large":              good + "# " + strings.Repeat("x", document.MaxDocument),
		"fail/deep":                   replace("quorum: 1", "quorum: "+strings.Repeat("[", 100)+strings.Repeat("]", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := document.Parse([]byte(text)); !errors.Is(err, document.ErrForm) {
				t.Fatalf("got %v, want ErrForm", err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	d := deploymenttest.New(t)
	key := func() message.JWK { return deploymenttest.JWK(t, deploymenttest.Key(t)) }
	person := func(id string) document.User { return document.User{ID: id, Keys: []message.JWK{key()}} }
	type doc = *document.Document
	list := func(account string) func(doc) {
		return func(x doc) { x.Lists = []document.List{{ID: "denied", Entries: []document.Entry{{Account: account}}}} }
	}
	for name, tt := range map[string]struct {
		edit func(doc)
		want string // empty: valid
	}{
		"ok/default":         {func(doc) {}, ""},
		"ok/one-human":       {func(x doc) { x.Approvers[0].User = "alice" }, ""},
		"ok/no-approvers":    {func(x doc) { x.Approval.Approvers, x.Approval.Quorum, x.Rules.Approval = nil, 0, nil }, ""},
		"ok/user-is-voter":   {func(x doc) { x.Approvers[0].User, x.Approvers[0].Keys = "alice", x.Users[0].Keys }, ""},
		"fail/version":       {func(x doc) { x.Version = 0 }, "version 0"},
		"fail/deployment":    {func(x doc) { x.Deployment = message.Sum(nil).String() }, "deployment"},
		"fail/no-service":    {func(x doc) { delete(x.Services, "signing") }, "signing has no identity key"},
		"fail/extra-service": {func(x doc) { x.Services["audit"] = []message.JWK{key()} }, `"audit" is no service`},
		"fail/service-key-twice": {
			func(x doc) { x.Services["fraud"] = x.Services["approval"] }, "is also of",
		},
		"fail/service-key-is-admins": {
			func(x doc) { x.Services["fraud"] = []message.JWK{d.Genesis.Admins[0].Key} }, "key of admin ada",
		},
		"fail/user-twice":      {func(x doc) { x.Users = append(x.Users, person("alice")) }, "stands twice"},
		"fail/user-id":         {func(x doc) { x.Users[0].ID = "a b" }, "not usable"},
		"fail/shared-user-key": {func(x doc) { x.Users = append(x.Users, document.User{ID: "carol", Keys: x.Users[0].Keys}) }, "is also of"},
		"fail/token-half":      {func(x doc) { x.Users[0].Subject = "" }, "go together"},
		"fail/shared-token": {func(x doc) {
			u := person("carol")
			u.Issuer, u.Subject = x.Users[0].Issuer, x.Users[0].Subject
			x.Users = append(x.Users, u)
		}, "also of another user"},
		"fail/certificate":   {func(x doc) { x.Users[0].Certificates = []string{"AB"} }, "64 lower-case"},
		"fail/certificate-2": {func(x doc) { h := message.Sum(nil).String(); x.Users[0].Certificates = []string{h, h} }, "stands twice"},
		"fail/bad-key":       {func(x doc) { x.Users[0].Keys[0].X = x.Users[0].Keys[0].X[1:] }, "unknown key"},
		"fail/approver-twice": {func(x doc) {
			x.Approvers = append(x.Approvers, document.Approver{ID: "bob", Keys: []message.JWK{key()}})
		}, "stands twice"},
		"fail/approver-no-key": {func(x doc) { x.Approvers[0].Keys = nil }, "has no key"},
		"fail/approver-user":   {func(x doc) { x.Approvers[0].User = "nobody" }, "no user"},
		"fail/approver-key":    {func(x doc) { x.Approvers[0].Keys = x.Users[0].Keys }, "is also of"},
		"fail/approver-p256":   {func(x doc) { x.Approvers[0].Keys = []message.JWK{{Crv: "P-256", Kty: "EC"}} }, "unknown key"},
		"fail/shared-voter-key": {func(x doc) {
			x.Approvers[0].User = "alice"
			x.Approvers = append(x.Approvers, document.Approver{ID: "rob", User: "alice", Keys: x.Approvers[0].Keys})
		}, "is also of"},
		"fail/grant-user":   {func(x doc) { x.Grants[0].Users = []string{"nobody"} }, "no user"},
		"fail/grant-kind":   {func(x doc) { x.Grants[0].Kinds = []message.Kind{"ethereum.transactoin"} }, "not known"},
		"fail/grant-wallet": {func(x doc) { x.Grants[0].Wallets = []string{"Own"} }, "neither"},
		"fail/grant-empty":  {func(x doc) { x.Grants[0].Wallets = nil }, "must each name"},
		// Entries that look right and would never match anything.
		"fail/entry-form":       {list("0x00"), "CAIP-10"},
		"fail/entry-short":      {list("eip155:1:0xab"), "CAIP-10"},
		"fail/entry-no-0x":      {list("eip155:1:" + strings.Repeat("ab", 20)), "CAIP-10"},
		"fail/entry-long":       {list("eip155:1:0x" + strings.Repeat("ab", 21)), "CAIP-10"},
		"fail/entry-chain":      {list("eip155:01:0x" + strings.Repeat("ab", 20)), "CAIP-10"},
		"fail/entry-chain-zero": {list("eip155:0:0x" + strings.Repeat("ab", 20)), "CAIP-10"},
		"fail/entry-case":       {list("eip155:1:0xAB"), "lower case"},
		"fail/asset-form":       {func(x doc) { x.Assets[0].Asset = "ETH" }, "CAIP-19"},
		"fail/asset-case":       {func(x doc) { x.Assets[0].Asset = "eip155:1/erc20:0xAB" }, "lower case"},
		"fail/asset-twice":      {func(x doc) { x.Assets = append(x.Assets, x.Assets[0]) }, "stands twice"},
		"fail/unknown-voter":    {func(x doc) { x.Approval.Approvers = []string{"eve"} }, "no approver"},
		"fail/voter-twice":      {func(x doc) { x.Approval.Approvers = []string{"bob", "bob"} }, "stands twice"},
		"fail/quorum-zero":      {func(x doc) { x.Approval.Quorum = 0 }, "quorum 0"},
		"fail/quorum-too-high":  {func(x doc) { x.Approval.Quorum = 2 }, "quorum 2"},
		"fail/quorum-of-one-human": {func(x doc) {
			x.Approvers[0].User = "alice"
			x.Approvers = append(x.Approvers, document.Approver{ID: "rob", User: "alice", Keys: []message.JWK{key()}})
			x.Approval.Approvers, x.Approval.Quorum = []string{"bob", "rob"}, 2
		}, "the 1 persons"},
	} {
		t.Run(name, func(t *testing.T) {
			document := d.Document()
			tt.edit(document)
			err := document.Validate(d.Genesis)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	d := deploymenttest.New(t)
	doc := d.Document()
	doc.Version, doc.Approval.Quorum, doc.Users[0].ID = 0, 7, ""
	err := doc.Validate(d.Genesis)
	for _, want := range []string{"version 0", "quorum 7", `user ""`, `no user "alice"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	d := deploymenttest.New(f)
	f.Add([]byte(encode(f, d.Document())))
	f.Add([]byte("version: 1\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := document.Parse(raw)
		if err != nil {
			return
		}
		_ = doc.Validate(d.Genesis)
		again, err := document.Parse([]byte(encode(t, doc)))
		if err != nil {
			t.Fatalf("what was read does not read again: %v", err)
		}
		if encode(t, again) != encode(t, doc) {
			t.Fatal("another document came out")
		}
	})
}

// What is wrong is said by line, field and what is wanted, all of it at once, and
// without a name of this program.
func TestParseSaysWhatIsWanted(t *testing.T) {
	_, err := document.Parse([]byte(`version: "7"
expires: tomorrow
users:
  - {id: alice, keys: [{crv: Ed25519, kty: OKP, x: "="}]}
grants:
  users: [alice]
rules:
  fraud:
    - {id: large, efect: deny, when: "true"}
    - {id: small, effect: ask, when: [], quorum: two}
approval: {self_approval: perhaps}
`))
	want := []string{
		`line 1: version is "7", want a whole number in decimal digits, without quotes`,
		"line 2: expires: time is not RFC 3339 in whole seconds of UTC, such as 2027-01-31T00:00:00Z",
		"line 4: users[alice].keys[1].x: ",
		"line 6: grants is keys with values, want a list: [...], or lines that begin with -",
		"line 9: rules.fraud[large]: field efect not found: there are id, effect, kinds, when, reason, unknown_calls, approvers, quorum",
		"line 10: rules.fraud[small].when is a list, want text",
		`line 10: rules.fraud[small].quorum is "two", want a whole number in decimal digits, without quotes`,
		`line 11: approval.self_approval is "perhaps", want true or false`,
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nlacks %q", err, text)
		}
	}
	for _, text := range []string{"!!", "document.", "message.", "[]", "unmarshal"} {
		if err != nil && strings.Contains(strings.ReplaceAll(err.Error(), "[...]", ""), text) {
			t.Errorf("%v\nsays %q", err, text)
		}
	}
	if !errors.Is(err, document.ErrForm) || !errors.Is(err, document.ErrTime) {
		t.Errorf("%v is neither ErrForm nor ErrTime", err)
	}
}
