package policy

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets/hpkeshare"
)

// maxLinks bounds how many epochs a role seals for. A deployment has two per
// signing instance, and one more for each start of one and each policy document
// of the last minutes; hellos are MACed, so nobody else can make more.
const maxLinks = 64

// link is one epoch of a signing instance that this instance announced its
// key to, with the channel that shares are sealed on.
type link struct {
	epoch   message.EpochID
	policy  message.PolicyRef
	hello   message.Hash
	channel *hpkeshare.Channel
	// announcement is kept until it is published for certain: another one for
	// the same key and epoch would be refused, and its channel open nothing.
	announcement []byte
	published    bool
	// expires is the hello's word; deadline is the same moment measured from
	// when the hello was read, on a clock that nobody sets.
	expires  time.Time
	deadline time.Time
}

// over reports whether nothing may be sealed for the epoch at the moment: by
// either clock.
func (l *link) over(now time.Time) bool {
	return l.ended(now) || !now.Round(0).Before(l.expires)
}

// ended reports whether the epoch is over for good: by the clock that nobody
// sets alone. A wall clock that jumps ahead may come back, and then the link is
// needed again, since a key can be announced to an epoch only once.
func (l *link) ended(now time.Time) bool { return !now.Before(l.deadline) }

// links are the live ones, by epoch. Safe for concurrent use.
type links struct {
	mu     sync.RWMutex
	byID   map[message.EpochID]*link
	closed bool
	wake   chan struct{}
}

func newLinks() *links {
	return &links{byID: map[message.EpochID]*link{}, wake: make(chan struct{}, 1)}
}

// live returns the links under a policy, in the order of their epochs' ids.
func (l *links) live(now time.Time, policy message.PolicyRef) []*link {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*link
	for _, e := range l.byID {
		if e.published && e.policy == policy && !e.over(now) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *link) int { return slices.Compare(a.epoch[:], b.epoch[:]) })
	return out
}

// get returns the link of an epoch, whatever hello made it, or nil.
func (l *links) get(id message.EpochID) *link {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byID[id]
}

// publish says that a link's announcement is there for the signing service to
// read: from now on shares are sealed for it.
func (l *links) publish(e *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.published, e.announcement = true, nil
}

// room reports whether a new link may be kept: there is room, or one of less use
// goes for it.
func (l *links) room(e *link) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.byID) < maxLinks || e.use(l.least()) > 0
}

// use compares of how much use two links are: nothing is sealed any more for an
// epoch of an earlier policy, and of the others an instance that lives replaces
// the oldest first.
func (l *link) use(other *link) int {
	return cmp.Or(cmp.Compare(l.policy.Version, other.policy.Version), l.expires.Compare(other.expires))
}

// least returns the link that is of least use. The caller holds the lock, and
// there is one.
func (l *links) least() *link {
	return slices.MinFunc(slices.Collect(maps.Values(l.byID)), (*link).use)
}

// add keeps a new link, in the place of one of less use where there are too many;
// after close it is wiped at once.
func (l *links) add(e *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		e.channel.Wipe()
		return
	}
	for len(l.byID) >= maxLinks {
		gone := l.least()
		gone.channel.Wipe()
		delete(l.byID, gone.epoch)
	}
	l.byID[e.epoch] = e
}

// sweep wipes and drops the links whose epoch has ended.
func (l *links) sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, e := range l.byID {
		if e.ended(now) {
			e.channel.Wipe()
			delete(l.byID, id)
		}
	}
}

func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for id, e := range l.byID {
		e.channel.Wipe()
		delete(l.byID, id)
	}
}

// nudge has the hellos read again now.
func (l *links) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
