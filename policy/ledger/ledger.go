// Package ledger knows what a role has approved: the fold of its chained
// records. It answers for any window how much and how often users, wallets,
// accounts, the deployment and destinations were concerned, and what is unusual
// about a request.
//
// It trusts the records, which the caller has verified, and the clock only as
// far as internal/clock does. It never reads a database, decides nothing, and
// never lets an approval count for less time than its window: where clocks
// contradict each other it counts for longer. It forgets what is older than it
// was told to keep (see Retain), and says so where it is asked (see Complete).
package ledger

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
)

// Ledger is the fold. Its methods, and those of its views, must not be called
// at the same time.
//
// Events are dropped only where both this machine's clock and the newest record
// say that they are over: a process that starts with a clock that is ahead must
// still have them when that is put right. None is dropped for a record that may
// still be taken back.
type Ledger struct {
	watch  *clock.Watch
	seed   maphash.Seed
	newest int64 // time of the newest record, seconds since 1970
	keep   int64 // how long events are kept, in seconds
	gone   cut   // every event that came, and is newer than this by both clocks, is there
	runs   []*run
	where  map[message.Hash]place
	names  [linked]*names // by scope
	assets *names
	tops   []top // by account
	seen   *seen
	looks  *looks

	added   int // since what is over was last forgotten
	marked  bool
	steps   []step // since the mark, oldest first
	changes []change
}

// place is where the event of an envelope is, for as long as the envelope may be
// approved again. Where the event is over, the envelope is known all the same,
// for 31 days more at most.
type place struct {
	run     *run // nil: it is over
	event   uint32
	known   bool
	expires int64
}

func (p place) there() bool { return p.run != nil && p.event >= p.run.first }

// outlive has a place whose event is over end some time after a moment: nobody
// fills memory with requests that never expire.
func (p *place) outlive(at int64) { p.run, p.expires = nil, min(p.expires, at+wholeSeconds(Lookback)) }

// step is what one record has changed.
type step struct {
	newest   int64 // before
	gone     cut   // before
	run      *run  // that the event was appended to; nil: it is too old to count
	envelope message.Hash
	before   place // of the envelope
	killed   bool  // the event there gave way
	sizes    [linked + 1]int
	account  uint32
	top      top // before, of the account
	changes  int // before
}

const (
	// sweepEvery is after how many records, at least, what is over is forgotten:
	// often enough to bound memory, seldom enough to cost nothing.
	sweepEvery = 4096
	// expiryMargin is more than the clocks of replicas may differ: an envelope
	// that expired so long ago is approved by none.
	expiryMargin = 10 * time.Minute
	// keepLonger is how much longer than its window an event stays, in seconds: a
	// clock that is set back by less has nobody read all records again.
	keepLonger = int64(10 * time.Minute / time.Second)
	// maxRuns bounds what times that go to and fro in the chain of records cost. A
	// time that would need one more run is taken for a later one, and the event
	// counts for longer.
	maxRuns = 8
)

// New returns an empty ledger. The watch judges how old approvals are; nil is
// the system's.
func New(watch *clock.Watch) *Ledger {
	if watch == nil {
		watch = &clock.Watch{}
	}
	watch.Read() // from now on a jump is one
	l := &Ledger{
		watch: watch, seed: maphash.MakeSeed(), where: map[message.Hash]place{},
		keep: wholeSeconds(Longest), gone: cut{math.MinInt64, math.MinInt64},
	}
	for s := range l.names {
		l.names[s] = newNames(l.seed)
	}
	l.assets, l.seen, l.looks = newNames(l.seed), newSeen(l.seed), newLooks(l.names[destinations])
	return l
}

// Replay folds one record. Of an envelope that is counted already it takes the
// earlier one's place if it is not older: a request counts once, at the time of
// its latest approval. It is ErrFull, and changes nothing, where there is no room.
func (l *Ledger) Replay(body []byte) error {
	r, err := decodeRecord(body)
	if err != nil {
		return fmt.Errorf("ledger record: %w", err)
	}
	if !l.room(len(body)) {
		return ErrFull
	}
	l.add(&r)
	return nil
}

// ErrFull says that the names of destinations, or of something else, fill the 4
// GiB that there are for them.
var ErrFull = errors.New("ledger has no room for more names")

// room reports whether the names of a record of so many bytes fit.
func (l *Ledger) room(size int) bool {
	fit := l.assets.room(size)
	for _, n := range l.names {
		fit = fit && n.room(size)
	}
	return fit
}

// Record returns the record to append for an event that is approved at a moment.
// It counts once it comes back through Replay. The time on it is the end of the
// second that has begun, so that the approval counts for no less than its window,
// and never before the newest record's, so that a clock set back does not make a
// new approval age sooner, in a process that starts later.
func (l *Ledger) Record(e Event, m clock.Moment) ([]byte, error) {
	return encodeRecord(e, time.Unix(max(roundedUp(m.Late), l.newest), 0))
}

