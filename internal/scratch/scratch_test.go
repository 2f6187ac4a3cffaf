package scratch_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/scratch"
)

func TestWatch(t *testing.T) {
	scratch.Hold([]byte{1}) // nobody watches
	w := scratch.Begin()
	forgotten, cleared := scratch.Hold([]byte{0, 7}), scratch.Hold([]uint{7, 7})
	clear(cleared)
	if left := w.Left(); len(left) != 1 || !strings.Contains(left[0], "scratch_test.TestWatch:") || len(w.Held()) != 2 {
		t.Errorf("left: %v, held: %v", left, w.Held())
	}
	clear(forgotten)
	if left := w.Left(); left != nil {
		t.Errorf("left after all was cleared: %v", left)
	}
	w.End()
	scratch.Hold([]byte{1})
	if len(w.Held()) != 2 {
		t.Error("a watch goes on after its end")
	}
	again := scratch.Begin()
	defer again.End()
	defer func() {
		if recover() == nil {
			t.Error("two watches at once")
		}
	}()
	scratch.Begin()
}

// TestAttackWatchInAService: a watch would keep every key of a service.
func TestAttackWatchInAService(t *testing.T) {
	out, err := exec.Command("go", "run", "./testdata/service").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a watch outside of a test") {
		t.Errorf("it begins: %v, %s", err, out)
	}
}
