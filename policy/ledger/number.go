package ledger

import (
	"hash/maphash"
	"strconv"

	"github.com/countersign/countersign/internal/message"
)

// numbered is a record in numbers.
type numbered struct {
	facts
	destinations []uint32 // each once, in the order of moves
}

// number gives numbers to all names of a record.
func (l *Ledger) number(r *record) *numbered {
	e := &numbered{}
	e.owner[users] = l.names[users].number(r.User)
	e.owner[wallets] = l.names[wallets].number(r.Wallet)
	e.owner[accounts] = l.names[accounts].number(r.Account)
	amounts := make([]part, 0, len(r.Amounts))
	for _, a := range r.Amounts {
		amounts = append(amounts, part{asset: l.assets.number(a.Asset), amount: parseDecimal(a.Amount).Bytes()})
	}
	e.amounts = packAmounts(amounts)
	moves := make([]part, 0, len(r.Movements))
	for _, m := range r.Movements {
		moves = append(moves, l.numberMove(m))
	}
	e.setMoves(moves)
	if r.Nonce != "" {
		e.nonce = sent{is: true, number: nonceOf(r), content: l.hashContent(r.Content)}
		if r.Fee != "" {
			e.nonce.fee = append([]byte{}, parseDecimal(r.Fee).Bytes()...)
		}
	}
	return e
}

// nonceOf reads what check has accepted.
func nonceOf(r *record) uint64 {
	n, _ := strconv.ParseUint(r.Nonce, 10, 64)
	return n
}

// numberMove takes a destination in for good.
func (l *Ledger) numberMove(m moved) part {
	p := part{asset: anyAsset}
	p.destination = l.names[destinations].number(m.Account)
	if int(p.destination) == len(l.looks.next) {
		l.looks.add(p.destination)
	}
	if m.Asset != "" {
		p.asset, p.amount = l.assets.number(m.Asset), parseDecimal(m.Amount).Bytes()
	}
	return p
}

func (e *numbered) setMoves(moves []part) {
	e.moves = packMoves(moves)
	for i, m := range moves { // sorted now
		if i == 0 || m.destination != moves[i-1].destination {
			e.destinations = append(e.destinations, m.destination)
		}
	}
}

// hashContent keeps 8 bytes of a content hash. The seed is secret: nobody can
// look for two contents that agree in them.
func (l *Ledger) hashContent(content []byte) uint64 { return maphash.Bytes(l.seed, content) }

// top is the highest nonce of an account, by which envelope, and the highest of
// any other envelope.
type top struct {
	first, second       uint64
	envelope            message.Hash
	hasFirst, hasSecond bool
}

func (t *top) add(nonce uint64, envelope message.Hash) {
	switch {
	case t.hasFirst && t.envelope == envelope:
	case !t.hasFirst:
		t.first, t.envelope, t.hasFirst = nonce, envelope, true
	case nonce > t.first:
		t.second, t.hasSecond = t.first, true
		t.first, t.envelope = nonce, envelope
	default:
		t.second, t.hasSecond = max(t.second, nonce), true
	}
}

// highest is that of all envelopes but one.
func (t top) highest(without message.Hash) (nonce uint64, ok bool) {
	if t.envelope == without {
		return t.second, t.hasSecond
	}
	return t.first, t.hasFirst
}
