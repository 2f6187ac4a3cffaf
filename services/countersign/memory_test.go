package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// somebody is a user without rights, as whom the command runs where the test is
// root: a process of root is root's own in /proc whether it is dumpable or not.
const somebody = 65534

// TestAttackMemoryOfTheCommandLine: while a person's command holds a key, another
// program of the same person can neither look into its memory nor make it leave a
// core file. The kernel gives what is in /proc of such a process to root.
func TestAttackMemoryOfTheCommandLine(t *testing.T) {
	dir := deploymentDir(t)
	key := filepath.Join(dir, "key.pem")
	if err := unix.Mkfifo(key, 0o600); err != nil { // it waits here for its key
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: filepath.Join(dir, "countersign"), Args: []string{"countersign", "key", "show", key}}
	owner := os.Geteuid()
	if owner == 0 {
		owner = somebody
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
		if err := os.Chown(key, somebody, somebody); err != nil {
			t.Fatal(err)
		}
	}
	copyOfThis(t, cmd.Path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	proc := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid))
	waitForReader(t, key)

	info, err := os.Stat(filepath.Join(proc, "mem"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) == owner {
		t.Error("its memory is its user's own")
	}
	limits, err := os.ReadFile(filepath.Join(proc, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if words := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (words[4] != "0" || words[5] != "0") {
			t.Errorf("it may leave a core file: %s", line)
		}
	}
}

// copyOfThis writes this test's own program, which is the command line where it is
// called so, to where everybody may run it.
func copyOfThis(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// waitForReader returns when somebody reads from a pipe.
func waitForReader(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			t.Cleanup(func() { _ = unix.Close(fd) })
			return
		}
		if !errors.Is(err, unix.ENXIO) { // nobody reads yet
			t.Fatal(err)
		}
	}
	t.Fatal("the command does not read its key")
}
