package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/big"
	"slices"
)

// scope is whose events are linked to one another.
type scope uint8

const (
	users scope = iota
	wallets
	accounts
	destinations
	linked          // how many of them there are
	whole  = linked // all events
)

// anyAsset stands for all of them.
const anyAsset = ^uint32(0)

// part is an amount of one asset, big-endian, of one destination or of none.
type part struct {
	destination uint32
	asset       uint32
	amount      []byte
}

// facts are an event in numbers. Links are distances back to the event before
// with the same user (wallet, ...), 0 where there is none: they never change, so
// that what was added last can be cut off again.
type facts struct {
	owner   [destinations]uint32
	back    [destinations]uint64
	amounts []byte // parts without destination
	nonce   sent
	// moves are what two events must have in common to be duplicates, sorted;
	// empty where nothing moves.
	moves []byte
	same  uint64 // back to the event before with the same wallet and moves
	links []byte // back, for each destination in the order of moves
}

// sent is what tells transactions of one account and nonce from one another.
type sent struct {
	is      bool // there is a nonce
	number  uint64
	back    uint64
	fee     []byte // nil: none
	content uint64
}

// pack appends an event:
//
//	user, back, wallet, back, account, back        numbers are unsigned varints
//	number of bytes of amounts *2 (+1: nonce), amounts: asset, length, bytes
//	[nonce, back, length of fee +1, fee, 8 bytes of content]
//	back to the same moves, number of bytes of moves,
//	moves: destination, asset+1 (0: called only), length, bytes
//	back, for each destination
func (f *facts) pack(b []byte) []byte {
	for s := range destinations {
		b = binary.AppendUvarint(b, uint64(f.owner[s]))
		b = binary.AppendUvarint(b, f.back[s])
	}
	size := uint64(len(f.amounts)) * 2
	if f.nonce.is {
		size++
	}
	b = append(binary.AppendUvarint(b, size), f.amounts...)
	if f.nonce.is {
		b = f.nonce.pack(b)
	}
	b = binary.AppendUvarint(b, f.same)
	b = append(binary.AppendUvarint(b, uint64(len(f.moves))), f.moves...)
	return append(b, f.links...)
}

// alike says whether two events put the same at risk, of the same owners.
func (f *facts) alike(other *facts) bool {
	return f.owner == other.owner && bytes.Equal(f.amounts, other.amounts) && bytes.Equal(f.moves, other.moves)
}

func (s *sent) pack(b []byte) []byte {
	b = binary.AppendUvarint(b, s.number)
	b = binary.AppendUvarint(b, s.back)
	if s.fee == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, byte(len(s.fee)+1)), s.fee...)
	}
	return binary.BigEndian.AppendUint64(b, s.content)
}

// unpack reads what pack has written; nothing is copied.
func (f *facts) unpack(b []byte) {
	r := reader(b)
	for s := range destinations {
		f.owner[s], f.back[s] = uint32(r.number()), r.number()
	}
	size := r.number()
	f.amounts, f.nonce = r.take(size/2), sent{}
	if size%2 == 1 {
		f.nonce = sent{is: true, number: r.number(), back: r.number()}
		if n := r.take(1)[0]; n > 0 {
			f.nonce.fee = r.take(uint64(n - 1))
		}
		f.nonce.content = binary.BigEndian.Uint64(r.take(8))
	}
	f.same = r.number()
	f.moves = r.take(r.number())
	f.links = r
}

// reader reads from the front of a packed event.
type reader []byte

func (r *reader) number() uint64 {
	if b := (*r)[0]; b < 0x80 {
		*r = (*r)[1:]
		return uint64(b)
	}
	n, size := binary.Uvarint(*r)
	*r = (*r)[size:]
	return n
}

func (r *reader) take(n uint64) []byte {
	out := (*r)[:n:n]
	*r = (*r)[n:]
	return out
}

func packAmounts(parts []part) (b []byte) {
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(p.asset))
		b = append(append(b, byte(len(p.amount))), p.amount...)
	}
	return b
}

