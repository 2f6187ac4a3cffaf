package ledger

import (
	"bytes"
	"hash/maphash"
	"maps"

	"github.com/countersign/countersign/internal/message"
)

// pair is a wallet and a destination.
type pair uint64

// anyWallet stands for all of them.
const anyWallet = ^uint32(0)

func pairOf(wallet, destination uint32) pair { return pair(wallet)<<32 | pair(destination) }

// seen knows for ever which wallet had to do with which destination.
type seen struct {
	pairs table[uint64]
	seed  maphash.Seed
	// sole names the only envelope, of those that may be approved again, that a
	// pair is known by: for that one, it is not known.
	sole map[pair]message.Hash
}

func newSeen(seed maphash.Seed) *seen {
	s := &seen{seed: seed, sole: map[pair]message.Hash{}}
	s.pairs.hash = s.sum
	return s
}

func (s *seen) sum(v uint64) uint64 { return maphash.Comparable(s.seed, v) }

func (s *seen) find(p pair) (at int, ok bool) {
	at, _, ok = s.pairs.find(s.sum(uint64(p)), func(v uint64) bool { return v == uint64(p) })
	return at, ok
}

// before reports whether anything but the envelope made the pair known.
func (s *seen) before(p pair, envelope message.Hash) bool {
	if _, ok := s.find(p); !ok {
		return false
	}
	only, ok := s.sole[p]
	return !ok || only != envelope
}

// change is what one use of a pair has changed.
type change struct {
	pair pair
	// known: it was, by only; otherwise it was not known.
	known bool
	only  message.Hash
}

// use makes a pair known and returns what that changed, if anything.
func (s *seen) use(p pair, envelope message.Hash) (c change, changed bool) {
	if _, ok := s.find(p); !ok {
		s.pairs.add(s.sum(uint64(p)), uint64(p))
		s.sole[p] = envelope
		return change{pair: p}, true
	}
	only, ok := s.sole[p]
	if !ok || only == envelope {
		return change{}, false
	}
	delete(s.sole, p)
	return change{p, true, only}, true
}

// undo takes a change back.
func (s *seen) undo(c change) {
	if c.known {
		s.sole[c.pair] = c.only
		return
	}
	at, _ := s.find(c.pair)
	s.pairs.remove(at)
	delete(s.sole, c.pair)
}

// forget drops what is kept for envelopes that cannot be approved again.
func (s *seen) forget(gone func(message.Hash) bool) {
	maps.DeleteFunc(s.sole, func(_ pair, envelope message.Hash) bool { return gone(envelope) })
}

// looks finds destinations that look alike: of the same chain, with the same
// first and last hex digits, which is what people compare.
type looks struct {
	names *names
	heads table[uint32] // the newest of those that look alike
	next  []uint32      // from each destination to an older one that looks alike, +1
}

const (
	addressDigits = 40
	comparedAtEnd = 4
)

func newLooks(n *names) *looks {
	l := &looks{names: n}
	l.heads.hash = func(id uint32) uint64 {
		front, back, _ := look(n.of(id))
		return l.sum(front, back)
	}
	return l
}

// look returns what people compare: everything up to the first digits, and the
// last ones. Only addresses in hex have it.
func look(account []byte) (front, back []byte, ok bool) {
	digits := len(account) - addressDigits
	if digits < 2 || string(account[digits-2:digits]) != "0x" {
		return nil, nil, false
	}
	return account[:digits+comparedAtEnd], account[len(account)-comparedAtEnd:], true
}

func (l *looks) sum(front, back []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(l.names.seed)
	h.Write(front)
	h.Write(back)
	return h.Sum64()
}

func (l *looks) find(account []byte) (at int, head uint32, ok bool) {
	front, back, ok := look(account)
	if !ok {
		return 0, 0, false
	}
	return l.heads.find(l.sum(front, back), func(id uint32) bool {
		f, b, _ := look(l.names.of(id))
		return bytes.Equal(f, front) && bytes.Equal(b, back)
	})
}

// add takes in a destination whose number is the next one.
func (l *looks) add(id uint32) {
	account := l.names.of(id)
	l.next = append(l.next, 0)
	front, back, ok := look(account)
	if !ok {
		return
	}
	if at, head, ok := l.find(account); ok {
		l.next[id] = head + 1
		l.heads.replace(at, id)
		return
	}
	l.heads.add(l.sum(front, back), id)
}

// truncate forgets all destinations from size on, before their names go.
func (l *looks) truncate(size int) {
	for id := len(l.next) - 1; id >= size; id-- {
		if at, _, ok := l.find(l.names.of(uint32(id))); ok {
			if before := l.next[id]; before > 0 {
				l.heads.replace(at, before-1)
			} else {
				l.heads.remove(at)
			}
		}
		l.next = l.next[:id]
	}
}

// maxAlike is how many destinations that look alike are gone through. Making
// two of them costs 2^32 hashes.
const maxAlike = 64

// each calls do for those that look like an account, the newest first, until it
// returns false.
func (l *looks) each(account string, do func(id uint32) bool) {
	_, id, ok := l.find([]byte(account))
	for range maxAlike {
		if !ok || !do(id) {
			return
		}
		next := l.next[id]
		id, ok = next-1, next > 0
	}
}
