package secrets_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

func TestFilesRoundTrip(t *testing.T) {
	dir := t.TempDir()
	whole := secrets.NewSecretFile(secrets.HalfBuild, 3)
	path := filepath.Join(dir, "build")
	if err := whole.Write(path); err != nil {
		t.Fatal(err)
	}
	if info := must(os.Stat(path))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	if err := whole.Write(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwriting: %v", err)
	}
	got := must(secrets.ReadSecretFile(path))(t)
	if got.Half != whole.Half || got.Generation != 3 || !got.Secret.Equal(whole.Secret) {
		t.Error("another secret was read")
	}
	for _, service := range secrets.Services(roles) {
		f := must(whole.Split(service, roles))(t)
		path := filepath.Join(dir, service)
		if err := f.Write(path); err != nil {
			t.Fatal(err)
		}
		back := must(secrets.ReadBranchFile(path))(t)
		if back.Service != service || len(back.Branches) != len(f.Branches) {
			t.Errorf("%s: read %d branches of %s", service, len(back.Branches), back.Service)
		}
		for p, b := range f.Branches {
			if !b.Equal(back.Branches[p]) {
				t.Errorf("%s: branch %s differs", service, p)
			}
		}
	}
	if _, err := whole.Split("nobody", roles); err == nil {
		t.Error("an unknown service gets branches")
	}
}

func TestAttackWorldReadableSecretFile(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o666, 0o601, 0o777} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := secrets.NewSecretFile(secrets.HalfBuild, 1).Write(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secrets.ReadSecretFile(path); !errors.Is(err, secrets.ErrPermissions) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := secrets.ReadSecretFile(t.TempDir()); err == nil {
		t.Error("a directory is read")
	}
	if _, err := secrets.ReadSecretFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, secrets.MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.ReadSecretFile(big); err == nil {
		t.Error("a file above MaxFile is read")
	}
}

func count(from, step byte) []byte {
	out := make([]byte, 32)
	for i := range out {
		out[i] = from + byte(i)*step
	}
	return out
}

func TestAttackExampleSecret(t *testing.T) {
	for name, b := range map[string][]byte{
		"zeros":         make([]byte, 32),
		"ones":          bytes.Repeat([]byte{0xff}, 32),
		"word":          bytes.Repeat([]byte("change-me!"), 4)[:32],
		"counting":      count(0, 1),
		"counting-on":   count(32, 1),
		"counting-down": count(200, 255),
		"by-three":      count(5, 3),
		"printable":     []byte("0123456789abcdefghijklmnopqrstuv"),
		"hex-text":      []byte("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
		"half-zero":     append(count(1, 7)[:14], make([]byte, 18)...),
		"short":         count(1, 7)[:31],
		"long":          append(count(1, 7), 9),
		"empty":         nil,
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			encoded := must(secrets.SecretFile{Half: secrets.HalfBuild, Generation: 1, Secret: secrets.NewSecret(b)}.Encode())(t)
			if _, err := secrets.ParseSecretFile(encoded); !errors.Is(err, secrets.ErrWeak) && !errors.Is(err, secrets.ErrSize) {
				t.Errorf("secret file: %v", err)
			}
			branches := secrets.BranchFile{
				Half: secrets.HalfBuild, Service: "fraud", Generation: 1,
				Branches: map[secrets.Purpose]*secrets.Secret{"share/fraud": secrets.NewSecret(b)},
			}
			if _, err := secrets.ParseBranchFile(must(branches.Encode())(t)); !errors.Is(err, secrets.ErrWeak) && !errors.Is(err, secrets.ErrSize) {
				t.Errorf("branch file: %v", err)
			}
		})
	}
	for range 1000 {
		f := secrets.NewSecretFile(secrets.HalfDeploy, 1)
		if _, err := secrets.ParseSecretFile(must(f.Encode())(t)); err != nil {
			t.Fatalf("a random secret is refused: %v", err)
		}
	}
}

