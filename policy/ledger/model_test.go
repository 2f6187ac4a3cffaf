package ledger_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

// model is the plainest way to say what a ledger answers: it looks at all events
// each time.
type model struct {
	events []counted // in the order in which they were heard of
	before []counted // what events were at the mark
	marked bool
}

func (m *model) mark() {
	if !m.marked {
		m.before, m.marked = slices.Clone(m.events), true
	}
}

func (m *model) undo() {
	if m.marked {
		m.events, m.marked = m.before, false
	}
}

type counted struct {
	ledger.Event
	at, heard time.Duration // since start, and since the process began
	dead      bool
}

// add has an event count in place of its envelope's earlier one.
func (m *model) add(e ledger.Event, at, heard time.Duration) {
	for i := range m.events {
		if old := &m.events[i]; old.Envelope == e.Envelope && !old.dead {
			if old.at > at {
				return
			}
			old.dead = true
		}
	}
	m.events = append(m.events, counted{e, at, heard, false})
}

// view is model's answers, as of a moment.
type view struct {
	events []counted // of other envelopes
	e      ledger.Event
	now    clock.Moment
}

func (m *model) view(e ledger.Event, now clock.Moment) *view {
	v := &view{e: e, now: now}
	for _, c := range m.events {
		if c.Envelope != e.Envelope && !c.dead {
			v.events = append(v.events, c)
		}
	}
	return v
}

// within are the events that count for a window.
func (v *view) within(window time.Duration) (out []counted) {
	for _, c := range v.events {
		if v.now.Sure.Sub(start)-c.at < window && v.now.Elapsed-c.heard < window {
			out = append(out, c)
		}
	}
	return out
}

func (v *view) of(scope, id string, window time.Duration) (out []counted) {
	for _, c := range v.within(window) {
		is := scope == ledger.ScopeAsset
		switch scope {
		case ledger.ScopeUser:
			is = c.User == id
		case ledger.ScopeWallet:
			is = c.Wallet == id
		case ledger.ScopeAccount:
			is = c.Account == id
		case ledger.ScopeDestination:
			is = slices.ContainsFunc(c.Moves, func(m ledger.Movement) bool { return m.Account == id })
		}
		if is {
			out = append(out, c)
		}
	}
	return out
}

// amounts of an asset in an event, for a scope.
func amounts(c counted, scope, id, asset string) (out []*big.Int) {
	if scope == ledger.ScopeDestination {
		for _, m := range c.Moves {
			if m.Account == id && m.Asset == asset {
				out = append(out, m.Amount)
			}
		}
		return out
	}
	for _, a := range c.Amounts {
		if a.Asset == asset {
			out = append(out, a.Amount)
		}
	}
	return out
}

// moved is how much of an asset an event moves.
func moved(c counted, asset string) *big.Int {
	sum := new(big.Int)
	for _, m := range c.Moves {
		if m.Asset == asset {
			sum.Add(sum, m.Amount)
		}
	}
	return sum
}

func (v *view) Sum(scope, id, asset string, window time.Duration) *big.Int {
	sum := new(big.Int)
	for _, c := range v.of(scope, id, window) {
		for _, a := range amounts(c, scope, id, asset) {
			sum.Add(sum, a)
		}
	}
	return sum
}

func (v *view) Count(scope, id, asset string, window time.Duration) (n int) {
	for _, c := range v.of(scope, id, window) {
		if asset == "" || len(amounts(c, scope, id, asset)) > 0 {
			n++
		}
	}
	return n
}

func (v *view) uses(destination string, wallet string) bool {
	return slices.ContainsFunc(v.events, func(c counted) bool {
		return (wallet == "" || c.Wallet == wallet) &&
			slices.ContainsFunc(c.Moves, func(m ledger.Movement) bool { return m.Account == destination })
	})
}

func (v *view) FirstUse(destination string) bool { return !v.uses(destination, v.e.Wallet) }

// Lookalike: of destinations in the tests there are never three alike.
func (v *view) Lookalike(destination string) (string, bool) {
	for _, wallet := range []string{v.e.Wallet, ""} {
		for n := range 20 {
			other := place(n)
			size := len(other)
			if other != destination && other[:16] == destination[:16] && other[size-4:] == destination[size-4:] && v.uses(other, wallet) {
				return other, true
			}
		}
	}
	return "", false
}

