package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startWithin is how long a deployment may take to be ready on a busy machine.
const startWithin = 2 * time.Minute

// TestDevelopmentDeployment builds the binaries, runs `countersign dev` as
// people do, and runs the scripts of testdata/dev against it, at once, then
// those of testdata/documents, which put other policy documents in force: a vote
// names the one that was active when it was made. After them no secret may stand
// where others can read, and nothing may be left running.
func TestDevelopmentDeployment(t *testing.T) {
	bin := build(t)
	dir := filepath.Join(deploymentDir(t), "deployment")
	launcher, output := launch(t, bin, dir)
	for _, scripts := range []string{"dev", "documents"} {
		t.Run(scripts, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: filepath.Join("testdata", scripts),
				Setup: func(e *testscript.Env) error {
					e.Setenv("COUNTERSIGN_PROFILE", filepath.Join(dir, "dev.json"))
					e.Setenv("DEPLOYMENT", dir)
					e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+bin)
					return nil
				},
			})
		})
	}
	t.Run("Webhook", func(t *testing.T) { toldOutcome(t, bin, dir) })
	t.Run("AttackSecretLeftInResponses", func(t *testing.T) { attackSecretLeftInResponses(t, dir) })
	t.Run("AttackPayloadLeftInLogs", func(t *testing.T) { attackPayloadLeftInLogs(t, dir) })
	pids, err := filepath.Glob(filepath.Join(dir, "run", "*.pid"))
	if err != nil || len(pids) != 5 {
		t.Errorf("%d services are running, want 5: %v", len(pids), err)
	}
	if err := launcher.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := launcher.Wait(); err != nil {
		t.Errorf("countersign dev ended with %v\n%s", err, output)
	}
	for _, left := range []string{"dev.json", "run/*.pid", "postgres/data/postmaster.pid"} {
		if found, _ := filepath.Glob(filepath.Join(dir, left)); len(found) > 0 {
			t.Errorf("%s is left behind", found)
		}
	}
}

// build compiles the services into a folder.
func build(t *testing.T) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/", "./services/...")
	cmd.Dir = filepath.Join(filepath.Dir(file), "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the services: %v\n%s", err, out)
	}
	return bin
}

// deploymentDir is a folder that another uid can reach, as t.TempDir is not.
func deploymentDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "countersign-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// launch starts `countersign dev` and waits until it is ready.
func launch(t *testing.T, bin, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	output := &bytes.Buffer{}
	cmd := exec.Command(filepath.Join(bin, "countersign"), "dev", "--dir", dir)
	cmd.Stdout, cmd.Stderr = output, output
	// Whatever becomes of this test, the launcher ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "dev.json")); err == nil {
			return cmd, output
		}
		if time.Now().After(deadline) || syscall.Kill(cmd.Process.Pid, 0) != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("countersign dev is not ready\n%s", output)
		}
	}
}