func packMoves(parts []part) (b []byte) {
	slices.SortFunc(parts, comparePart)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(p.destination))
		b = binary.AppendUvarint(b, uint64(p.asset+1))
		b = append(append(b, byte(len(p.amount))), p.amount...)
	}
	return b
}

// comparePart orders by destination, then by everything else.
func comparePart(a, b part) int {
	return cmp.Or(cmp.Compare(a.destination, b.destination), cmp.Compare(a.asset, b.asset), compareAmounts(a.amount, b.amount))
}

// moving reports whether any amount moves.
func (f *facts) moving() (is bool) {
	f.eachMove(func(p part) { is = is || p.asset != anyAsset })
	return is
}

// eachMove calls do for each part of the moves.
func (f *facts) eachMove(do func(part)) {
	for r := reader(f.moves); len(r) > 0; {
		p := part{destination: uint32(r.number()), asset: uint32(r.number()) - 1}
		p.amount = r.take(uint64(r.take(1)[0]))
		do(p)
	}
}

// eachDestination calls do once for each destination, with the link back.
func (f *facts) eachDestination(do func(id uint32, back uint64)) {
	links, last := reader(f.links), anyAsset
	f.eachMove(func(p part) {
		if p.destination != last {
			last = p.destination
			do(last, links.number())
		}
	})
}

// add adds what the event has of an asset, and reports whether it has any: of
// its exposure, or of what one destination gets. With a sign of -1 it subtracts.
func (f *facts) add(k key, asset uint32, sign int, total, scratch *big.Int) (has bool) {
	if k.scope == destinations {
		f.eachMove(func(p part) {
			if p.destination == k.id && (asset == anyAsset || p.asset == asset) {
				has = true
				addAmount(p.amount, sign, total, scratch)
			}
		})
		return has
	}
	if asset == anyAsset {
		return true
	}
	amount, has := f.amountOf(asset)
	addAmount(amount, sign, total, scratch)
	return has
}

func addAmount(amount []byte, sign int, total, scratch *big.Int) {
	if sign < 0 {
		total.Sub(total, scratch.SetBytes(amount))
		return
	}
	total.Add(total, scratch.SetBytes(amount))
}

func (f *facts) amountOf(asset uint32) ([]byte, bool) {
	for r := reader(f.amounts); len(r) > 0; {
		id := uint32(r.number())
		amount := r.take(uint64(r.take(1)[0]))
		if id == asset {
			return amount, true
		}
	}
	return nil, false
}

// movedOf is how much of an asset the event moves and lets others take, the fee
// left out; nil where it is nothing.
func (f *facts) movedOf(asset uint32) (amount []byte) {
	for r := reader(f.moves); len(r) > 0; {
		_, id := r.number(), uint32(r.number())-1
		part := r.take(uint64(r.take(1)[0]))
		switch {
		case id != asset || len(part) == 0:
		case amount == nil:
			amount = part
		default:
			sum := new(big.Int).SetBytes(amount)
			amount = sum.Add(sum, new(big.Int).SetBytes(part)).Bytes()
		}
	}
	return amount
}

// backOf is the link back of one key.
func (f *facts) backOf(k key) (back uint64) {
	if k.scope < destinations {
		return f.back[k.scope]
	}
	f.eachDestination(func(id uint32, link uint64) {
		if id == k.id {
			back = link
		}
	})
	return back
}

// has reports whether the event is of the key.
func (f *facts) has(k key) bool {
	switch {
	case k.scope == whole:
		return true
	case k.scope < destinations:
		return f.owner[k.scope] == k.id
	}
	found := false
	f.eachMove(func(p part) { found = found || p.destination == k.id })
	return found
}

// eachKey calls do for each key that the event is of.
func (f *facts) eachKey(do func(k key, back uint64)) {
	do(key{scope: whole}, 0)
	for s := range destinations {
		do(key{s, f.owner[s]}, f.back[s])
	}
	f.eachDestination(func(id uint32, back uint64) { do(key{destinations, id}, back) })
}

// key is whose events sums and counts are of.
type key struct {
	scope scope
	id    uint32
}
