package secrets_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/scratch/scratchtest"
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

// TestFilesAreWiped: of branch files nothing is left but the keys, one for each
// purpose; of whole secrets nothing at all.
func TestFilesAreWiped(t *testing.T) {
	dir, pair := t.TempDir(), pairs(t, 1)("fraud")
	build, deploy := filepath.Join(dir, "build"), filepath.Join(dir, "deploy")
	scratchtest.WantNone(t, func() {
		for path, f := range map[string]secrets.BranchFile{build: pair.Build, deploy: pair.Deploy} {
			if err := f.Write(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := pair.Build.Write(build); err == nil {
			t.Error("a file was overwritten")
		}
	}, "secrets.encode")
	left := scratchtest.Left(t, func() {
		var p secrets.Pair
		p.Build, p.Deploy = must(secrets.ReadBranchFile(build))(t), must(secrets.ReadBranchFile(deploy))(t)
		must(secrets.NewKeyring(deployment, "fraud", roles, p))(t)
	}, "secrets.ParseBranchFile", "secrets.read[...]", "secrets.Key", "secrets.expand")
	if want := must(secrets.Purposes("fraud", roles))(t); len(left) != len(want) {
		t.Errorf("%d buffers are left of %d keys", len(left), len(want))
	}
	for _, by := range left {
		if !strings.Contains(by, "secrets.expand:") || !strings.Contains(by, "secrets.(*Keyring).add:") {
			t.Errorf("not wiped: %s", by)
		}
	}
	whole := secrets.NewSecretFile(secrets.HalfBuild, 1)
	scratchtest.WantNone(t, func() {
		path := filepath.Join(dir, "whole")
		if err := whole.Write(path); err != nil {
			t.Fatal(err)
		}
		f := must(secrets.ReadSecretFile(path))(t)
		defer f.Secret.Wipe()
		must(secrets.Fingerprint(f.Secret))(t)
	}, "secrets.ParseSecretFile", "secrets.Fingerprint")
}

// TestRefusedFilesAreWiped: a file that is refused leaves nothing either,
// wherever the reading of it ended.
func TestRefusedFilesAreWiped(t *testing.T) {
	pair := pairs(t, 1)("fraud")
	branches := must(pair.Build.Encode())(t)
	whole := must(secrets.NewSecretFile(secrets.HalfBuild, 1).Encode())(t)
	weak := pairs(t, 1)("fraud").Build
	weak.Branches[secrets.Hello("fraud")] = secrets.NewSecret(make([]byte, secrets.Size))
	for name, file := range map[string][]byte{
		"cut":         branches[:len(branches)-1],
		"another":     whole,
		"version":     bytes.Replace(branches, []byte(`"version":1`), []byte(`"version":2`), 1),
		"canonical":   bytes.Replace(branches, []byte(`"version":1`), []byte(`"version": 1`), 1),
		"weak":        must(weak.Encode())(t),
		"whole-cut":   whole[:len(whole)-1],
		"whole-other": bytes.Replace(whole, []byte(`"half":"build"`), []byte(`"half":"other"`), 1),
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			scratchtest.WantNone(t, func() {
				_, one := secrets.ReadBranchFile(path)
				f, two := secrets.ReadSecretFile(path)
				f.Secret.Wipe()
				if one == nil || (two == nil) != (name == "another") {
					t.Errorf("read as branches: %v, as a secret: %v", one, two)
				}
			}, "secrets.read[...]")
		})
	}
}

// TestSharesAreWiped: once its holder wipes a share, nothing is left of it.
func TestSharesAreWiped(t *testing.T) {
	key := secrets.Generate()
	scratchtest.WantNone(t, func() {
		must(secrets.NewShare(key, "seed", deployment.String()))(t).Wipe()
		secrets.DatabasePassword(key).Wipe()
	}, "secrets.expand", "secrets.DatabasePassword")
}
