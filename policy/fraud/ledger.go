package fraud

import (
	"math/big"
	"slices"
	"sort"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
)

// key is what a limit counts: one asset of one wallet.
type key struct{ wallet, asset string }

// entry is one approval's part of one key.
type entry struct {
	at       int64
	heard    time.Duration
	envelope message.Hash
	amount   *big.Int
}

// over reports whether the entry counts no more.
func (e entry) over(c cut) bool { return e.at <= c.at || e.heard <= c.heard }

// account is all that counts for one key: entries in the order of their time,
// and their sum.
type account struct {
	entries []entry
	total   *big.Int
}

// first returns the index of the first entry that counts. Where the times of
// records and the order in which they were heard differ, an older one holds up
// younger ones, which then count for longer.
func (a *account) first(c cut) int {
	for i, e := range a.entries {
		if !e.over(c) {
			return i
		}
	}
	return len(a.entries)
}

// cut is a moment 24 hours ago, on both clocks.
type cut struct {
	at    int64 // seconds since 1970
	heard time.Duration
}

// cutoff is 24 hours before a moment. An entry counts for 24 hours from the time
// on it, by a clock that a wall clock which jumps ahead does not take along; at
// most, however far in the future that time lies, for 24 hours since this
// process heard of it.
func cutoff(m clock.Moment) cut {
	return cut{at: m.Sure.Unix() - int64(window/time.Second), heard: m.Elapsed - window}
}

// ledger is the fold of all records. Entries are dropped only where both this
// machine's clock and the newest record say that they are over: a process that
// starts with a clock that is ahead must still have them when that is put right.
// None is dropped for a record that may still be taken back.
type ledger struct {
	watch    *clock.Watch
	newest   int64
	accounts map[key]*account
	where    map[message.Hash]place
	adds     int
	marked   bool
	steps    []step // since the mark, oldest first
}

// step is what one record has changed.
type step struct {
	newest int64     // before
	added  *approved // nil: it is too old to count
	before *approved // what gave way to it, if anything
}

// place is where an envelope's entries stand.
type place struct {
	at   int64
	keys []key
}

// sweepEvery is after how many records the accounts that were idle are freed
// of old entries too: often enough to bound memory, seldom enough to cost
// nothing.
const sweepEvery = 4096

func newLedger(watch *clock.Watch) *ledger {
	return &ledger{watch: watch, accounts: map[key]*account{}, where: map[message.Hash]place{}}
}

// clock returns the time that a decision is recorded under, in whole seconds:
// never before the newest record, so that a clock set back does not make a new
// approval age sooner, in a process that starts later.
func (l *ledger) clock(m clock.Moment) time.Time {
	return time.Unix(max(m.Late.Unix(), l.newest), 0).UTC()
}

// sum returns what counts for k, without the given envelope's own part. An entry
// counts for exactly 24 hours: not at the second when they are over.
func (l *ledger) sum(k key, c cut, without message.Hash) *big.Int {
	out := new(big.Int)
	a := l.accounts[k]
	if a == nil {
		return out
	}
	out.Set(a.total)
	first := a.first(c)
	for _, e := range a.entries[:first] {
		out.Sub(out, e.amount)
	}
	if p, ok := l.where[without]; ok && slices.Contains(p.keys, k) {
		if i := a.find(p.at, without); i >= first {
			out.Sub(out, a.entries[i].amount)
		}
	}
	return out
}

// spent is what may be dropped: what is over by the newest record too.
func (l *ledger) spent() cut {
	c := cutoff(l.watch.Read())
	c.at = min(c.at, l.newest-int64(window/time.Second))
	return c
}

// add counts one record. A record of an envelope that is counted already takes
// the earlier one's place if it is not older: a request counts once, at the
// time of its latest approval.
func (l *ledger) add(r approved) {
	done := step{newest: l.newest}
	l.newest = max(l.newest, r.at)
	r.heard = l.watch.Read().Elapsed
	if p, ok := l.where[r.envelope]; !ok || p.at <= r.at {
		if ok {
			done.before = l.remove(r.envelope, p)
		}
		if r.at > l.spent().at {
			l.insert(r)
			done.added = &r
		}
	}
	l.steps = append(l.steps, done)
	if !l.marked {
		l.keep()
	}
}

func (l *ledger) mark() { l.marked = true }

// keep ends a mark: what was added can count no longer than any other entry.
func (l *ledger) keep() {
	for _, done := range l.steps {
		if done.added != nil {
			for k := range done.added.amounts {
				l.prune(k)
			}
		}
		if l.adds++; l.adds%sweepEvery == 0 {
			for k := range l.accounts {
				l.prune(k)
			}
		}
	}
	l.forgetSteps()
}

// undo ends a mark: the sums are what they were at it.
func (l *ledger) undo() {
	for _, done := range slices.Backward(l.steps) {
		if done.added != nil {
			l.remove(done.added.envelope, l.where[done.added.envelope])
		}
		if done.before != nil {
			l.insert(*done.before)
		}
		l.newest = done.newest
	}
	l.forgetSteps()
}

func (l *ledger) forgetSteps() {
	clear(l.steps)
	l.steps, l.marked = l.steps[:0], false
}

func (l *ledger) insert(r approved) {
	p := place{at: r.at}
	for k, amount := range r.amounts {
		a := l.accounts[k]
		if a == nil {
			a = &account{total: new(big.Int)}
			l.accounts[k] = a
		}
		i := sort.Search(len(a.entries), func(i int) bool { return a.entries[i].at > r.at })
		a.entries = slices.Insert(a.entries, i, entry{r.at, r.heard, r.envelope, amount})
		a.total.Add(a.total, amount)
		p.keys = append(p.keys, k)
	}
	l.where[r.envelope] = p
}

// remove takes an envelope's entries out and returns them.
func (l *ledger) remove(envelope message.Hash, p place) *approved {
	out := &approved{envelope: envelope, at: p.at, amounts: make(map[key]*big.Int, len(p.keys))}
	for _, k := range p.keys {
		a := l.accounts[k]
		i := a.find(p.at, envelope)
		out.amounts[k], out.heard = a.entries[i].amount, a.entries[i].heard
		a.total.Sub(a.total, a.entries[i].amount)
		a.entries = slices.Delete(a.entries, i, i+1)
		if len(a.entries) == 0 {
			delete(l.accounts, k)
		}
	}
	delete(l.where, envelope)
	return out
}

// find returns the index of the envelope's entry, which is there at that time.
func (a *account) find(at int64, envelope message.Hash) int {
	i := sort.Search(len(a.entries), func(i int) bool { return a.entries[i].at >= at })
	for a.entries[i].envelope != envelope {
		i++
	}
	return i
}

// prune drops the entries of one key that can count no more.
func (l *ledger) prune(k key) {
	a := l.accounts[k]
	if a == nil {
		return
	}
	n := a.first(l.spent())
	for _, e := range a.entries[:n] {
		a.total.Sub(a.total, e.amount)
		// The envelope's entries under other keys are as old; they stay
		// findable by their key and go when that is pruned.
		l.forget(e.envelope, k)
	}
	if n == len(a.entries) {
		delete(l.accounts, k)
		return
	}
	clear(a.entries[:n])
	a.entries = a.entries[n:]
}

func (l *ledger) forget(envelope message.Hash, k key) {
	p, ok := l.where[envelope]
	if !ok {
		return
	}
	p.keys = slices.DeleteFunc(slices.Clone(p.keys), func(other key) bool { return other == k })
	if len(p.keys) == 0 {
		delete(l.where, envelope)
		return
	}
	l.where[envelope] = p
}