// roundedUp is a time in seconds since 1970, one that has begun included.
func roundedUp(t time.Time) int64 {
	seconds := t.Unix()
	if t.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

// Mark begins what may be taken back.
func (l *Ledger) Mark() { l.marked = true }

// Keep says that what was replayed since Mark counts for good, and ends it.
func (l *Ledger) Keep() {
	l.added += len(l.steps)
	l.forgetSteps()
	if l.added >= max(sweepEvery, len(l.where)/4) {
		l.added = 0
		l.sweep()
	}
}

// Undo takes back what was replayed since Mark, exactly, and ends it.
func (l *Ledger) Undo() {
	for i := range slices.Backward(l.steps) {
		l.undo(&l.steps[i])
	}
	l.forgetSteps()
}

func (l *Ledger) forgetSteps() {
	clear(l.steps)
	l.steps, l.changes, l.marked = l.steps[:0], l.changes[:0], false
}

// undo takes the last record back.
func (l *Ledger) undo(s *step) {
	if s.run != nil {
		s.run.truncate()
		l.runs = slices.DeleteFunc(l.runs, (*run).empty)
	}
	if s.killed {
		s.before.run.revive(s.before.event)
	}
	delete(l.where, s.envelope)
	if s.before.known {
		l.where[s.envelope] = s.before
	}
	l.newest, l.gone, l.tops[s.account] = s.newest, s.gone, s.top
	for _, c := range slices.Backward(l.changes[s.changes:]) {
		l.seen.undo(c)
	}
	l.changes = l.changes[:s.changes]
	l.tops = l.tops[:s.sizes[accounts]]
	l.looks.truncate(s.sizes[destinations])
	for i, n := range l.names {
		n.truncate(s.sizes[i])
	}
	l.assets.truncate(s.sizes[linked])
}

// begin notes what there is before a record.
func (l *Ledger) begin(r *record) *step {
	l.steps = append(l.steps, step{
		newest: l.newest, gone: l.gone, envelope: r.Envelope, changes: len(l.changes), before: l.where[r.Envelope],
	})
	s := &l.steps[len(l.steps)-1]
	for i, n := range l.names {
		s.sizes[i] = n.len()
	}
	s.sizes[linked] = l.assets.len()
	return s
}

// add folds one record.
func (l *Ledger) add(r *record) {
	s := l.begin(r)
	at := r.Time.Unix()
	l.newest = max(l.newest, at)
	e := l.number(r)
	s.account = e.owner[accounts]
	if n := int(s.account) + 1 - len(l.tops); n > 0 {
		l.tops = append(l.tops, make([]top, n)...)
	}
	s.top = l.tops[s.account]
	if e.nonce.is {
		l.tops[s.account].add(e.nonce.number, r.Envelope)
	}
	for _, d := range e.destinations {
		l.use(pairOf(e.owner[wallets], d), r.Envelope)
		l.use(pairOf(anyWallet, d), r.Envelope)
	}
	l.insert(r, e, at, s)
	if !l.marked {
		l.Keep()
	}
}

func (l *Ledger) use(p pair, envelope message.Hash) {
	if c, changed := l.seen.use(p, envelope); changed {
		l.changes = append(l.changes, c)
	}
}

// insert has the event count in place of the envelope's earlier one, if that is the
// same. Where it is another, both count: who changes what a request is read
// with, such as its account's descriptor, must not take back what was approved.
func (l *Ledger) insert(r *record, e *numbered, at int64, s *step) {
	if before := s.before; before.there() && before.run.read(before.event).alike(&e.facts) {
		if before.run.at(before.event) > at {
			return
		}
		before.run.kill(before.event)
		s.killed = true
	}
	p, m := place{known: true}, l.watch.Read()
	if c := l.spent(m); at <= c.at {
		l.gone = l.gone.or(c)
	} else {
		p.run, at = l.runFor(at)
		p.event = p.run.append(&e.facts, e.destinations, at, m.Elapsed)
		s.run = p.run
	}
	p.expires = r.Expires.Unix()
	if !p.there() {
		p.outlive(at)
	}
	l.where[r.Envelope] = p
}

// runFor returns the run that an event of a time is appended to, which may be a
// new one, and the time that it has there.
func (l *Ledger) runFor(at int64) (*run, int64) {
	var best, oldest *run
	for _, r := range l.runs {
		if r.last() <= at && (best == nil || r.last() > best.last()) {
			best = r
		}
		if oldest == nil || r.last() < oldest.last() {
			oldest = r
		}
	}
	switch {
	case best != nil:
		return best, at
	case len(l.runs) == maxRuns:
		return oldest, oldest.last()
	}
	l.runs = append(l.runs, newRun(l.seed))
	return l.runs[len(l.runs)-1], at
}

// cutoff is some time before a moment, in whole seconds.
func cutoff(m clock.Moment, window int64) cut {
	return cut{at: m.Sure.Unix() - window, heard: floor(m.Elapsed) - window}
}

func floor(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		seconds--
	}
	return seconds
}

// or is the later of two cuts, by each clock.
func (c cut) or(other cut) cut { return cut{at: max(c.at, other.at), heard: max(c.heard, other.heard)} }

// spent is what may be dropped: what is over by the newest record too.
func (l *Ledger) spent(m clock.Moment) cut { return l.agreed(m, l.keep+keepLonger) }

// agreed is what is over by this machine's clock and by the newest record.
func (l *Ledger) agreed(m clock.Moment, window int64) cut {
	c := cutoff(m, window)
	c.at = min(c.at, l.newest-window)
	return c
}

// sweep forgets what is over, and the envelopes that cannot be approved again:
// their events count as before.
func (l *Ledger) sweep() {
	m := l.watch.Read()
	c := l.spent(m)
	for _, r := range l.runs {
		if r.drop(c) {
			l.gone = l.gone.or(c)
		}
	}
	l.runs = slices.DeleteFunc(l.runs, (*run).empty)
	expired := min(m.Sure.Unix(), l.newest) - int64(expiryMargin/time.Second)
	for envelope, p := range l.where {
		switch {
		case p.expires <= expired:
			delete(l.where, envelope)
		case p.run != nil && !p.there():
			p.outlive(l.newest) // a run holds much memory
			l.where[envelope] = p
		}
	}
	l.seen.forget(func(envelope message.Hash) bool {
		_, ok := l.where[envelope]
		return !ok
	})
}
