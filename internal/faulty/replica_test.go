package faulty_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// TestReplicasUnderLoad: three instances of each policy service and of the
// signing service share the work, while one of them is killed now and then:
// every request ends, and exactly as many transfers are signed as the wallet's
// limit allows.
func TestReplicasUnderLoad(t *testing.T) {
	t.Parallel()
	requests := 150
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		requests = 2000
	}
	w := newWorld(t, "")
	var doomed []*exec.Cmd
	for _, service := range services[1:] {
		w.replica(service)
		doomed = append(doomed, w.replica(service))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	go func() {
		w.awaitResults(ctx, requests/10)
		for _, r := range doomed {
			_ = r.Process.Kill()
			time.Sleep(100 * time.Millisecond)
		}
	}()
	signed, rejected := w.transfers(ctx, requests, fmt.Sprint(transferValue))
	if want := spendable(); signed != want || signed+rejected != int64(requests) {
		t.Errorf("%d signed, %d rejected of %d requests; the limit allows %d", signed, rejected, requests, want)
	}
	w.checkNothingLost()
	w.checkAllWorked()
	page.load.add("three instances of each service, one of them killed", requests, signed, rejected, 0)
}

var health = regexp.MustCompile(`(?m)^health: .*$`)

// replica starts one more instance of a service beside the launcher's.
func (w *world) replica(service string) *exec.Cmd {
	w.Helper()
	config, err := os.ReadFile(filepath.Join(w.Dir, "config", service+".yaml"))
	if err != nil {
		w.Fatal(err)
	}
	config = health.ReplaceAll(config, []byte("health: 127.0.0.1:0"))
	if service == message.RoleApproval { // which serves approvers too
		config = regexp.MustCompile(`(?m)^( *address: 127\.0\.0\.1):\d+$`).ReplaceAll(config, []byte("$1:0"))
	}
	path := filepath.Join(w.TempDir(), service+".yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		w.Fatal(err)
	}
	log, err := os.Create(path + ".log")
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(w.Bin, service), "run", "--config", path)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
		if w.Failed() {
			b, _ := os.ReadFile(path + ".log")
			w.Logf("%s: %s", path, b)
		}
	})
	return cmd
}

// checkAllWorked makes sure that more than one signing instance took part.
func (w *world) checkAllWorked() {
	w.Helper()
	var n int
	if err := w.db.QueryRow("SELECT count(DISTINCT instance) FROM countersign.intent").Scan(&n); err != nil || n < 2 {
		w.Errorf("%d signing instances took part, %v", n, err)
	}
}