func TestFileRefuses(t *testing.T) {
	good := string(must(secrets.NewSecretFile(secrets.HalfBuild, 1).Encode())(t))
	for name, c := range map[string]struct{ old, new string }{
		"version":       {`"version":1`, `"version":2`},
		"half":          {`"build"`, `"other"`},
		"generation":    {`"generation":1`, `"generation":0`},
		"negative":      {`"generation":1`, `"generation":-1`},
		"unknown":       {`"generation":1`, `"generation":1,"note":""`},
		"duplicate":     {`"generation":1`, `"generation":1,"generation":1`},
		"other-case":    {`"generation"`, `"Generation"`},
		"white-space":   {`"generation":1`, `"generation": 1`},
		"trailing":      {"}\n", "}\n\n"},
		"no-line-feed":  {"}\n", "}"},
		"carriage":      {"}\n", "}\r\n"},
		"second-object": {"}\n", "}{}\n"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if _, err := secrets.ParseSecretFile([]byte(bad)); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

// pairs makes both halves of every service.
func pairs(tb testing.TB, generation int) func(service string) secrets.Pair {
	build, deploy := secrets.NewSecretFile(secrets.HalfBuild, generation), secrets.NewSecretFile(secrets.HalfDeploy, generation)
	return func(service string) secrets.Pair {
		return secrets.Pair{Build: must(build.Split(service, roles))(tb), Deploy: must(deploy.Split(service, roles))(tb)}
	}
}

func TestKeyring(t *testing.T) {
	first, second := pairs(t, 1), pairs(t, 2)
	k := must(secrets.NewKeyring(deployment, "fraud", roles, first("fraud"), second("fraud")))(t)
	if k.Generation() != 2 || !slices.Equal(k.Generations(), []int{2, 1}) || k.Service() != "fraud" || k.Deployment() != deployment {
		t.Errorf("keyring says %d, %v, %s", k.Generation(), k.Generations(), k.Service())
	}
	one, two := must(k.Key(secrets.Share("fraud"), 1))(t), must(k.Key(secrets.Share("fraud"), 2))(t)
	if one.Equal(two) {
		t.Error("two generations, one key")
	}
	for _, c := range []struct {
		p secrets.Purpose
		g int
	}{{secrets.Share("fraud"), 3}, {secrets.Share("fraud"), 0}, {secrets.Share("approval"), 1}, {secrets.PurposeWallet, 1}, {"", 1}} {
		if _, err := k.Key(c.p, c.g); err == nil {
			t.Errorf("there is a key %s of generation %d", c.p, c.g)
		}
	}
	if id := secrets.KeyID(secrets.Announce("fraud"), 1); id != "announce/fraud/1" {
		t.Errorf("key id is %s", id)
	}
}

func TestAttackBranchesNotNeeded(t *testing.T) {
	made := pairs(t, 1)
	extra := made("fraud")
	extra.Build.Branches[secrets.PurposeWallet] = secrets.Generate()
	extra.Deploy.Branches[secrets.PurposeWallet] = secrets.Generate()
	missing := made("fraud")
	delete(missing.Build.Branches, secrets.Share("fraud"))
	other := pairs(t, 2)
	for name, c := range map[string]struct {
		service string
		pairs   []secrets.Pair
	}{
		"no-pair":            {"fraud", nil},
		"three-pairs":        {"fraud", []secrets.Pair{made("fraud"), other("fraud"), pairs(t, 3)("fraud")}},
		"generation-twice":   {"fraud", []secrets.Pair{made("fraud"), made("fraud")}},
		"generations-mixed":  {"fraud", []secrets.Pair{{Build: made("fraud").Build, Deploy: other("fraud").Deploy}}},
		"halves-exchanged":   {"fraud", []secrets.Pair{{Build: made("fraud").Deploy, Deploy: made("fraud").Build}}},
		"build-twice":        {"fraud", []secrets.Pair{{Build: made("fraud").Build, Deploy: made("fraud").Build}}},
		"another-service":    {"fraud", []secrets.Pair{made("approval")}},
		"mixed-services":     {"fraud", []secrets.Pair{{Build: made("fraud").Build, Deploy: made("approval").Deploy}}},
		"branch-too-many":    {"fraud", []secrets.Pair{extra}},
		"branch-missing":     {"fraud", []secrets.Pair{missing}},
		"unknown-service":    {"nobody", []secrets.Pair{made("fraud")}},
		"one-secret-for-two": {"fraud", []secrets.Pair{oneSecretTwice(t)}},
	} {
		t.Run("fail/"+name, func(t *testing.T) {
			if _, err := secrets.NewKeyring(deployment, c.service, roles, c.pairs...); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// oneSecretTwice is what one gets who uses one random value for both halves:
// then one person's secret is everything.
func oneSecretTwice(t *testing.T) secrets.Pair {
	build := secrets.NewSecretFile(secrets.HalfBuild, 1)
	deploy := secrets.SecretFile{Half: secrets.HalfDeploy, Generation: 1, Secret: build.Secret}
	return secrets.Pair{Build: must(build.Split("fraud", roles))(t), Deploy: must(deploy.Split("fraud", roles))(t)}
}

func FuzzBranchFile(f *testing.F) {
	build := secrets.SecretFile{Half: secrets.HalfBuild, Generation: 1, Secret: secrets.NewSecret(message.Context("x", count(7, 11))[:32])}
	good := must(must(build.Split("fraud", roles))(f).Encode())(f)
	f.Add(good)
	f.Add(append([]byte(" "), good...))
	f.Add(bytes.ReplaceAll(good, []byte("a"), []byte(`\u0061`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := secrets.ParseBranchFile(b)
		if err != nil {
			return
		}
		if again := must(got.Encode())(t); !bytes.Equal(again, b) {
			t.Errorf("%q parses, but encodes to %q", b, again)
		}
	})
}

func FuzzSecretFile(f *testing.F) {
	f.Add(must(secrets.SecretFile{Half: secrets.HalfBuild, Generation: 1, Secret: secrets.NewSecret(message.Context("x", count(7, 11))[:32])}.Encode())(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := secrets.ParseSecretFile(b)
		if err != nil {
			return
		}
		if again := must(got.Encode())(t); !bytes.Equal(again, b) {
			t.Errorf("%q parses, but encodes to %q", b, again)
		}
	})
}
