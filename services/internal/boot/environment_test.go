package boot_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/services/internal/boot"
)

// TestAttackDebugSwitches: somebody who may set a service's environment, and no
// more, has it print tokens and messages, or weaken its TLS. The real binary
// refuses to start in a strict deployment, before it has read a secret.
func TestAttackDebugSwitches(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "signing")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../../signing")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := deploymenttest.New(t)
	files := files(t, d, message.RoleSigning)
	strict := serviceConfig(t, dir, files, false)
	tests := map[string]struct {
		set  string
		says string // "": it starts
	}{
		"nothing":                 {"", ""},
		"empty":                   {"GODEBUG=", ""},
		"harmless":                {"GODEBUG=gctrace=0,madvdontneed=1", ""},
		"fail/tokens":             {"GODEBUG=http2debug=2", `"http2debug"`},
		"fail/behind-a-harmless":  {"GODEBUG=madvdontneed=1,http2client=0", `"http2client"`},
		"fail/weaker-tls":         {"GODEBUG=tls10server=1", `"tls10server"`},
		"fail/a-later-go's":       {"GODEBUG=notyetknown=1", `"notyetknown"`},
		"fail/bound-values":       {"PQGO_DEBUG=1", "PQGO_DEBUG"},
		"fail/database-address":   {"PGHOSTADDR=192.0.2.1", "PGHOSTADDR"},
		"fail/database-options":   {"PGOPTIONS=-c log_statement=all", "PGOPTIONS"},
		"fail/database-password":  {"PGPASSWORD=hunter2", "PGPASSWORD"},
		"fail/oldest-tls-allowed": {"SSLPGMINPROTOCOLVERSION=TLSv1", "SSLPGMINPROTOCOLVERSION"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := initialise(binary, strict, tt.set)
			if tt.says == "" {
				if err != nil || !strings.Contains(out, `"kty"`) {
					t.Errorf("it does not start: %v\n%s", err, out)
				}
				return
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, tt.says) || !strings.Contains(out, boot.ErrDebug.Error()) {
				t.Errorf("%v\n%s", err, out)
			}
			if strings.Contains(out, `"kty"`) || strings.Contains(out, "hunter2") {
				t.Errorf("it goes on, or repeats the value:\n%s", out)
			}
		})
	}
	t.Run("development", func(t *testing.T) {
		out, err := initialise(binary, serviceConfig(t, t.TempDir(), files, true), "GODEBUG=http2debug=1")
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// initialise runs `signing init` with one variable in its environment.
func initialise(binary, path, set string) (string, error) {
	cmd := exec.Command(binary, "init", "--config", path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if set != "" {
		cmd.Env = append(cmd.Env, set)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// serviceConfig writes a configuration file for the signing service of a deployment, whose
// genesis document is made strict where the deployment is to be.
func serviceConfig(t *testing.T, dir string, c config.Service, development bool) string {
	t.Helper()
	b, err := os.ReadFile(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	genesis, path := filepath.Join(dir, "genesis.json"), filepath.Join(dir, "signing.yaml")
	if !development {
		b = []byte(strings.Replace(string(b), `"mode":"development"`, `"mode":"strict"`, 1))
	}
	text, err := json.Marshal(map[string]any{ // JSON is YAML
		"development": development, "genesis": genesis, "health": "127.0.0.1:0",
		"branches": []map[string]string{{"build": c.Branches[0].Build, "deploy": c.Branches[0].Deploy}},
		"database": map[string]any{
			"addresses": []string{"127.0.0.1:1"}, "name": "countersign", "ca": genesis, "server_name": "localhost",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{genesis: b, path: text} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
