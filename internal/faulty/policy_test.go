package faulty_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	times := 0
	switched, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(switched)
		for next := 0; ; {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if n := w.results(); n >= next { // 100 documents at most
				w.push(ctx, w.newDocument())
				times, next = times+1, n+requests/100
			}
		}
	}()
	signed, rejected := w.transfers(ctx, requests, "1000")
	close(done)
	<-switched
	if signed != int64(requests) || times < 3 {
		t.Errorf("%d signed and %d rejected of %d, with %d new documents", signed, rejected, requests, times)
	}
	page.load.add(fmt.Sprintf("the policy document is replaced %d times", times), requests, signed, rejected, w.checkNothingLost())
}

// push publishes a document as an operator does.
func (w *world) push(ctx context.Context, raw []byte) {
	w.Helper()
	path := filepath.Join(w.TempDir(), "policy.yaml")
	files := map[string][]byte{path: raw}
	args := []string{"policy", "push", path, "--config", filepath.Join(w.Dir, "config", "operator.yaml")}
	for i, signature := range w.bundle(raw).Signatures {
		name := fmt.Sprintf("%s.%d", path, i)
		files[name] = []byte(signature)
		args = append(args, "--signature", name)
	}
	for name, b := range files {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			w.Error(err)
		}
	}
	if _, err := w.Countersign(ctx, args...); err != nil {
		w.Error(err)
	}
}
