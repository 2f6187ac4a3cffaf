package signing_test

import (
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/signing"
)

func TestOnAllCores(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		calls := make([]atomic.Int32, n)
		signing.OnAllCores(n, func(i int) { calls[i].Add(1) })
		for i := range calls {
			if calls[i].Load() != 1 {
				t.Errorf("%d of %d was called %d times", i, n, calls[i].Load())
			}
		}
	}
}

// TestOnAllCoresPanics: a panic reaches the one who called, after all others
// have ended, and does not end the process.
func TestOnAllCoresPanics(t *testing.T) {
	for _, n := range []int{1, 50} {
		var ended atomic.Int32
		func() {
			defer func() {
				if p := recover(); p != "fault" {
					t.Errorf("recovered %v", p)
				}
			}()
			signing.OnAllCores(n, func(i int) {
				if i == n/2 {
					panic("fault")
				}
				ended.Add(1)
			})
			t.Error("no panic")
		}()
		if n > 1 && ended.Load() == 0 {
			t.Error("nothing else ran")
		}
	}
}
