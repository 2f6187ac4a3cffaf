package ledger

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// chunkSize is how many events are stored, and dropped, together.
const chunkSize = 1024

// chunk is the storage of events that follow one another.
type chunk struct {
	at    [chunkSize]uint32 // seconds since 1970
	heard [chunkSize]uint32 // seconds since the process began, rounded up
	ends  [chunkSize]uint32 // in packed
	// dead events have given way to a later approval of their envelope.
	dead   [chunkSize / 64]uint64
	count  int
	packed []byte
}

// run is a series of events none of which is younger than the next, neither by
// the time on it nor by when it was heard of. There is more than one only where
// times in the chain of records go back.
type run struct {
	seed        maphash.Seed
	chunks      []*chunk
	first, next uint32           // numbers of events
	newest      [linked][]uint32 // of each key: number of the last event + 1
	nonces      table[uint32]    // the last event of each account and nonce
	same        table[uint32]    // the last event of each wallet and moves
	totals      [linked + 1]cache
	scratch     facts
}

func newRun(seed maphash.Seed) *run {
	r := &run{seed: seed}
	live := func(id uint32) bool { return id >= r.first }
	r.nonces.live, r.same.live = live, live
	r.nonces.hash = func(id uint32) uint64 {
		f := r.read(id)
		return r.hashNonce(f.owner[accounts], f.nonce.number)
	}
	r.same.hash = func(id uint32) uint64 {
		f := r.read(id)
		return r.hashMoves(f.owner[wallets], f.moves)
	}
	return r
}

func (r *run) hashNonce(account uint32, nonce uint64) uint64 {
	var b [12]byte
	binary.NativeEndian.PutUint32(b[:], account)
	binary.NativeEndian.PutUint64(b[4:], nonce)
	return maphash.Bytes(r.seed, b[:])
}

func (r *run) hashMoves(wallet uint32, moves []byte) uint64 {
	return maphash.Bytes(r.seed, moves) + uint64(wallet)*0x9e3779b97f4a7c15 // 2^64 / golden ratio: spreads wallets
}

func (r *run) empty() bool { return r.first == r.next }

// chunkOf returns where an event is; first always begins a chunk.
func (r *run) chunkOf(id uint32) (*chunk, int) {
	i := id - r.first
	return r.chunks[i/chunkSize], int(i % chunkSize)
}

// read unpacks an event; the result is good until the next read.
func (r *run) read(id uint32) *facts {
	c, i := r.chunkOf(id)
	from := uint32(0)
	if i > 0 {
		from = c.ends[i-1]
	}
	r.scratch.unpack(c.packed[from:c.ends[i]])
	return &r.scratch
}

func (r *run) at(id uint32) int64 {
	c, i := r.chunkOf(id)
	return int64(c.at[i])
}

func (r *run) dead(id uint32) bool {
	c, i := r.chunkOf(id)
	return c.dead[i/64]&(1<<(i%64)) != 0
}

// last is the time of the newest event.
func (r *run) last() int64 { return r.at(r.next - 1) }

// cut is a moment some time ago, on both clocks, in seconds.
type cut struct{ at, heard int64 }

// over reports whether an event counts no more: it counts for so long from the
// time on it, by a clock that a wall clock which jumps ahead does not take
// along; at most, however far in the future that time lies, for so long since
// this process heard of it.
func (r *run) over(id uint32, c cut) bool {
	from, i := r.chunkOf(id)
	at := from.at[i]
	return (int64(at) <= c.at && at != beyond) || int64(from.heard[i]) <= c.heard
}

// append adds an event, which is not older than the last one, and returns its
// number. Its links are set here.
func (r *run) append(f *facts, destinationIDs []uint32, at int64, heard time.Duration) uint32 {
	id := r.next
	for s := range destinations {
		f.back[s] = r.link(key{s, f.owner[s]}, id)
	}
	f.links = f.links[:0]
	for _, d := range destinationIDs {
		f.links = binary.AppendUvarint(f.links, r.link(key{destinations, d}, id))
	}
	r.indexNonce(f, id)
	r.indexMoves(f, id)
	seconds := clamp(int64((heard + time.Second - 1) / time.Second))
	if !r.empty() { // the clock that nobody sets never goes back
		last, i := r.chunkOf(id - 1)
		seconds = max(seconds, last.heard[i])
	}
	c := r.room()
	c.at[c.count], c.heard[c.count] = clamp(at), seconds
	c.dead[c.count/64] &^= 1 << (c.count % 64)
	c.packed = f.pack(c.packed)
	c.ends[c.count] = uint32(len(c.packed))
	c.count++
	r.next++
	return id
}

// beyond stands for all times from the year 2106 on. By the time on it such an
// event is never over.
const beyond = math.MaxUint32

