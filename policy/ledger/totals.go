package ledger

import (
	"math/big"
	"slices"
	"sort"
)

// total is a running sum over a window of one key's events: those between two
// positions. As time passes and events come, both move on, each event once.
type total struct {
	asset    uint32
	window   int64 // seconds
	from, to int
	sum      *big.Int
	count    int
}

// group is the newest events of one key, found along their links as far back as
// any window reached, and the totals that were asked for. Positions are counted
// from the first event that was found; those found later that are older lie
// below. Of the key whole they are the numbers of events themselves.
type group struct {
	key     key
	ids     []uint32
	first   bool // there is none before ids
	dropped int  // position of the first of ids
	totals  []*total
	turn    int // which total gives way to the next
	charged int // what the cache counts for it
}

// maxTotals is how many windows of one key are remembered.
const maxTotals = 64

func (r *run) start(g *group) int {
	if g.key.scope == whole {
		return int(r.first)
	}
	return g.dropped
}

func (r *run) end(g *group) int {
	if g.key.scope == whole {
		return int(r.next)
	}
	return g.dropped + len(g.ids)
}

func (g *group) id(position int) uint32 {
	if g.key.scope == whole {
		return uint32(position)
	}
	return g.ids[position-g.dropped]
}

// position returns where an event is; not ok: it was not found yet.
func (g *group) position(id uint32) (int, bool) {
	if g.key.scope == whole {
		return int(id), true
	}
	i, ok := slices.BinarySearch(g.ids, id)
	return g.dropped + i, ok
}

// groupOf returns the events of a key: all that are not over, if not more.
func (r *run) groupOf(k key, c cut) *group {
	g := r.totals[k.scope].take(k)
	if k.scope != whole {
		r.findNewer(g, c)
		r.findOlder(g, c)
	}
	return g
}

// findNewer follows the links back to where it was before; where it was nowhere,
// to the first event that is over.
func (r *run) findNewer(g *group, c cut) {
	size, known := len(g.ids), uint32(0)
	if size > 0 {
		known = g.ids[size-1] + 1
	} else {
		g.first = false
	}
	id, ok := r.head(g.key)
	for ok && id >= known {
		g.ids = append(g.ids, id)
		if size == 0 && r.over(id, c) {
			break
		}
		id, ok = r.before(id, r.read(id).backOf(g.key))
	}
	slices.Reverse(g.ids[size:])
}

// findOlder follows the links on where a window is longer than those before, or a
// clock was set back.
func (r *run) findOlder(g *group, c cut) {
	if len(g.ids) == 0 {
		return
	}
	var older []uint32
	for id := g.ids[0]; !g.first && !r.over(id, c); {
		before, ok := r.before(id, r.read(id).backOf(g.key))
		if !ok {
			g.first = true
			break
		}
		older, id = append(older, before), before
	}
	if len(older) > 0 {
		slices.Reverse(older)
		g.ids, g.dropped = append(older, g.ids...), g.dropped-len(older)
	}
}

// total returns the total of a window, as of a cut.
func (r *run) total(k key, asset uint32, window int64, c cut) *total {
	g := r.groupOf(k, c)
	t := g.find(asset, window)
	if t == nil {
		n := sort.Search(r.end(g)-r.start(g), func(i int) bool { return !r.over(g.id(r.start(g)+i), c) })
		t = &total{asset: asset, window: window, from: r.start(g) + n, to: r.start(g) + n, sum: new(big.Int)}
		g.put(t)
	}
	for ; t.to < r.end(g); t.to++ {
		r.count(g, t, t.to, +1)
	}
	for ; t.from < t.to && r.over(g.id(t.from), c); t.from++ {
		r.count(g, t, t.from, -1)
	}
	for t.from > r.start(g) && !r.over(g.id(t.from-1), c) { // a clock was set back
		t.from--
		r.count(g, t, t.from, +1)
	}
	r.totals[k.scope].charge(g, int(r.next-r.first))
	return t
}

func (g *group) find(asset uint32, window int64) *total {
	for _, t := range g.totals {
		if t.asset == asset && t.window == window {
			return t
		}
	}
	return nil
}