func moves(e ledger.Event) string {
	var out []string
	for _, m := range e.Moves {
		out = append(out, fmt.Sprint(m))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (v *view) Duplicates(window time.Duration) (n int) {
	for _, c := range v.of(ledger.ScopeWallet, v.e.Wallet, window) {
		if moves(c.Event) == moves(v.e) && slices.ContainsFunc(c.Moves, func(m ledger.Movement) bool { return m.Amount != nil }) {
			n++
		}
	}
	return n
}

func (v *view) Habit(scope, asset string, amount *big.Int) (h ledger.Habit) {
	id := v.e.User
	if scope == ledger.ScopeWallet {
		id = v.e.Wallet
	}
	past := v.of(scope, id, ledger.Lookback)
	past = slices.DeleteFunc(past, func(c counted) bool { return moved(c, asset).Sign() == 0 })
	slices.SortStableFunc(past, func(a, b counted) int { return int((b.at - a.at) / time.Second) })
	past = past[:min(128, len(past))]
	if h.Count = len(past); h.Count == 0 {
		return h
	}
	var logs, deviations []float64
	var plain []*big.Int
	for _, c := range past {
		a := moved(c, asset)
		plain, logs = append(plain, a), append(logs, logOf(a))
	}
	slices.SortFunc(plain, (*big.Int).Cmp)
	slices.Sort(logs)
	h.MedianAmount = plain[(h.Count-1)/2]
	h.Median = (logs[(h.Count-1)/2] + logs[h.Count/2]) / 2
	for _, x := range logs {
		deviations = append(deviations, math.Abs(x-h.Median))
	}
	slices.Sort(deviations)
	h.MAD = (deviations[(h.Count-1)/2] + deviations[h.Count/2]) / 2
	h.Z = (logOf(amount) - h.Median) / max(1.4826*h.MAD, 0.25)
	return h
}

func logOf(n *big.Int) float64 {
	f, _ := new(big.Float).SetInt(n).Float64()
	return math.Log2(max(1, f))
}

func (v *view) Nonce() (n ledger.Nonce) {
	n.Replaces = true
	for _, c := range v.events {
		if c.Account != v.e.Account || c.Nonce == nil {
			continue
		}
		n.Known, n.Next = true, max(n.Next, *c.Nonce+1)
	}
	for _, c := range v.of(ledger.ScopeAccount, v.e.Account, ledger.Lookback) {
		if v.e.Nonce != nil && c.Nonce != nil && *c.Nonce == *v.e.Nonce {
			n.Reused = true
			n.Replaces = n.Replaces && c.Content == v.e.Content && c.FeePerGas.Cmp(v.e.FeePerGas) < 0
		}
	}
	n.Replaces = n.Replaces && n.Reused
	return n
}

// place is one of twenty destinations; each two of them look alike.
func place(n int) string {
	return fmt.Sprintf("eip155:1:0x%04x%032d%04x", n/2, n, n/2)
}

// answers are what View and the model both give.
type answers interface {
	Sum(scope, id, asset string, window time.Duration) *big.Int
	Count(scope, id, asset string, window time.Duration) int
	FirstUse(destination string) bool
	Lookalike(destination string) (string, bool)
	Duplicates(window time.Duration) int
	Habit(scope, asset string, amount *big.Int) ledger.Habit
	Nonce() ledger.Nonce
}

var (
	_ answers = (*ledger.View)(nil)
	_ answers = (*view)(nil)
)

var windows = []time.Duration{
	time.Minute, 24 * time.Hour, 100 * time.Hour, ledger.Lookback, 32 * day, year, ledger.Longest,
}

// ask asks everything there is about an event, for windows of which the last is
// the longest.
func ask(v answers, e ledger.Event, windows []time.Duration) map[string]string {
	out := map[string]string{}
	say := func(value any, question ...any) { out[fmt.Sprint(question...)] = fmt.Sprint(value) }
	for _, w := range windows {
		for scope, id := range map[string]string{"user": e.User, "wallet": e.Wallet, "account": e.Account, "asset": "", "destination": place(3)} {
			for _, asset := range []string{"", "a", "b", "none"} {
				say(v.Count(scope, id, asset, w), "count ", scope, asset, w)
				if asset != "" {
					say(v.Sum(scope, id, asset, w), "sum ", scope, asset, w)
				}
			}
		}
		say(v.Duplicates(w), "duplicates ", w)
	}
	for n := range 20 {
		known, ok := v.Lookalike(place(n))
		say(fmt.Sprint(v.FirstUse(place(n)), known, ok), "place ", n)
	}
	n := v.Nonce()
	say(n.Known, "nonce known")
	say(n.Next, "next nonce")
	if !slices.Contains(windows, ledger.Lookback) {
		return out
	}
	for _, scope := range []string{"user", "wallet"} {
		for _, asset := range []string{"a", "b"} {
			h := v.Habit(scope, asset, big.NewInt(1000))
			h.Median, h.MAD, h.Z = round(h.Median), round(h.MAD), round(h.Z)
			say(fmt.Sprintf("%+v", h), "habit ", scope, asset)
		}
	}
	say(fmt.Sprintf("%+v", n), "nonce")
	return out
}

func round(f float64) float64 { return math.Round(f*1e6) / 1e6 }

// randomEvent is one of 200 envelopes, so that everything happens again.
func randomEvent(random *rand.Rand, from int) ledger.Event {
	e := ledger.Event{
		Envelope: message.Sum(fmt.Append(nil, from+random.IntN(200))), Kind: message.KindEthereumTransaction,
	}
	// What an envelope says never changes.
	own := rand.New(rand.NewPCG(uint64(e.Envelope[0])|uint64(e.Envelope[1])<<8, 9))
	e.Content = message.Sum([]byte{byte(own.IntN(2))})
	e.User, e.Wallet = fmt.Sprint("u", own.IntN(2)), fmt.Sprint("w", own.IntN(3))
	e.Account = e.Wallet + fmt.Sprint("a", own.IntN(2))
	e.Chain, e.FeePerGas = "eip155:1", big.NewInt(own.Int64N(3))
	if own.IntN(5) > 0 {
		nonce := own.Uint64N(6)
		e.Nonce = &nonce
	}
	for i, asset := range []string{"a", "b"}[:own.IntN(3)] {
		amount := new(big.Int).Lsh(big.NewInt(own.Int64N(4)), uint(own.IntN(2)*250))
		e.Amounts = append(e.Amounts, exposure.Amount{Asset: asset, Amount: new(big.Int).Add(amount, big.NewInt(1))})
		for range 1 + i {
			e.Moves = append(e.Moves, ledger.Movement{Account: place(own.IntN(20)), Asset: asset, Amount: amount})
		}
	}
	if own.IntN(3) == 0 {
		e.Moves = append(e.Moves, ledger.Movement{Account: place(own.IntN(20))})
	}
	return e
}

// TestLedgerAgainstModel: whatever is replayed, marked, undone and kept, while
// clocks are set, all answers are the model's, before and after it.
func TestLedgerAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			newComparison(t, seed).run(200, 1, 8*time.Hour)
		})
		t.Run(fmt.Sprint(seed, "-over-years"), func(t *testing.T) {
			newComparison(t, seed).run(100, 1, 40*day)
		})
	}
}

