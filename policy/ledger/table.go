package ledger

import "math/bits"

// table is a set in open addressing, for millions of small values: half the
// memory of a map, and no pointers. A value is found by a hash that the caller
// can compute from it, at any time.
type table[T uint32 | uint64] struct {
	slots []T
	tags  []byte // of each slot: a byte of the hash, so that few values are looked at
	used  int    // slots that are not empty
	hash  func(T) uint64
	// live, unless nil, says whether a value still counts; those that do not give
	// way when the table grows.
	live func(T) bool
}

// removed marks a slot that was used; 0 one that never was. Values are stored
// with one added.
func (t *table[T]) removed() T { return ^T(0) }

// find returns where the value stands that the caller recognizes.
func (t *table[T]) find(hash uint64, is func(T) bool) (at int, value T, ok bool) {
	if len(t.slots) == 0 {
		return 0, 0, false
	}
	for i := t.start(hash); t.slots[i] != 0; i = t.after(i) {
		if v := t.slots[i]; t.tags[i] == byte(hash) && t.counts(v) && is(v-1) {
			return i, v - 1, true
		}
	}
	return 0, 0, false
}

// start is where a hash belongs: its share of the length, so that lengths need
// not be powers of two.
func (t *table[T]) start(hash uint64) int {
	high, _ := bits.Mul64(hash, uint64(len(t.slots)))
	return int(high)
}

func (t *table[T]) after(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

// add puts in a value that is not there.
func (t *table[T]) add(hash uint64, value T) {
	if (t.used+1)*5 > len(t.slots)*4 {
		t.grow()
	}
	t.place(hash, value)
}

func (t *table[T]) place(hash uint64, value T) {
	i := t.start(hash)
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i], t.tags[i] = value+1, byte(hash)
	t.used++
}

// replace puts a value with the same hash in another's place.
func (t *table[T]) replace(at int, value T) { t.slots[at] = value + 1 }

// remove takes out what find has found.
func (t *table[T]) remove(at int) { t.slots[at] = t.removed() }

// grow makes room for half as many values again as count.
func (t *table[T]) grow() {
	old, count := t.slots, 0
	for _, v := range old {
		if t.counts(v) {
			count++
		}
	}
	size := max(16, (count+1)*15/8)
	t.slots, t.tags, t.used = make([]T, size), make([]byte, size), 0
	for _, v := range old {
		if t.counts(v) {
			t.place(t.hash(v-1), v-1)
		}
	}
}

// shrink makes a table smaller that could hold many times what is left at most.
func (t *table[T]) shrink(left int) {
	if len(t.slots) > 8*max(16, left) {
		t.grow()
	}
}

func (t *table[T]) counts(v T) bool {
	return v != 0 && v != t.removed() && (t.live == nil || t.live(v-1))
}