func (g *group) put(t *total) {
	if len(g.totals) < maxTotals {
		g.totals = append(g.totals, t)
		return
	}
	g.totals[g.turn] = t
	g.turn = (g.turn + 1) % maxTotals
}

// count adds an event, or takes it away. A dead one is worth nothing.
func (r *run) count(g *group, t *total, position, sign int) {
	if id := g.id(position); !r.dead(id) {
		r.addTo(g, t, r.read(id), sign)
	}
}

func (r *run) addTo(g *group, t *total, f *facts, sign int) {
	if f.add(g.key, t.asset, sign, t.sum, &r.totals[g.key.scope].scratch) {
		t.count += sign
	}
}

// known calls do for each of the event's keys that totals are remembered of and
// the event was found for, with its position.
func (r *run) known(id uint32, do func(g *group, f *facts, position int)) {
	f := *r.read(id)
	f.eachKey(func(k key, _ uint64) {
		if g := r.totals[k.scope].look(k); g != nil {
			if position, ok := g.position(id); ok {
				do(g, &f, position)
			}
		}
	})
}

// kill has an event count no more, and revive undoes that.
func (r *run) kill(id uint32)   { r.turn(id, -1) }
func (r *run) revive(id uint32) { r.turn(id, +1) }

func (r *run) turn(id uint32, sign int) {
	c, i := r.chunkOf(id)
	c.dead[i/64] ^= 1 << (i % 64)
	r.known(id, func(g *group, f *facts, position int) {
		for _, t := range g.totals {
			if t.from <= position && position < t.to {
				r.addTo(g, t, f, sign)
			}
		}
	})
}

// forget takes the last event out of all totals: it was never there.
func (r *run) forget(id uint32) {
	dead := r.dead(id)
	r.known(id, func(g *group, f *facts, position int) {
		for _, t := range g.totals {
			if t.from <= position && position < t.to && !dead {
				r.addTo(g, t, f, -1)
			}
			t.from, t.to = min(t.from, position), min(t.to, position)
		}
		if g.key.scope != whole {
			g.ids = g.ids[:len(g.ids)-1]
		}
	})
}

// pass takes the first event out of all totals, since it is about to be dropped.
func (r *run) pass(id uint32) {
	dead := r.dead(id)
	r.known(id, func(g *group, f *facts, position int) {
		for _, t := range g.totals {
			if t.from <= position && position < t.to && !dead {
				r.addTo(g, t, f, -1)
			}
			t.from, t.to = max(t.from, position+1), max(t.to, position+1)
		}
		if g.key.scope != whole {
			g.ids, g.dropped = g.ids[1:], g.dropped+1
		}
	})
}

// cache remembers groups of one scope, so that none of the few that are dear
// goes for many that are not: those that were asked for of late, in two
// generations. When the younger one has grown too big it becomes the older one,
// and the older one goes.
type cache struct {
	young, old map[key]*group
	cost       int
	scratch    big.Int
}

// maxCost is how much one generation may cost, in units of about 4 bytes: 5 MiB,
// or where there are more events than that, as much as the ids of all of them.
// Else the few who make a million would take turns, and all of theirs be gone
// through each time.
const (
	maxCost   = 5 << 18
	groupCost = 40
	totalCost = 40
)

// look returns a group if it is remembered.
func (c *cache) look(k key) *group {
	if g := c.young[k]; g != nil {
		return g
	}
	return c.old[k]
}

// take returns a group, a new one if need be, which is now among the young.
func (c *cache) take(k key) *group {
	if g := c.young[k]; g != nil {
		return g
	}
	g := c.old[k]
	delete(c.old, k)
	if g == nil {
		g = &group{key: k}
	}
	g.charged = 0
	if c.young == nil {
		c.young = map[key]*group{}
	}
	c.young[k] = g
	return g
}

// charge counts what a group costs that was taken, where there are so many events.
func (c *cache) charge(g *group, events int) {
	cost := groupCost + len(g.ids) + totalCost*len(g.totals)
	c.cost, g.charged = c.cost+cost-g.charged, cost
	if c.cost > max(maxCost, events) {
		c.old, c.young, c.cost = c.young, nil, 0
	}
}
