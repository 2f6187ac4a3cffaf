package document_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// TestAttackIdsThatDifferInCase: the user alice does not agree to her own requests
// as an approver Alice, and nobody is counted twice under two spellings.
func TestAttackIdsThatDifferInCase(t *testing.T) {
	d := deploymenttest.New(t)
	key := func() []message.JWK { return []message.JWK{deploymenttest.JWK(t, deploymenttest.Key(t))} }
	approver := func(id, user string) func(*document.Document) {
		return func(x *document.Document) {
			x.Approvers = append(x.Approvers, document.Approver{ID: id, User: user, Keys: key()})
		}
	}
	for name, test := range map[string]struct {
		edit func(*document.Document)
		want string // empty: valid
	}{
		"ok/same-id":              {approver("alice", ""), ""},
		"ok/other-id":             {approver("alice2", ""), ""},
		"fail/approver-like-user": {approver("Alice", ""), `approver "Alice": the id differs from "alice" in case only`},
		"fail/although-the-same":  {approver("aLICE", "alice"), `"aLICE"`},
		"fail/approvers":          {approver("BOB", ""), `approver "BOB": the id differs from "bob" in case only`},
		"fail/users": {func(x *document.Document) {
			x.Users = append(x.Users, document.User{ID: "ALICE", Keys: key()})
		}, `user "ALICE": the id differs from "alice" in case only`},
	} {
		t.Run(name, func(t *testing.T) {
			x := d.Document()
			test.edit(x)
			err := x.Validate(d.Genesis)
			if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
