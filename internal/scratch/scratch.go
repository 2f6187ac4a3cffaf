// Package scratch marks the buffers that hold key material for a while and are
// overwritten afterwards, so that a test can find one that was forgotten.
//
// In a service Hold does nothing: nobody watches there, and nobody can. The
// package overwrites nothing itself; whoever holds a buffer does.
package scratch

import (
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// watching is the watch of the test that runs, nil in every service.
var watching atomic.Pointer[Watch]

// Hold says that b holds, or is about to hold, key material, and returns b. The
// caller overwrites all of it before it lets go of it.
func Hold[S ~[]E, E comparable](b S) S {
	if w := watching.Load(); w != nil {
		w.hold(func() bool {
			var zero E
			return !slices.ContainsFunc(b, func(e E) bool { return e != zero })
		})
	}
	return b
}

// Watch knows every buffer that was held since it began.
type Watch struct {
	mu   sync.Mutex
	held []held
}

type held struct {
	by    string
	clear func() bool
}

// Begin starts a watch, which keeps all buffers until End. It is for tests that
// run alone, and panics outside a test binary and beside another watch.
func Begin() *Watch {
	w := &Watch{}
	if flag.Lookup("test.v") == nil || !watching.CompareAndSwap(nil, w) {
		panic("scratch: a watch outside of a test, or a second one")
	}
	return w
}

// End stops the watch: what is held from now on is not known to it.
func (w *Watch) End() { watching.CompareAndSwap(w, nil) }

// Left returns who held the buffers that are not zero: the callers of Hold and
// theirs, innermost first. It is to be called when nobody uses them any more.
func (w *Watch) Left() []string {
	return w.list(func(h held) bool { return !h.clear() })
}

// Held returns who held any buffer, so that a test can tell whether it has come
// by the one it is about.
func (w *Watch) Held() []string {
	return w.list(func(held) bool { return true })
}

func (w *Watch) list(want func(held) bool) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.held {
		if want(h) {
			out = append(out, h.by)
		}
	}
	return out
}

func (w *Watch) hold(clear func() bool) {
	by := callers()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, held{by, clear})
}

// callers names the functions that led to Hold, such as
// "secrets.own:45 < secrets.expand:136 < secrets.Key:121".
func callers() string {
	const deep = 12
	pcs := make([]uintptr, deep)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)]) // 4: Hold's caller
	var names []string
	for {
		f, more := frames.Next()
		names = append(names, fmt.Sprintf("%s:%d", filepath.Base(f.Function), f.Line))
		if !more {
			return strings.Join(names, " < ")
		}
	}
}
