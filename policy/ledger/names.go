package ledger

import (
	"hash/maphash"
	"math"
)

// names gives strings small numbers, from 0 on. The strings stand in one slice
// of bytes, as there may be a million destinations.
type names struct {
	seed  maphash.Seed
	bytes []byte
	ends  []uint32
	index table[uint32]
	most  uint64 // bytes: where they end is kept in 32 bits
}

func newNames(seed maphash.Seed) *names {
	n := &names{seed: seed, most: math.MaxUint32}
	n.index.hash = func(id uint32) uint64 { return maphash.Bytes(seed, n.of(id)) }
	return n
}

func (n *names) len() int { return len(n.ends) }

func (n *names) of(id uint32) []byte {
	from := uint32(0)
	if id > 0 {
		from = n.ends[id-1]
	}
	return n.bytes[from:n.ends[id]]
}

// find returns the number of a string that has one.
func (n *names) find(s string) (uint32, bool) {
	_, id, ok := n.index.find(maphash.String(n.seed, s), func(id uint32) bool { return string(n.of(id)) == s })
	return id, ok
}

// room reports whether strings of so many bytes fit.
func (n *names) room(size int) bool { return uint64(len(n.bytes))+uint64(size) <= n.most }

// number returns the number of a string, a new one if need be, for which there
// must be room.
func (n *names) number(s string) uint32 {
	if id, ok := n.find(s); ok {
		return id
	}
	id := uint32(len(n.ends))
	n.bytes = append(n.bytes, s...)
	n.ends = append(n.ends, uint32(len(n.bytes)))
	n.index.add(maphash.String(n.seed, s), id)
	return id
}

// truncate forgets all numbers from size on.
func (n *names) truncate(size int) {
	for id := len(n.ends) - 1; id >= size; id-- {
		at, _, _ := n.index.find(maphash.Bytes(n.seed, n.of(uint32(id))), func(v uint32) bool { return v == uint32(id) })
		n.index.remove(at)
		n.ends = n.ends[:id]
	}
	n.bytes = n.bytes[:n.end()]
}

func (n *names) end() uint32 {
	if len(n.ends) == 0 {
		return 0
	}
	return n.ends[len(n.ends)-1]
}
