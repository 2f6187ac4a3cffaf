package cores_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/signing/internal/cores"
)

// withCores runs a test as on a machine with so many processors.
func withCores(t *testing.T, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func TestEach(t *testing.T) {
	for _, processors := range []int{1, 2, 4} {
		withCores(t, processors)
		for _, n := range []int{0, 1, 2, 100} {
			calls := make([]atomic.Int32, n)
			cores.Each(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if calls[i].Load() != 1 {
					t.Errorf("%d of %d was called %d times", i, n, calls[i].Load())
				}
			}
		}
	}
}

// TestEachAtOnce: two calls that wait for each other both end.
func TestEachAtOnce(t *testing.T) {
	withCores(t, 2)
	var both sync.WaitGroup
	both.Add(2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cores.Each(2, func(int) {
			both.Done()
			both.Wait()
		})
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the calls came one after the other")
	}
}

// TestPanic: a panic reaches the one who called, after all others have ended,
// and does not end the process.
func TestPanic(t *testing.T) {
	withCores(t, 2)
	for _, n := range []int{1, 50} {
		var ended atomic.Int32
		func() {
			defer func() {
				if p := recover(); p != "fault" {
					t.Errorf("recovered %v", p)
				}
			}()
			cores.Each(n, func(i int) {
				if i == n/2 {
					panic("fault")
				}
				ended.Add(1)
			})
			t.Error("no panic")
		}()
		if n > 1 && ended.Load() != int32(n-1) {
			t.Errorf("%d others ran, want %d", ended.Load(), n-1)
		}
	}
}
