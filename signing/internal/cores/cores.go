// Package cores spreads work that needs no order over the processors. It knows
// nothing of what the work is.
package cores

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls do for 0 to n-1, on as many goroutines as there are processors,
// of which the caller's is one, and returns when all calls have. A panic in one
// of them is a panic here, as it would be in a loop, so that the queue's worker
// can recover from it.
func Each(n int, do func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		InTurn(n, do)
		return
	}
	w := work{n: int64(n), do: do}
	for range workers - 1 {
		w.others.Go(w.some)
	}
	w.some()
	w.others.Wait()
	if p := w.panicked.Load(); p != nil {
		panic(*p)
	}
}

// InTurn does the same as Each on the caller's goroutine alone.
func InTurn(n int, do func(i int)) {
	for i := range n {
		do(i)
	}
}

// work is one call of Each.
type work struct {
	n        int64
	do       func(i int)
	next     atomic.Int64
	others   sync.WaitGroup
	panicked atomic.Pointer[any] // what the first goroutine panicked with
}

// some does what nobody else has begun, until nothing is left. A panic ends one
// goroutine's part; the others do the rest.
func (w *work) some() {
	defer func() {
		if p := recover(); p != nil {
			w.panicked.CompareAndSwap(nil, &p)
		}
	}()
	for i := w.next.Add(1) - 1; i < w.n; i = w.next.Add(1) - 1 {
		w.do(int(i))
	}
}
