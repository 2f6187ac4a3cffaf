package countersigned_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOnlySigningLinksSealing: what opens seeds and account keys is not even in
// the programs of the other services, by whatever way of imports.
func TestOnlySigningLinksSealing(t *testing.T) {
	const module = "github.com/countersign/countersign/"
	links := func(program string) map[string]bool {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./services/"+program)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("listing what %s links: %v", program, err)
		}
		linked := map[string]bool{}
		for path := range strings.Lines(string(out)) {
			linked[strings.TrimPrefix(strings.TrimSpace(path), module)] = true
		}
		return linked
	}
	openers := []string{"wallet", "wallet/walletpg", "signing", "signing/countersigned"}
	for _, program := range []string{"proposer", "authorization", "fraud", "approval", "countersign"} {
		linked := links(program)
		for _, opener := range openers {
			if linked[opener] {
				t.Errorf("%s links %s", program, opener)
			}
		}
	}
	linked := links("signing")
	for _, opener := range openers {
		if !linked[opener] {
			t.Errorf("signing does not link %s: has it another name?", opener)
		}
	}
}
