package queue

import (
	"time"

	"github.com/google/uuid"
)

// HoldOffers sets how long what is offered cannot be claimed: a machine that is
// busy hears late.
func (q *Queue) HoldOffers(d time.Duration) { q.signals.hold = d }

// SettlingForms returns the text of a settling statement with every kind of
// grounds.
func SettlingForms(name string) []string {
	text, first := settlingText(name)
	return []string{ground(text, first, basisHolds), ground(text, first, offerHolds), ground(text, first, basisHolds, offerHolds)}
}

// ForgedWants returns how many requests a gatherer keeps in mind that n
// notifications without a sender have named.
func ForgedWants(n int) int {
	w := &gathering{woken: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	w.reset()
	for range n {
		w.heard(replyHint{ids: []uuid.UUID{uuid.New()}})
	}
	return len(w.ready)
}
