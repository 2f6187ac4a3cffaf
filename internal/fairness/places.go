// Package fairness bounds what one of many callers may take of what all share:
// how often it calls (Buckets), how many of its costly calls are worked on at
// once (Turns), and how many of the places it has (Places). Callers are named by
// their ids; who they are others have verified before. It trusts nobody to stop
// asking: what it keeps of a caller is small and bounded.
package fairness

import "sync"

// Places bounds how many places are taken: of one caller, so that nobody takes
// all of them, and of all callers together. It is safe for concurrent use.
type Places struct {
	perCaller, total int

	mu    sync.Mutex
	of    map[string]int // by caller; only callers who have one
	taken int
}

// NewPlaces returns total places, of which one caller has perCaller at most.
func NewPlaces(perCaller, total int) *Places {
	return &Places{perCaller: perCaller, total: total, of: map[string]int{}}
}

// Take takes a place of the caller's and returns what gives it back; false if
// there is none. It waits for nothing.
func (p *Places) Take(caller string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.total || p.of[caller] >= p.perCaller {
		return nil, false
	}
	p.taken++
	p.of[caller]++
	return func() { p.leave(caller) }, true
}

// Taken returns how many places are taken.
func (p *Places) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

func (p *Places) leave(caller string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[caller]--; p.of[caller] == 0 {
		delete(p.of, caller)
	}
}
