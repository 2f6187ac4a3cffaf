package ledger_test

import (
	"fmt"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

// spread is an event of one user to a destination of its own.
func spread(n int, now time.Time) ledger.Event {
	nonce := uint64(n)
	return ledger.Event{
		Envelope: message.Sum(fmt.Append(nil, "spread", n)), Kind: message.KindEthereumTransaction, User: "u", Wallet: "w", Account: "a",
		Expires: now.Add(time.Minute), Nonce: &nonce, FeePerGas: big.NewInt(1),
		Amounts: []exposure.Amount{{Asset: "eth", Amount: big.NewInt(int64(n))}},
		Moves:   []ledger.Movement{{Account: destination(1, n), Asset: "eth", Amount: big.NewInt(int64(n))}},
	}
}

func grown(before uint64) int64 { return int64(heap()) - int64(before) }

// TestAttackManyDestinations: a user who never pays anybody twice costs so many
// bytes for each payment, and no more time for the last than for the first.
func TestAttackManyDestinations(t *testing.T) {
	const many = 20_000
	m := newMachine()
	before := heap()
	l := ledger.New(m.watch())
	for n := range many {
		m.pass(time.Second)
		e := spread(n, m.wall)
		v := l.View(e, m.read())
		if n%10 == 0 {
			askAll(v, e)
		}
		if !v.FirstUse(e.Moves[0].Account) || v.Duplicates(ledger.Lookback) != 0 || v.Count(ledger.ScopeUser, "u", "", ledger.Lookback) != n {
			t.Fatalf("event %d is not new", n)
		}
		body, err := l.Record(e, m.read())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Replay(body); err != nil {
			t.Fatal(err)
		}
	}
	if each := grown(before) / many; each > 400 {
		t.Errorf("%d bytes for each event", each)
	}
	runtime.KeepAlive(l)
}

// TestAttackManyWindows: whoever asks for ever other windows, of ever other
// destinations, does not fill memory.
func TestAttackManyWindows(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	const many = 3000
	for n := range many {
		m.pass(time.Second)
		if err := l.Replay(record(t, spread(n, m.wall), m.wall)); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	v := l.View(spread(many, m.wall), m.read())
	for n := range 100_000 {
		window := time.Duration(1+n) * time.Second
		v.Sum(ledger.ScopeDestination, destination(1, n%many), "eth", window)
		if n%30 == 0 {
			want := min(n+1, many)
			if got := v.Count(ledger.ScopeUser, "u", "", window); got != want {
				t.Fatalf("%d within %v, want %d", got, window, want)
			}
		}
	}
	if more := grown(before); more > 64<<20 {
		t.Errorf("%d MiB more", more>>20)
	}
	runtime.KeepAlive(l)
}

// TestAttackOneNonce: a thousand approvals of one nonce are gone through once
// and for all; what is beyond that is no replacement.
func TestAttackOneNonce(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	event := func(n int) ledger.Event {
		e := spread(n, m.wall)
		*e.Nonce, e.FeePerGas = 0, big.NewInt(int64(n))
		return e
	}
	for n := range 1000 {
		if n == 100 && !l.View(event(n), m.read()).Nonce().Replaces {
			t.Error("a hundred fees, and no higher one")
		}
		if err := l.Replay(record(t, event(n), m.wall)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.View(event(1000), m.read()).Nonce(); got != (ledger.Nonce{Known: true, Next: 1, Reused: true}) {
		t.Errorf("got %+v", got)
	}
}

// TestTimesToAndFro: where times in the chain of records go back more often than
// is provided for, events count for longer, never for less.
func TestTimesToAndFro(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	for n := range 20 {
		if err := l.Replay(record(t, spread(n, m.wall), start.Add(-time.Duration(n)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	v := l.View(spread(20, m.wall), m.read())
	for n := range 20 {
		if got := v.Count(ledger.ScopeUser, "u", "", time.Duration(n)*time.Hour+time.Second); got < n+1 {
			t.Errorf("%d within %d hours", got, n)
		}
	}
	if got := v.Count(ledger.ScopeUser, "u", "", day); got != 20 {
		t.Errorf("%d within a day", got)
	}
}

// TestManyEventsOfFew: where two or three users make millions of requests, each
// time one asks the others' are not forgotten.
func TestManyEventsOfFew(t *testing.T) {
	for _, events := range []int{1000, 1 << 20, 8 << 20} {
		for keys := 2; keys < 4; keys++ {
			if !ledger.Remembers(events, keys) {
				t.Errorf("%d events of %d users are gone through again", events, keys)
			}
		}
	}
}
