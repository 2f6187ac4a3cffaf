package ledger

import "time"

// LeastRetention is how long events are kept at least: what most rules look
// back, so that a first one that does finds all it asks for.
const LeastRetention = 24 * time.Hour

// Retain says how long events are kept from now on: for a window, but at least
// for LeastRetention. Unless it is called they are kept for Longest. What that
// makes too old goes after the next record that counts for good. What is gone
// does not come back: see Complete.
func (l *Ledger) Retain(window time.Duration) {
	keep := wholeSeconds(max(window, LeastRetention))
	if keep < l.keep {
		l.added = max(sweepEvery, len(l.where)/4) // sweep
	}
	l.keep = keep
}

// Complete reports whether all events of a window that were ever replayed are
// there, now and, if it is one that is kept, later on. First uses, lookalikes
// and the next nonce are always known.
func (l *Ledger) Complete(window time.Duration) bool {
	c := l.agreed(l.watch.Read(), wholeSeconds(window))
	return l.gone.at <= c.at && l.gone.heard <= c.heard
}
