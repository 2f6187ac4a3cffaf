package ledger_test

import (
	"time"

	"github.com/countersign/countersign/internal/clock"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// machine is where a process runs: with a wall clock that is set by the test,
// and one that nobody sets.
type machine struct {
	wall    time.Time
	elapsed time.Duration
	clock   *clock.Watch
}

func newMachine() *machine { return &machine{wall: start} }

func (m *machine) watch() *clock.Watch {
	m.clock = &clock.Watch{
		Now:     func() time.Time { return m.wall },
		Elapsed: func() time.Duration { return m.elapsed },
	}
	return m.clock
}

func (m *machine) read() clock.Moment { return m.clock.Read() }

// pass has time pass, on both clocks.
func (m *machine) pass(d time.Duration) {
	m.wall, m.elapsed = m.wall.Add(d), m.elapsed+d
}

// set sets the wall clock.
func (m *machine) set(wall time.Time) { m.wall = wall }
