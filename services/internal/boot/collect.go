package boot

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How far the heap may grow before it is collected, in percent of what is live.
const (
	// headroom is how much garbage may stand beside what is live. A service with
	// 35 MiB live, and 20 for itself, stays below 100 MiB; less than that would be
	// filled, and collected, dozens of times a second at full load.
	headroom = 40 << 20
	// mostPercent is for a service with few MiB live, which is most of them. It is
	// not more, because a large batch can make some 20 MiB live for a moment.
	mostPercent = 300
	// leastPercent bounds what collecting costs where hundreds of MiB are live, as
	// much history is: each time all of that is gone through.
	leastPercent = 25
)

// percentFor is what is set while so many bytes are live.
func percentFor(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), leastPercent), mostPercent))
}

// collectByWhatIsLive sets the percentage now and after each collection. A fixed
// limit of memory would do harm instead where more than that is live.
func collectByWhatIsLive() {
	debug.SetGCPercent(mostPercent)
	afterEachCollection(adjust(mostPercent))
}

// adjust returns what sets the percentage, which stops the process for some
// microseconds, where it changes by more than a tenth.
func adjust(set int) func() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	return func() {
		metrics.Read(sample)
		percent := percentFor(sample[0].Value.Uint64())
		if off := percent - set; max(off, -off)*10 > set {
			debug.SetGCPercent(percent)
			set = percent
		}
	}
}

// collected is an object that nothing refers to: each collection finds it.
type collected struct{ do func() }

// afterEachCollection calls do after each one, never twice at once.
func afterEachCollection(do func()) { runtime.SetFinalizer(&collected{do}, (*collected).again) }

func (c *collected) again() {
	c.do()
	runtime.SetFinalizer(c, (*collected).again)
}
