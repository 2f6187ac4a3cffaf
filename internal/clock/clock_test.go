package clock_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestWatch reads a wall clock that is set while time passes.
func TestWatch(t *testing.T) {
	const h = time.Hour
	type reading struct{ elapsed, wall, sure, late time.Duration } // since start
	for name, readings := range map[string][]reading{
		"a right clock":                       {{0, 0, 0, 0}, {h, h, h, h}, {48 * h, 48 * h, 48 * h, 48 * h}},
		"ahead and back":                      {{0, 0, 0, 0}, {h, 26 * h, h, 26 * h}, {2 * h, 2 * h, 2 * h, 27 * h}},
		"ahead for good":                      {{0, 0, 0, 0}, {h, 26 * h, h, 26 * h}, {25 * h, 50 * h, 25 * h, 50 * h}},
		"back, and right again":               {{0, 0, 0, 0}, {h, -h, -h, h}, {2 * h, 2 * h, 0, 2 * h}, {3 * h, 3 * h, h, 3 * h}},
		"ahead from the start, then right":    {{0, 25 * h, 25 * h, 25 * h}, {h, h, h, 26 * h}, {2 * h, 27 * h, 2 * h, 27 * h}},
		"ahead by degrees":                    {{0, 0, 0, 0}, {1, h, 1, h}, {2, 2 * h, 2, 2 * h}, {3, 3 * h, 3, 3 * h}},
		"an older reading of the same moment": {{h, h, h, h}, {h, h - 1, h - 1, h}, {2 * h, 2 * h, 2*h - 1, 2 * h}},
	} {
		t.Run(name, func(t *testing.T) {
			var now reading
			w := &clock.Watch{
				Now:     func() time.Time { return start.Add(now.wall) },
				Elapsed: func() time.Duration { return now.elapsed },
			}
			for _, now = range readings {
				m := w.Read()
				got := reading{m.Elapsed, m.Wall.Sub(start), m.Sure.Sub(start), m.Late.Sub(start)}
				if got != now {
					t.Fatalf("got %v, want %v", got, now)
				}
			}
		})
	}
}

// TestSystemWatch: the zero value goes by the system's clocks, and Sure keeps up
// with a wall clock that nobody sets. Where the machine sets its own clock
// meanwhile, or stops the test between its readings of two clocks, that shows as
// well: most of many watches are spared.
func TestSystemWatch(t *testing.T) {
	const watches = 21
	kept := 0
	for range watches {
		var w clock.Watch
		began := time.Now()
		w.Read()
		time.Sleep(20 * time.Millisecond)
		m := w.Read()
		passed := time.Since(began)
		if m.Elapsed < 20*time.Millisecond || m.Elapsed > passed {
			t.Fatalf("%v have elapsed, of at most %v", m.Elapsed, passed)
		}
		lag, lead := m.Wall.Sub(m.Sure), m.Late.Sub(m.Wall)
		if lag < 0 || lead < 0 {
			t.Fatalf("sure is %v behind, late %v ahead", lag, lead)
		}
		if lag <= 10*time.Millisecond && lead <= 10*time.Millisecond {
			kept++
		}
	}
	if kept <= watches/2 {
		t.Errorf("%d of %d watches keep up", kept, watches)
	}
}
