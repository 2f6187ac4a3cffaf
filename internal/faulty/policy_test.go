package faulty_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// TestPolicySwitchedUnderLoad: new versions of the policy come into force, one
// after the other, while requests are under way: none is failed by it.
func TestPolicySwitchedUnderLoad(t *testing.T) {
	requests := 100
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		requests = 2000
	}
	t.Parallel()
	w := newWorld(t, message.RoleFraud)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	w.push(ctx, 2)
	switched, done := make(chan int), make(chan struct{})
	go func() {
		version := 2
		for ; ; version++ {
			select {
			case <-done:
				switched <- version
				return
			default:
				w.push(ctx, version+1)
			}
		}
	}()
	signed, rejected := w.transfers(ctx, requests, "1000")
	close(done)
	versions := <-switched
	if signed != int64(requests) || versions < 4 {
		t.Errorf("%d signed and %d rejected of %d, up to version %d", signed, rejected, requests, versions)
	}
	w.checkNothingLost()
	page.load.add(fmt.Sprintf("the policy document is replaced %d times", versions), requests, signed, rejected, 0)
}

// push publishes the deployment's own document with another version.
func (w *world) push(ctx context.Context, version int) string {
	raw, err := os.ReadFile(filepath.Join(w.Dir, "policy.yaml"))
	if err != nil {
		w.Error(err)
		return ""
	}
	path := filepath.Join(w.TempDir(), fmt.Sprintf("policy-%d.yaml", version))
	text := strings.Replace(string(raw), "version: 1\n", fmt.Sprintf("version: %d\n", version), 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Error(err)
	}
	args := []string{"policy", "push", path, "--config", filepath.Join(w.Dir, "config", "operator.yaml")}
	for _, admin := range []string{"ada", "ben"} {
		signature := path + "." + admin
		if _, err := w.Countersign(ctx, "policy", "sign", path, "--genesis", filepath.Join(w.Dir, "genesis.json"),
			"--key", filepath.Join(w.Dir, "keys", "admin-"+admin+".pem"), "--out", signature); err != nil {
			w.Error(err)
		}
		args = append(args, "--signature", signature)
	}
	if _, err := w.Countersign(ctx, args...); err != nil {
		w.Error(err)
	}
	return path
}
