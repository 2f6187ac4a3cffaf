package ledger

import (
	"math"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/clock"
)

// View is the past of one event, of which the event itself is no part, also
// where it was approved before. It is good until the ledger changes.
type View struct {
	l      *Ledger
	e      Event
	moment clock.Moment
	own    place
}

// View answers questions about the past of an event, as of a moment.
func (l *Ledger) View(e Event, m clock.Moment) *View {
	v := &View{l: l, e: e, moment: m}
	if p := l.where[e.Envelope]; p.there() {
		v.own = p
	}
	return v
}

// Sum returns how much of an asset was approved within the window, of the user,
// wallet, account or destination with the id, or of the asset by anybody. It is
// 0 for what the ledger has never heard of.
func (v *View) Sum(scope, id, asset string, window time.Duration) *big.Int {
	sum := new(big.Int)
	number, ok := v.l.assets.find(asset)
	if ok {
		v.eachTotal(scope, id, number, window, func(k key, t *total) { sum.Add(sum, t.sum) }, func(k key, f *facts) {
			f.add(k, number, -1, sum, new(big.Int))
		})
	}
	return sum
}

// Count returns how many approvals there were within the window, of one asset or
// (empty) of any.
func (v *View) Count(scope, id, asset string, window time.Duration) int {
	count, number := 0, anyAsset
	if asset != "" {
		n, ok := v.l.assets.find(asset)
		if !ok {
			return 0
		}
		number = n
	}
	v.eachTotal(scope, id, number, window, func(k key, t *total) { count += t.count }, func(k key, f *facts) {
		if f.add(k, number, +1, new(big.Int), new(big.Int)) {
			count--
		}
	})
	return count
}

// eachTotal calls do with the totals of a window, and own with the event's own
// earlier approval where that is part of them.
func (v *View) eachTotal(scope, id string, asset uint32, window time.Duration, do func(key, *total), own func(key, *facts)) {
	k, ok := v.l.keyOf(scope, id)
	if !ok {
		return
	}
	seconds := wholeSeconds(window)
	c := cutoff(v.moment, seconds)
	for _, r := range v.l.runs {
		do(k, r.total(k, asset, seconds, c))
		if v.own.run == r && !r.over(v.own.event, c) {
			if f := r.read(v.own.event); f.has(k) {
				own(k, f)
			}
		}
	}
}

// wholeSeconds of a window, one that is begun included. Even of the longest they
// are about 2^33: no time less a window comes near the bounds of an int64.
func wholeSeconds(window time.Duration) int64 {
	seconds := int64(max(window, 0) / time.Second)
	if window > 0 && window%time.Second != 0 {
		seconds++
	}
	return seconds
}

// keyOf returns the key of a scope and id, if there is anything of it.
func (l *Ledger) keyOf(name, id string) (key, bool) {
	var s scope
	switch name {
	case ScopeUser:
		s = users
	case ScopeWallet:
		s = wallets
	case ScopeAccount:
		s = accounts
	case ScopeDestination:
		s, id = destinations, canonical(id)
	case ScopeAsset:
		return key{scope: whole}, true
	default:
		return key{}, false
	}
	number, ok := l.names[s].find(id)
	return key{s, number}, ok
}

// FirstUse reports whether the event's wallet never had to do with a
// destination, at any time.
func (v *View) FirstUse(destination string) bool {
	number, ok := v.l.names[destinations].find(canonical(destination))
	return !ok || !v.used(ScopeWallet, number)
}

// used reports whether anything but the event has used a destination: anything
// of its wallet, or of the deployment.
func (v *View) used(scope string, destination uint32) bool {
	wallet := anyWallet
	if scope == ScopeWallet {
		number, ok := v.l.names[wallets].find(v.e.Wallet)
		if !ok {
			return false
		}
		wallet = number
	}
	return v.l.seen.before(pairOf(wallet, destination), v.e.Envelope)
}

// Lookalike returns another destination of the same chain with the same first
// and last four hex digits that was used before: by the event's wallet, or else
// by any. That is how addresses are made that people take for one they know.
func (v *View) Lookalike(destination string) (known string, ok bool) {
	destination = canonical(destination)
	v.l.looks.each(destination, func(id uint32) bool {
		name := v.l.names[destinations].of(id)
		if string(name) == destination {
			return true
		}
		if v.used(ScopeWallet, id) {
			known, ok = string(name), true
			return false
		}
		if !ok && v.used(ScopeAsset, id) {
			known, ok = string(name), true
		}
		return true
	})
	return known, ok
}

// maxSame is how many earlier events with the same moves, or with the same
// nonce, are gone through.
const maxSame = 128