// clamp bounds what a record may say.
func clamp(seconds int64) uint32 { return uint32(min(max(seconds, 0), beyond)) }

// room returns the last chunk, or a new one; a full one needs no reserve.
func (r *run) room() *chunk {
	if n := len(r.chunks); n > 0 {
		c := r.chunks[n-1]
		if c.count < chunkSize {
			return c
		}
		c.packed = append(make([]byte, 0, len(c.packed)), c.packed...)
	}
	c := &chunk{}
	r.chunks = append(r.chunks, c)
	return c
}

// link makes an event the newest of a key and returns the way back to the one
// that was.
func (r *run) link(k key, id uint32) (back uint64) {
	heads := &r.newest[k.scope]
	if n := int(k.id) + 1 - len(*heads); n > 0 {
		*heads = append(*heads, make([]uint32, n)...)
	}
	was := (*heads)[k.id]
	(*heads)[k.id] = id + 1
	if was <= r.first {
		return 0
	}
	return uint64(id - (was - 1))
}

// head returns the newest event of a key.
func (r *run) head(k key) (id uint32, ok bool) {
	heads := r.newest[k.scope]
	if int(k.id) >= len(heads) || heads[k.id] <= r.first {
		return 0, false
	}
	return heads[k.id] - 1, true
}

// before follows a link back.
func (r *run) before(id uint32, back uint64) (uint32, bool) {
	if back == 0 || uint64(id-r.first) < back {
		return 0, false
	}
	return id - uint32(back), true
}

func (r *run) findNonce(account uint32, nonce uint64) (at int, id uint32, ok bool) {
	return r.nonces.find(r.hashNonce(account, nonce), func(id uint32) bool {
		f := r.read(id)
		return f.owner[accounts] == account && f.nonce.is && f.nonce.number == nonce
	})
}

func (r *run) indexNonce(f *facts, id uint32) {
	if !f.nonce.is {
		return
	}
	f.nonce.back = 0
	if at, last, ok := r.findNonce(f.owner[accounts], f.nonce.number); ok {
		f.nonce.back = uint64(id - last)
		r.nonces.replace(at, id)
		return
	}
	r.nonces.add(r.hashNonce(f.owner[accounts], f.nonce.number), id)
}

func (r *run) findMoves(wallet uint32, moves []byte) (at int, id uint32, ok bool) {
	return r.same.find(r.hashMoves(wallet, moves), func(id uint32) bool {
		f := r.read(id)
		return f.owner[wallets] == wallet && bytes.Equal(f.moves, moves)
	})
}

func (r *run) indexMoves(f *facts, id uint32) {
	f.same = 0
	if !f.moving() {
		return
	}
	if at, last, ok := r.findMoves(f.owner[wallets], f.moves); ok {
		f.same = uint64(id - last)
		r.same.replace(at, id)
		return
	}
	r.same.add(r.hashMoves(f.owner[wallets], f.moves), id)
}

// truncate takes the last event back.
func (r *run) truncate() {
	id := r.next - 1
	r.forget(id)
	f := *r.read(id)
	f.eachKey(func(k key, back uint64) {
		if k.scope == whole {
			return
		}
		r.newest[k.scope][k.id] = 0
		if before, ok := r.before(id, back); ok {
			r.newest[k.scope][k.id] = before + 1
		}
	})
	if f.nonce.is {
		at, _, _ := r.findNonce(f.owner[accounts], f.nonce.number)
		r.unindex(&r.nonces, at, id, f.nonce.back)
	}
	if f.moving() {
		at, _, _ := r.findMoves(f.owner[wallets], f.moves)
		r.unindex(&r.same, at, id, f.same)
	}
	c, i := r.chunkOf(id)
	c.count = i
	c.packed = c.packed[:0]
	if i > 0 {
		c.packed = c.packed[:c.ends[i-1]]
	} else {
		r.chunks = r.chunks[:len(r.chunks)-1]
	}
	r.next--
}

// unindex has an index name the event before instead.
func (r *run) unindex(index *table[uint32], at int, id uint32, back uint64) {
	if before, ok := r.before(id, back); ok {
		index.replace(at, before)
		return
	}
	index.remove(at)
}

// drop forgets whole chunks whose events are over, and reports whether there
// were any.
func (r *run) drop(c cut) (dropped bool) {
	for len(r.chunks) > 0 {
		n := uint32(r.chunks[0].count)
		if !r.over(r.first+n-1, c) {
			break
		}
		for id := r.first; id < r.first+n; id++ {
			r.pass(id)
		}
		r.chunks = slices.Delete(r.chunks, 0, 1)
		r.first += n
		dropped = true
	}
	if dropped {
		r.nonces.shrink(int(r.next - r.first))
		r.same.shrink(int(r.next - r.first))
	}
	return dropped
}
