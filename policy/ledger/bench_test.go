package ledger_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

const (
	million = 1_000_000
	// warm is how many events come before time is taken: as many as it takes for
	// everybody to be asked about once.
	warm = 20_000
)

// crowd makes the events of a busy deployment: native transfers with a fee.
type crowd struct {
	random       *rand.Rand
	users        int
	wallets      int
	accounts     int
	destinations int
	nonces       map[int]uint64
}

func newCrowd() *crowd {
	return &crowd{rand.New(rand.NewPCG(1, 2)), 50, 1000, 3000, 20000, map[int]uint64{}}
}

func id(kind string, n int) string { return message.Sum(fmt.Append(nil, kind, n)).String() }

func destination(chain, n int) string {
	return fmt.Sprintf("eip155:%d:0x%s", chain, id("destination", n)[:40])
}

func (c *crowd) event(at time.Time) ledger.Event {
	account := c.random.IntN(c.accounts)
	wallet, chain := account%c.wallets, 1+account%5
	nonce := c.nonces[account]
	c.nonces[account]++
	asset := fmt.Sprintf("eip155:%d/slip44:60", chain)
	value := new(big.Int).Mul(big.NewInt(c.random.Int64N(1e9)), big.NewInt(1e9))
	fee := big.NewInt(30e9 + c.random.Int64N(1e9))
	cost := new(big.Int).Mul(fee, big.NewInt(21000))
	e := ledger.Event{
		Kind: message.KindEthereumTransaction, User: fmt.Sprint("user-", wallet%c.users), Wallet: id("wallet", wallet),
		Account: id("account", account), Expires: at.Add(24 * time.Hour), Chain: fmt.Sprintf("eip155:%d", chain),
		Amounts: []exposure.Amount{{Asset: asset, Amount: cost.Add(cost, value)}},
		Moves: []ledger.Movement{{
			Account: destination(chain, c.random.IntN(c.destinations/5)), Asset: asset, Amount: value,
		}},
		Nonce: &nonce, FeePerGas: fee,
	}
	for i := range e.Envelope {
		e.Envelope[i], e.Content[i] = byte(c.random.Uint32()), byte(c.random.Uint32())
	}
	return e
}

// past returns the records of a million events over 31 days.
var past = sync.OnceValue(func() (bodies [][]byte) {
	c, l := newCrowd(), ledger.New(nil)
	for i := range million {
		at := start.Add(-ledger.Lookback + time.Duration(i+1)*(ledger.Lookback/(million+1)))
		body, err := l.Record(c.event(at), clock.Moment{Late: at})
		if err != nil {
			panic(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
})

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func replayed(b *testing.B, window time.Duration) (*ledger.Ledger, *machine) {
	m := newMachine()
	l := ledger.New(m.watch())
	l.Retain(window)
	for _, body := range past() {
		if err := l.Replay(body); err != nil {
			b.Fatal(err)
		}
	}
	return l, m
}

// BenchmarkReplayMillion is how long a restart takes, and what it costs, where
// rules look back 31 days, and where they look back one.
func BenchmarkReplayMillion(b *testing.B) {
	past()
	before := heap()
	for _, window := range []time.Duration{ledger.Lookback, ledger.LeastRetention} {
		b.Run(window.String(), func(b *testing.B) {
			for b.Loop() {
				l, _ := replayed(b, window)
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
				b.ReportMetric(float64(len(past()[million/2])), "B/record")

				runtime.KeepAlive(l)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSumAmongMillion asks for one sum while events come in: of users and
// wallets by turns, within a day and 31 days.
func BenchmarkSumAmongMillion(b *testing.B) {
	past()
	before := heap()
	l, m := replayed(b, ledger.Lookback)
	c := newCrowd()
	one := func(i int) {
		m.pass(time.Second)
		e := c.event(m.wall)
		v := l.View(e, m.read())
		scope, id := ledger.ScopeUser, e.User
		if i%2 == 0 {
			scope, id = ledger.ScopeWallet, e.Wallet
		}
		window := ledger.Lookback
		if i%4 < 2 {
			window = 24 * time.Hour
		}
		if v.Sum(scope, id, e.Amounts[0].Asset, window).Sign() < 0 {
			b.Fatal("negative")
		}
	}
	for i := range warm {
		one(i)
	}
	for i := 0; b.Loop(); i++ {
		one(i)
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
	runtime.KeepAlive(l)
}

// BenchmarkAllSignals asks everything that rules can ask, and folds the event.
func BenchmarkAllSignals(b *testing.B) {
	past()
	before := heap()
	l, m := replayed(b, ledger.Lookback)
	c := newCrowd()
	one := func() {
		m.pass(time.Second)
		e := c.event(m.wall)
		askAll(l.View(e, m.read()), e)
		body, err := l.Record(e, m.read())
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Replay(body); err != nil {
			b.Fatal(err)
		}
	}
	for range warm {
		one()
	}
	for b.Loop() {
		one()
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
	runtime.KeepAlive(l)
}

// askAll returns every answer there is about an event.
func askAll(v *ledger.View, e ledger.Event) (out []any) {
	const day = 24 * time.Hour
	for _, window := range []time.Duration{time.Hour, day, ledger.Lookback} {
		for scope, id := range map[string]string{
			ledger.ScopeUser: e.User, ledger.ScopeWallet: e.Wallet, ledger.ScopeAccount: e.Account, ledger.ScopeAsset: "",
		} {
			out = append(out, v.Count(scope, id, "", window))
			for _, a := range e.Amounts {
				out = append(out, v.Sum(scope, id, a.Asset, window), v.Count(scope, id, a.Asset, window))
			}
		}
		out = append(out, v.Duplicates(window))
		for _, move := range e.Moves {
			out = append(out, v.Sum(ledger.ScopeDestination, move.Account, move.Asset, window),
				v.Count(ledger.ScopeDestination, move.Account, "", window))
		}
	}
	for _, move := range e.Moves {
		known, ok := v.Lookalike(move.Account)
		out = append(out, v.FirstUse(move.Account), known, ok)
	}
	for _, a := range e.Amounts {
		out = append(out, v.Habit(ledger.ScopeUser, a.Asset, a.Amount), v.Habit(ledger.ScopeWallet, a.Asset, a.Amount))
	}
	return append(out, v.Nonce())
}
