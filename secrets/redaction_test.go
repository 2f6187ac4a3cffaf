package secrets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/secrets"
)

// rawSecret shows in every form that a printer could choose.
var rawSecret = []byte("qrstuvwxyzABCDEFGHIJKLMNOPQRSTUV")

// forms are the ways that bytes of rawSecret could stand in a text.
func forms() []string {
	half := rawSecret[:12]
	return []string{
		string(half), hex.EncodeToString(half), strings.ToUpper(hex.EncodeToString(half)),
		base64.StdEncoding.EncodeToString(half),
		"113 114 115", "113,114,115", "113, 114, 115", "0x71, 0x72", "0x71 0x72", "71 72 73 74",
	}
}

func holders(tb testing.TB) []any {
	s := secrets.NewSecret(rawSecret)
	type byPointer struct {
		Exported   *secrets.Secret
		unexported *secrets.Secret
	}
	type byValue struct {
		Exported   secrets.Secret
		unexported secrets.Secret
	}
	file := secrets.SecretFile{Half: secrets.HalfBuild, Generation: 1, Secret: s}
	branches := secrets.BranchFile{Branches: map[secrets.Purpose]*secrets.Secret{"wallet": s}}
	return []any{
		s, *s, &s, byPointer{s, s}, &byPointer{s, s}, byValue{*s, *s}, &byValue{*s, *s},
		[]*secrets.Secret{s}, []secrets.Secret{*s}, map[string]*secrets.Secret{"a": s}, map[string]secrets.Secret{"a": *s},
		any(s), file, &file, branches, []any{s, *s}, struct{ error }{fmt.Errorf("with %v", s)},
		newKeyring(tb, "fraud"),
	}
}

func newKeyring(tb testing.TB, service string) *secrets.Keyring {
	build, deploy := secrets.NewSecretFile(secrets.HalfBuild, 1), secrets.NewSecretFile(secrets.HalfDeploy, 1)
	pair := secrets.Pair{Build: must(build.Split(service, roles))(tb), Deploy: must(deploy.Split(service, roles))(tb)}
	return must(secrets.NewKeyring(deployment, service, roles, pair))(tb)
}

func TestAttackSecretLeftInLogs(t *testing.T) {
	var out bytes.Buffer
	for _, v := range holders(t) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%10v", "%-5.2s"} {
			fmt.Fprintln(&out, fmt.Sprintf(verb, v))
		}
		fmt.Fprintln(&out, v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		if b, err := jsonv2.Marshal(v); err == nil {
			out.Write(b)
		}
		func() { // yaml panics on some of the types; what it says counts too
			defer func() { fmt.Fprintln(&out, recover()) }()
			if b, err := yaml.Marshal(struct{ V any }{v}); err == nil {
				out.Write(b)
			}
		}()
		if b, err := xml.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, handler := range []slog.Handler{
			slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil),
		} {
			slog.New(handler).Info("message", slog.Any("value", v), slog.Group("group", "value", v), slog.Any("any", []any{v}))
		}
		out.WriteString(errors.Join(fmt.Errorf("opening %v: %w", v, os.ErrNotExist)).Error())
		func() {
			defer func() { fmt.Fprintln(&out, recover()) }()
			panic(v)
		}()
	}
	for _, form := range forms() {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q stands in the output", form)
		}
	}
	if strings.Count(out.String(), "[redacted]") < 100 {
		t.Error("hardly anything was redacted: the test tests nothing")
	}
}

// A panic that nobody recovers prints its value and the stacks' arguments.
func TestAttackSecretLeftInPanic(t *testing.T) {
	if os.Getenv("COUNTERSIGN_TEST_PANIC") != "" {
		s := secrets.NewSecret(rawSecret)
		panic(s)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAttackSecretLeftInPanic$")
	cmd.Env = append(os.Environ(), "COUNTERSIGN_TEST_PANIC=1", "GOTRACEBACK=all")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: ") || !strings.Contains(string(out), "[redacted]") {
		t.Fatalf("no panic: %v\n%s", err, out)
	}
	for _, form := range forms() {
		if strings.Contains(string(out), form) {
			t.Errorf("%q stands in the panic's output", form)
		}
	}
}

// A secret file that does not parse must not be quoted by the error.
func TestAttackSecretLeftInErrors(t *testing.T) {
	encoded := base64.RawURLEncoding.EncodeToString(rawSecret)
	for name, text := range map[string]string{
		"padding":    `{"version":1,"half":"build","generation":1,"secret":"` + encoded + `="}`,
		"one-more":   `{"version":1,"half":"build","generation":1,"secret":"` + encoded + `A"}`,
		"bad-letter": `{"version":1,"half":"build","generation":1,"secret":"` + encoded + `!"}`,
		"as-number":  `{"version":1,"half":"build","generation":"` + encoded + `","secret":""}`,
		"as-version": `{"version":"` + encoded + `","half":"build","generation":1}`,
		"no-quote":   `{"version":1,"half":"build","generation":1,"secret":"` + encoded,
		"weak":       `{"version":1,"half":"build","generation":1,"secret":"` + encoded + `"}`,
		"branch":     `{"version":1,"half":"build","service":"fraud","generation":1,"branches":{"wallet":"` + encoded + `="}}`,
		"in-array":   `["` + encoded + `"]`,
		"bare":       `"` + encoded + `"`,
		"only":       encoded,
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err1 := secrets.ReadSecretFile(path)
		_, err2 := secrets.ReadBranchFile(path)
		for _, err := range []error{err1, err2} {
			if err == nil {
				t.Errorf("%s: accepted", name)
				continue
			}
			for _, form := range append(forms(), encoded[:16], encoded) {
				if strings.Contains(err.Error(), form) {
					t.Errorf("%s: the error repeats the secret: %v", name, err)
				}
			}
		}
	}
}

func TestWipe(t *testing.T) {
	s := secrets.NewSecret(rawSecret)
	inside := s.Bytes()
	copied := *s
	s.Wipe()
	s.Wipe()
	if !bytes.Equal(inside, make([]byte, 32)) || s.Len() != 0 || copied.Len() != 0 {
		t.Error("bytes are left")
	}
	if _, err := secrets.Derive(s, nil, nil); err == nil {
		t.Error("a wiped secret derives")
	}
	if _, err := secrets.IdentityKey(s); err == nil {
		t.Error("a wiped secret is an identity")
	}
	if _, err := secrets.Branch(s, "wallet"); err == nil {
		t.Error("a wiped secret has branches")
	}
	var none *secrets.Secret
	none.Wipe()
	if none.Len() != 0 || none.Equal(none) || s.Equal(s) || secrets.NewSecret(nil).Equal(secrets.NewSecret(nil)) {
		t.Error("an empty secret equals something")
	}
	if a := secrets.NewSecret(rawSecret); !a.Equal(secrets.NewSecret(rawSecret)) || a.Equal(secrets.Generate()) {
		t.Error("Equal is wrong")
	}
	var zero secrets.Secret
	if zero.Len() != 0 || zero.Bytes() != nil {
		t.Error("the zero secret holds something")
	}
	zero.Wipe()
}