// Duplicates returns how many approvals of the wallet within the window moved
// the same amounts to the same destinations, of the last 128.
func (v *View) Duplicates(window time.Duration) (count int) {
	wallet, moves, ok := v.moves()
	if !ok {
		return 0
	}
	c := cutoff(v.moment, wholeSeconds(window))
	for _, r := range v.l.runs {
		_, id, ok := r.findMoves(wallet, moves)
		for range maxSame {
			if !ok || r.over(id, c) {
				break
			}
			if v.counts(r, id) {
				count++
			}
			id, ok = r.before(id, r.read(id).same)
		}
	}
	return count
}

// counts reports whether an event is anything but the view's own.
func (v *View) counts(r *run, id uint32) bool {
	return !r.dead(id) && (v.own.run != r || v.own.event != id)
}

// moves returns the event's moves in numbers; not ok: there can be none like it.
func (v *View) moves() (wallet uint32, moves []byte, ok bool) {
	wallet, ok = v.l.names[wallets].find(v.e.Wallet)
	parts := make([]part, 0, len(v.e.Moves))
	moving := false
	for _, m := range v.e.Moves {
		p, known := v.l.findMove(m)
		parts = append(parts, p)
		ok, moving = ok && known, moving || m.Amount != nil
	}
	if !ok || !moving {
		return 0, nil, false
	}
	return wallet, packMoves(parts), true
}

// findMove is numberMove for what may not be known.
func (l *Ledger) findMove(m Movement) (p part, ok bool) {
	p.asset = anyAsset
	p.destination, ok = l.names[destinations].find(m.Account)
	if ok && m.Asset != "" && m.Amount != nil {
		p.asset, ok = l.assets.find(m.Asset)
		p.amount = m.Amount.Bytes()
	}
	return p, ok
}

// Habit compares an amount with the latest ones, of the last 31 days, of the
// same asset and of the event's user or wallet: what each moved and let others
// take. Fees make no habit.
func (v *View) Habit(scope, asset string, amount *big.Int) Habit {
	id := v.e.User
	if scope == ScopeWallet {
		id = v.e.Wallet
	}
	k, known := v.l.keyOf(scope, id)
	number, ok := v.l.assets.find(asset)
	if !known || !ok || k.scope == whole {
		return Habit{}
	}
	var past []earlier
	for _, r := range v.l.runs {
		past = v.latest(past, r, k, number)
	}
	return habitOf(past, amount)
}

// latest adds the latest amounts of a run.
func (v *View) latest(past []earlier, r *run, k key, asset uint32) []earlier {
	c := cutoff(v.moment, wholeSeconds(Lookback))
	id, ok := r.head(k)
	for found, looked := 0, 0; ok && found < habitSize && looked < habitReach && !r.over(id, c); looked++ {
		f := r.read(id)
		if amount := f.movedOf(asset); amount != nil && v.counts(r, id) {
			past = append(past, earlier{r.at(id), amount})
			found++
		}
		id, ok = r.before(id, f.backOf(k))
	}
	return past
}

// Nonce says what is known of the nonces of the event's account: which is the
// next, from all that was ever approved, and whether the event's own was
// approved before, within the last 31 days.
func (v *View) Nonce() (n Nonce) {
	account, ok := v.l.names[accounts].find(v.e.Account)
	if !ok {
		return n
	}
	if highest, ok := v.l.tops[account].highest(v.e.Envelope); ok {
		n.Known, n.Next = true, highest+min(1, math.MaxUint64-highest)
	}
	if v.e.Nonce != nil {
		n.Reused, n.Replaces = v.reuse(account, *v.e.Nonce)
	}
	return n
}

// reuse reports whether a nonce was approved for another envelope, and whether
// the event is a replacement of all that were.
func (v *View) reuse(account uint32, nonce uint64) (reused, replaces bool) {
	c := cutoff(v.moment, wholeSeconds(Lookback))
	replaces = true
	for _, r := range v.l.runs {
		_, id, ok := r.findNonce(account, nonce)
		for n := 0; ok && !r.over(id, c); n++ {
			if n == maxSame {
				return true, false
			}
			f := r.read(id)
			before := f.nonce
			if v.counts(r, id) {
				reused = true
				replaces = replaces && v.replaces(before)
			}
			id, ok = r.before(id, before.back)
		}
	}
	return reused, reused && replaces
}

// replaces reports whether the event is the same as another with a higher fee.
func (v *View) replaces(before sent) bool {
	if before.fee == nil || v.e.FeePerGas == nil {
		return false
	}
	same := before.content == v.l.hashContent(v.e.Content[:contentSize])
	return same && v.e.FeePerGas.Cmp(new(big.Int).SetBytes(before.fee)) > 0
}
