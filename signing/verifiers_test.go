package signing_test

import (
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/scratch/scratchtest"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing"
)

// TestPasswordsAreWiped: of the passwords that verifiers are made of nothing is
// left.
func TestPasswordsAreWiped(t *testing.T) {
	d := deploymenttest.New(t)
	scratchtest.WantNone(t, func() {
		verifiers, err := signing.Verifiers(d.Keyrings["signing"], d.Genesis.Roles)
		if err != nil || len(verifiers) != len(secrets.Services(d.Genesis.Roles)) {
			t.Errorf("%d verifiers, %v", len(verifiers), err)
		}
	}, "secrets.DatabasePassword", "database.verifier")
}
