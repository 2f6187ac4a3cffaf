package hygiene_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/secrets/hygiene"
)

// child tells the test binary to play a process that dies with a secret.
const child = "COUNTERSIGN_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(child); what != "" {
		die(what)
	}
	os.Exit(m.Run())
}

// die allows core files as far as the machine does, hardens the process or
// not, says what it sees of itself, and aborts.
func die(what string) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
	if what == "hardened" {
		state, err := hygiene.Harden()
		fmt.Println("locked", state.MemoryLocked, "reason", state.Reason, "error", err)
	}
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	fmt.Println("core", limit.Cur, limit.Max)
	status, _ := os.ReadFile("/proc/self/status")
	fmt.Println(string(status))
	_ = unix.Kill(os.Getpid(), unix.SIGSEGV)
	select {}
}

// run starts a child in a folder of its own and returns what it said and how
// it ended.
func run(t *testing.T, what string) (string, syscall.WaitStatus) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), child+"="+what, "GOTRACEBACK=crash")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the child did not die: %v", err)
	}
	if files, err := os.ReadDir(cmd.Dir); what == "hardened" && (err != nil || len(files) > 0) {
		t.Errorf("it left %v behind, %v", files, err)
	}
	return string(out), exit.Sys().(syscall.WaitStatus)
}

// TestAttackCoreFile: a service that crashes leaves no image of its memory,
// whatever limit it was started with and GOTRACEBACK says.
func TestAttackCoreFile(t *testing.T) {
	if _, status := run(t, "plain"); !status.CoreDump() {
		t.Log("this machine dumps no core at all: only the limits are tested")
	}
	out, status := run(t, "hardened")
	if status.CoreDump() {
		t.Error("a core was dumped")
	}
	if !strings.Contains(out, "error <nil>") || !strings.Contains(out, "core 0 0\n") {
		t.Errorf("the child says %s", out)
	}
}

// TestAttackSwap: where locking is allowed, memory is locked, and where it is
// not that is said.
func TestAttackSwap(t *testing.T) {
	out, _ := run(t, "hardened")
	locked := strings.Contains(out, "locked true")
	if os.Geteuid() == 0 && !locked {
		t.Error("root may lock memory, but it is not locked")
	}
	if locked == strings.Contains(out, "VmLck:\t       0 kB") {
		t.Errorf("locked: %v, but the kernel says otherwise:\n%s", locked, out)
	}
	if !locked && !strings.Contains(out, "reason locking memory: ") {
		t.Errorf("no reason is given: %s", out)
	}
}
