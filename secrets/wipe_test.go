package secrets_test

import (
	"testing"

	"github.com/countersign/countersign/secrets"
)

// TestBranchesAreWiped: once a service's keys are made, its branches are gone,
// also when they were refused.
func TestBranchesAreWiped(t *testing.T) {
	for name, service := range map[string]string{"used": "fraud", "refused": "approval"} {
		t.Run(name, func(t *testing.T) {
			p := pairs(t, 1)("fraud")
			k, err := secrets.NewKeyring(deployment, service, roles, p)
			if (err == nil) != (service == "fraud") {
				t.Fatal(err)
			}
			for _, f := range []secrets.BranchFile{p.Build, p.Deploy} {
				for purpose, branch := range f.Branches {
					if branch.Len() != 0 {
						t.Errorf("branch %s of the %s half is still there", purpose, f.Half)
					}
				}
			}
			if err == nil && must(k.Key(secrets.Share("fraud"), 1))(t).Len() != secrets.Size {
				t.Error("the key was wiped too")
			}
		})
	}
}