// TestLedgerAgainstModelForLong: so do they when events are dropped and envelopes
// forgotten again and again.
func TestLedgerAgainstModelForLong(t *testing.T) {
	for window, most := range map[time.Duration]time.Duration{ledger.Lookback: 30 * time.Minute, year: 6 * time.Hour} {
		t.Run(window.String(), func(t *testing.T) {
			c := newComparison(t, 7)
			c.windows = windows[:slices.Index(windows, window)+1]
			c.ledger.Retain(window)
			c.run(10000, 833, most)
		})
	}
}

// comparison does the same with a ledger and the model.
type comparison struct {
	t      *testing.T
	random *rand.Rand
	*machine
	ledger *ledger.Ledger
	other  *ledger.Ledger // of a process that has an older time
	model  *model
	older  int // how often times on records went back
	// windows are what is asked for, and jump how far clocks are set.
	windows []time.Duration
	jump    time.Duration

	records, kept [][]byte // all of them, and those before the mark
}

func newComparison(t *testing.T, seed uint64) *comparison {
	c := &comparison{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), machine: newMachine(), model: &model{}, other: ledger.New(nil),
		windows: windows, jump: 50 * time.Hour,
	}
	c.ledger = ledger.New(c.watch())
	return c
}

func (c *comparison) run(steps, askEvery int, most time.Duration) {
	c.jump = max(c.jump, 6*most)
	for i := range steps {
		c.pass(c.seconds(most))
		c.happen()
		from := 0
		if askEvery > 1 {
			from = i // envelopes come and go
		}
		e := randomEvent(c.random, from)
		e.Expires = c.wall.Add(400*most + 200*time.Hour)
		if i%askEvery == 0 {
			c.compare(e)
		}
		c.approve(e)
	}
}

// seconds are a random time below a bound.
func (c *comparison) seconds(below time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(below/time.Second))) * time.Second
}

// happen sets a clock, or ends a batch.
func (c *comparison) happen() {
	switch c.random.IntN(12) {
	case 0:
		c.set(start.Add(c.elapsed + c.seconds(2*c.jump) - c.jump))
	case 1, 2:
		c.set(start.Add(c.elapsed))
	case 3:
		c.ledger.Mark()
		if !c.model.marked {
			c.kept = slices.Clone(c.records)
		}
		c.model.mark()
	case 4:
		c.ledger.Undo()
		if c.model.marked {
			c.records = c.kept
		}
		c.model.undo()
	case 5:
		c.ledger.Keep()
		c.model.marked = false
	}
}

func (c *comparison) compare(e ledger.Event) {
	c.t.Helper()
	c.compareWithin(e, c.windows)
}

func (c *comparison) compareWithin(e ledger.Event, windows []time.Duration) {
	c.t.Helper()
	now := c.read()
	got, want := ask(c.ledger.View(e, now), e, windows), ask(c.model.view(e, now), e, windows)
	if reflect.DeepEqual(got, want) {
		return
	}
	for q := range want {
		if got[q] != want[q] {
			c.t.Errorf("%s: got %s, want %s", q, got[q], want[q])
		}
	}
	c.t.FailNow()
}

// approve now and then does so as another process whose clock is behind.
func (c *comparison) approve(e ledger.Event) {
	now := c.read()
	made, maker := now, c.ledger
	if c.older < 7 && c.random.IntN(50) == 0 {
		c.older++
		made, maker = clock.Moment{Late: now.Late.Add(-c.seconds(c.jump))}, c.other
	}
	body, err := maker.Record(e, made)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.ledger.Replay(body); err != nil {
		c.t.Fatal(err)
	}
	c.records = append(c.records, body)
	c.model.add(e, timeOf(c.t, body).Sub(start), now.Elapsed)
}
