// Package clock judges ages where the wall clock may be set: by an operator, by
// a time source that is wrong or lies, by whoever runs the machine.
//
// It trusts the monotonic clock of its own process, and no wall clock further
// than that it can be ahead. It cannot tell that a wall clock is wrong all the
// time, from before the process started.
package clock

import (
	"sync"
	"time"
)

// Watch reads the time. The zero value is the system's, and is ready for use. It
// is safe for concurrent use.
type Watch struct {
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Elapsed is a clock that nobody sets; nil: the monotonic reading in what
	// Now returns.
	Elapsed func() time.Duration

	mu      sync.Mutex
	start   time.Time // the first reading
	least   int64     // nanoseconds: wall time less elapsed time, of all readings
	most    int64
	started bool
}

// Moment is one reading.
type Moment struct {
	// Wall is what the wall clock says.
	Wall time.Time
	// Sure is no later than Wall, and follows it only as fast as time passes: a
	// wall clock that jumps ahead does not take Sure along. What is forgotten or
	// freed because of its age goes by this. After a wall clock was set right
	// that had been behind, Sure stays behind for the life of the process.
	Sure time.Time
	// Late is no earlier than Wall, and never goes back: where a wall clock is set
	// back, it goes on. What is new is dated by this where an early date would
	// have it forgotten sooner. After a wall clock was ahead and was set right,
	// Late stays ahead for the life of the process.
	Late time.Time
	// Elapsed is how long the process has run since the first reading, at most.
	// What it has known for so long is that old for certain, whatever times are
	// written on it.
	Elapsed time.Duration
}

// Read reads the time now.
func (w *Watch) Read() Moment {
	if w.Now == nil {
		return w.At(time.Now())
	}
	return w.At(w.Now())
}

// At is Read for what Now has returned before.
func (w *Watch) At(wall time.Time) Moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.started {
		w.start = wall
	}
	elapsed := wall.Sub(w.start) // monotonic
	if w.Elapsed != nil {
		elapsed = w.Elapsed()
	}
	difference := wall.UnixNano() - int64(elapsed)
	if !w.started {
		w.least, w.most, w.started = difference, difference, true
	}
	w.least, w.most = min(w.least, difference), max(w.most, difference)
	return Moment{
		Wall: wall, Elapsed: elapsed,
		Sure: time.Unix(0, w.least+int64(elapsed)).UTC(), Late: time.Unix(0, w.most+int64(elapsed)).UTC(),
	}
}
