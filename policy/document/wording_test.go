package document_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/strictyaml"
	"github.com/countersign/countersign/policy/document"
)

// TestFaultsAreToldApart: whoever mends a document reads what is wrong, and not
// what else could be.
func TestFaultsAreToldApart(t *testing.T) {
	d := deploymenttest.New(t)
	type doc = *document.Document
	ask := func(approvers ...string) func(doc) {
		return func(x doc) {
			x.Rules.Approval = append(x.Rules.Approval, document.Rule{ID: "more", Effect: document.EffectAsk, When: "true", Approvers: approvers, Quorum: 1})
		}
	}
	members := func(ids ...string) func(doc) {
		return func(x doc) { x.Groups = []document.Group{{ID: "desk", Members: ids}} }
	}
	admins := func(edit func([]document.Admin)) func(doc) {
		return func(x doc) {
			x.Admins = &document.Admins{Threshold: 1}
			for _, name := range []string{"dan", "eve"} {
				x.Admins.Keys = append(x.Admins.Keys, document.Admin{Name: name, Key: deploymenttest.JWK(t, deploymenttest.Key(t))})
			}
			edit(x.Admins.Keys)
		}
	}
	hook := func(edit func(*document.Webhook)) func(doc) {
		return func(x doc) {
			w := document.Webhook{ID: "books", URL: "https://hooks.example/"}
			edit(&w)
			x.Webhooks = []document.Webhook{w}
		}
	}
	h := message.Sum(nil).String()
	for want, edit := range map[string]func(doc){
		`user "a b": id is not usable: it is up to 128 letters, digits and ._@-, the first a letter or digit`: func(x doc) {
			x.Users = append(x.Users, document.User{ID: "a b"})
		},
		`user "alice": the id stands twice`:                                     func(x doc) { x.Users = append(x.Users, document.User{ID: "alice"}) },
		`user "alice": certificate "x" is not 64 lower-case hex digits`:         func(x doc) { x.Users[0].Certificates = []string{"x"} },
		`user "alice": certificate "` + h + `" stands twice`:                    func(x doc) { x.Users[0].Certificates = []string{h, h} },
		`approver "bob": the id stands twice`:                                   func(x doc) { x.Approvers = append(x.Approvers, x.Approvers[0]) },
		`group "desk": there is no user or approver "clra"`:                     members("clra"),
		`group "desk": user or approver "alice" stands twice`:                   members("alice", "alice"),
		`approval: there is no approver "bop"`:                                  func(x doc) { x.Approval.Approvers = append(x.Approval.Approvers, "bop") },
		`approval: approver "bob" stands twice`:                                 func(x doc) { x.Approval.Approvers = append(x.Approval.Approvers, "bob") },
		`rules: approval: "more": there is no approver or group "bop"`:          ask("bob", "bop"),
		`rules: approval: "more": approver or group "bob" stands twice`:         ask("bob", "bob"),
		`admins: a name is missing`:                                             admins(func(a []document.Admin) { a[0].Name = "" }),
		"admins: \"a\\nb\": the name is longer than 128 bytes or not printable": admins(func(a []document.Admin) { a[0].Name = "a\nb" }),
		`admins: "dan": the name stands twice`:                                  admins(func(a []document.Admin) { a[1].Name = "dan" }),
		`admins: "eve": the key stands twice`:                                   admins(func(a []document.Admin) { a[1].Key = a[0].Key }),
		`webhook "books": there is no user "alcie"`:                             hook(func(w *document.Webhook) { w.Users = []string{"alcie"} }),
		`webhook "books": user "alice" stands twice`:                            hook(func(w *document.Webhook) { w.Users = []string{"alice", "alice"} }),
		`webhook "books": "sigend" is not how a request ends`:                   hook(func(w *document.Webhook) { w.Statuses = []message.Status{"sigend"} }),
		`webhook "books": status "done" stands twice`:                           hook(func(w *document.Webhook) { w.Statuses = []message.Status{"done", "done"} }),
	} {
		x := d.Document()
		edit(x)
		if err := x.Validate(d.Genesis); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), " or it ") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestEmptyDocument: it is said, and not how a reader finds it out.
func TestEmptyDocument(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n"} {
		if _, err := document.Parse([]byte(text)); err == nil || err.Error() != "not in the form of a policy document: it is empty" {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// TestSyntaxOfADocument: what stands without quotes is told from what the schema
// does not know.
func TestSyntaxOfADocument(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\nreason: a: b\n":        "line 2: mapping values are not allowed in this context",
		"version: 1\nwhen: !x\n":            "line 2: explicit tags are not allowed",
		"version: 1\nwhen: &x y\n":          "line 2: anchors and aliases are not allowed",
		"version: 1\nrules:\n\tfraud: []\n": "line 3: a tab stands before the text: write spaces",
	} {
		_, err := document.Parse([]byte(text))
		if err == nil || err.Error() != "not in the form of a policy document: "+want || !errors.As(err, new(strictyaml.SyntaxError)) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := document.Parse([]byte("verson: 1\n")); err == nil || errors.As(err, new(strictyaml.SyntaxError)) {
		t.Errorf("a misspelled key: got %v", err)
	}
}

// TestListFileOfOtherLineEnds names them, for nobody sees them.
func TestListFileOfOtherLineEnds(t *testing.T) {
	_, err := document.ReadList([]byte(accounts(1) + strings.Replace(accounts(1), "\n", "\r\n", 1)))
	if !errors.Is(err, document.ErrListFile) || !strings.HasSuffix(err.Error(), `line 2 ends with CR LF (\r\n); each line must end with LF (\n) alone`) {
		t.Errorf("got %v", err)
	}
}

// TestCheckAdmins: of two documents it can be told that the second leaves out
// whom it must name.
func TestCheckAdmins(t *testing.T) {
	d := deploymenttest.New(t)
	of := func(admins *document.Admins) *document.Document {
		x := d.Document()
		x.Admins = admins
		return x
	}
	genesis := &document.Admins{Threshold: d.Genesis.Threshold}
	for _, a := range d.Genesis.Admins {
		genesis.Keys = append(genesis.Keys, document.Admin(a))
	}
	others := &document.Admins{Threshold: 1, Keys: genesis.Keys}
	for name, tt := range map[string]struct {
		now, before *document.Admins
		want        error
	}{
		"ok/never-named":      {nil, nil, nil},
		"ok/named":            {others, others, nil},
		"ok/named-first":      {others, nil, nil},
		"ok/genesis-by-name":  {nil, genesis, nil},
		"fail/left-out-later": {nil, others, document.ErrNoAdmins},
	} {
		if err := of(tt.now).CheckAdmins(of(tt.before), d.Genesis); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
