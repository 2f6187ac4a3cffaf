package proposer

import (
	"slices"
	"time"
)

// flightTime is how long a batch that was written, and whose results are not all
// there, holds back the next: longer than the services need, and what a
// submission waits at most where a request before it waits for people. One whose
// caller does not wait for its result holds nobody back.
const flightTime = 25 * time.Millisecond

// flight is a batch on its way through the services.
type flight struct {
	since time.Time
	open  int // requests whose result is not there yet
}

// flights are the batches under way. While there is one, submissions gather for
// the next (as small packets do behind one that is not acknowledged, RFC 896): a
// request that is alone is never held back, and the services work on few large
// batches where many small ones would cost them several times as much. It needs
// its owner's lock.
type flights struct{ list []*flight }

func (f *flights) begin(requests int) *flight {
	one := &flight{since: time.Now(), open: requests}
	f.list = append(f.list, one)
	return one
}

// hold returns how long the next batch is held back; 0 if it may go.
func (f *flights) hold() time.Duration {
	now := time.Now()
	f.list = slices.DeleteFunc(f.list, func(one *flight) bool { return one.open <= 0 || now.Sub(one.since) >= flightTime })
	if len(f.list) == 0 {
		return 0
	}
	return flightTime - now.Sub(f.list[len(f.list)-1].since)
}
