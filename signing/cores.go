package signing

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// onAllCores calls do for 0 to n-1, on as many goroutines as there are
// processors, and returns when all calls have. A panic in one of them is a
// panic here, as it would be in a loop, so that the queue's worker can recover
// from it.
func onAllCores(n int, do func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var panicked atomic.Value
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panicked.CompareAndSwap(nil, fault{p})
				}
			}()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	all.Wait()
	if p, ok := panicked.Load().(fault); ok {
		panic(p.value)
	}
}

// fault is what a goroutine panicked with.
type fault struct{ value any }
