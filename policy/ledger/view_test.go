package ledger_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ledger"
)

// past approves events one after another, a minute apart, and returns a ledger
// that knows them.
func approved(t testing.TB, events ...ledger.Event) (*ledger.Ledger, *machine) {
	t.Helper()
	m := newMachine()
	l := ledger.New(m.watch())
	for _, e := range events {
		m.pass(time.Minute)
		body, err := l.Record(e, m.read())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Replay(body); err != nil {
			t.Fatal(err)
		}
	}
	return l, m
}

// TestNonce: which nonce is next, and what a nonce that was used means.
func TestNonce(t *testing.T) {
	with := func(n int, change func(*ledger.Event)) ledger.Event {
		e := transfer(n)
		if change != nil {
			change(&e)
		}
		return e
	}
	other := func(e *ledger.Event) { e.Envelope = message.Sum([]byte("other")) }
	dearer := func(e *ledger.Event) { other(e); e.FeePerGas = big.NewInt(31) }
	for name, c := range map[string]struct {
		past []ledger.Event
		e    ledger.Event
		want ledger.Nonce
	}{
		"first":             {nil, transfer(0), ledger.Nonce{}},
		"next":              {[]ledger.Event{transfer(4), transfer(3)}, transfer(5), ledger.Nonce{Known: true, Next: 5}},
		"gap":               {[]ledger.Event{transfer(4)}, transfer(9), ledger.Nonce{Known: true, Next: 5}},
		"same envelope":     {[]ledger.Event{transfer(3), transfer(4), transfer(4)}, transfer(4), ledger.Nonce{Known: true, Next: 4}},
		"reused":            {[]ledger.Event{transfer(4)}, with(4, other), ledger.Nonce{Known: true, Next: 5, Reused: true}},
		"replaces":          {[]ledger.Event{transfer(4)}, with(4, dearer), ledger.Nonce{Known: true, Next: 5, Reused: true, Replaces: true}},
		"other content":     {[]ledger.Event{transfer(4)}, with(4, func(e *ledger.Event) { dearer(e); e.Content = message.Hash{1} }), ledger.Nonce{Known: true, Next: 5, Reused: true}},
		"no fee":            {[]ledger.Event{transfer(4)}, with(4, func(e *ledger.Event) { dearer(e); e.FeePerGas = nil }), ledger.Nonce{Known: true, Next: 5, Reused: true}},
		"another account":   {[]ledger.Event{transfer(4)}, with(4, func(e *ledger.Event) { dearer(e); e.Account = "b" }), ledger.Nonce{}},
		"no nonce":          {[]ledger.Event{transfer(4)}, with(4, func(e *ledger.Event) { e.Nonce, e.Envelope = nil, message.Hash{1} }), ledger.Nonce{Known: true, Next: 5}},
		"the highest there": {[]ledger.Event{with(0, func(e *ledger.Event) { *e.Nonce = math.MaxUint64 })}, transfer(1), ledger.Nonce{Known: true, Next: math.MaxUint64}},
		"not the dearest": {
			[]ledger.Event{transfer(4), with(4, func(e *ledger.Event) { e.Envelope, e.FeePerGas = message.Hash{1}, big.NewInt(40) })},
			with(4, dearer), ledger.Nonce{Known: true, Next: 5, Reused: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, m := approved(t, c.past...)
			if got := l.View(c.e, m.read()).Nonce(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			m.pass(ledger.Lookback)
			c.want.Reused, c.want.Replaces = false, false
			if got := l.View(c.e, m.read()).Nonce(); got != c.want {
				t.Errorf("after 31 days: got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestAttackLookalike: an address that was made to be taken for one that is
// known.
func TestAttackLookalike(t *testing.T) {
	const zeros = "00000000000000000000000000000000"
	const some = "0000000000000000000000000000000"
	to := func(account, wallet string) ledger.Event {
		e := transfer(0)
		e.Wallet, e.Moves = wallet, []ledger.Movement{{Account: account}}
		e.Envelope = message.Sum([]byte(account + wallet))
		return e
	}
	const known, others = "eip155:1:0xabcd" + zeros + "4321", "eip155:1:0xabcd" + "1" + some + "4321"
	const poison = "eip155:1:0xabcd" + "2" + some + "4321"
	for name, c := range map[string]struct {
		past        []ledger.Event
		destination string
		want        string
	}{
		"poison":             {[]ledger.Event{to(known, "w")}, poison, known},
		"in upper case":      {[]ledger.Event{to(known, "w")}, "eip155:1:0xABCD" + "2" + some + "4321", known},
		"of another wallet":  {[]ledger.Event{to(known, "v")}, poison, known},
		"own wallet's first": {[]ledger.Event{to(known, "w"), to(others, "v")}, poison, known},
		"used itself":        {[]ledger.Event{to(known, "w")}, known, ""},
		"another chain":      {[]ledger.Event{to(known, "w")}, "eip155:5:0xabcd" + "2" + some + "4321", ""},
		"another beginning":  {[]ledger.Event{to(known, "w")}, "eip155:1:0xabce" + zeros + "4321", ""},
		"another end":        {[]ledger.Event{to(known, "w")}, "eip155:1:0xabcd" + zeros + "4322", ""},
		"no address":         {[]ledger.Event{to("bip122:x:bc1qabcd4321", "w")}, "bip122:x:bc1qabce4321", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, m := approved(t, c.past...)
			m.pass(100 * ledger.Lookback) // for ever
			got, ok := l.View(to(c.destination, "w"), m.read()).Lookalike(c.destination)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, c.want)
			}
		})
	}
}

// TestFirstUse: for ever, of a wallet, and not by the request itself.
func TestFirstUse(t *testing.T) {
	l, m := approved(t, transfer(1))
	m.pass(100 * ledger.Lookback)
	for n := range 9000 { // so that the old event is dropped
		e := transfer(0)
		e.Envelope, e.Nonce, e.Moves = message.Sum(fmt.Append(nil, n)), nil, nil
		e.Expires = m.wall.Add(time.Hour)
		body, err := l.Record(e, m.read())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Replay(body); err != nil {
			t.Fatal(err)
		}
	}
	another := transfer(2)
	another.Wallet = "v"
	for name, c := range map[string]struct {
		e    ledger.Event
		to   string
		want bool
	}{
		"used":           {transfer(2), destination(1, 1), false},
		"called":         {transfer(2), destination(1, 2), false},
		"other wallet":   {another, destination(1, 1), true},
		"never heard of": {transfer(2), destination(1, 3), true},
	} {
		if got := l.View(c.e, m.read()).FirstUse(c.to); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	l, m = approved(t, transfer(1))
	if !l.View(transfer(1), m.read()).FirstUse(destination(1, 1)) {
		t.Error("its own earlier approval makes a destination known to a request")
	}
}

// TestHabit: what is usual, and how far from it an amount is.
func TestHabit(t *testing.T) {
	pay := func(n int, amount int64) ledger.Event {
		e := transfer(n)
		e.Amounts[0].Amount, e.Moves[0].Amount = big.NewInt(amount+1<<50), big.NewInt(amount) // with a fee
		return e
	}
	shared := func(n int, amounts ...int64) ledger.Event {
		e := pay(n, 0)
		for i, a := range amounts {
			e.Moves = append(e.Moves, ledger.Movement{Account: destination(1, i), Asset: "eip155:1/slip44:60", Amount: big.NewInt(a)})
		}
		return e
	}
	token := func(n int) ledger.Event {
		e := pay(n, 1<<30)
		e.Moves[0].Asset = "eip155:1/erc20:0x"
		return e
	}
	many := func(amounts ...int64) (out []ledger.Event) {
		for i, a := range amounts {
			out = append(out, pay(i, a))
		}
		return out
	}
	var long []int64
	for i := range 128 + 50 {
		long = append(long, 1<<40)
		if i < 50 {
			long[i] = 1
		}
	}
	for name, c := range map[string]struct {
		past   []ledger.Event
		amount int64
		want   ledger.Habit
	}{
		"nothing":         {nil, 5, ledger.Habit{}},
		"all the same":    {many(8, 8, 8), 16, ledger.Habit{Count: 3, Median: 3, Z: 4, MedianAmount: big.NewInt(8)}},
		"as ever":         {many(8, 8, 8), 8, ledger.Habit{Count: 3, Median: 3, MedianAmount: big.NewInt(8)}},
		"spread":          {many(2, 4, 8, 16, 32), 8 << 3, ledger.Habit{Count: 5, Median: 3, MAD: 1, Z: 3 / 1.4826, MedianAmount: big.NewInt(8)}},
		"an even number":  {many(4, 8), 4, ledger.Habit{Count: 2, Median: 2.5, MAD: 0.5, Z: -0.5 / (1.4826 * 0.5), MedianAmount: big.NewInt(4)}},
		"one outlier":     {many(8, 8, 8, 8, 1<<60), 1 << 60, ledger.Habit{Count: 5, Median: 3, Z: 57 / 0.25, MedianAmount: big.NewInt(8)}},
		"nothing at all":  {many(0, 0), 0, ledger.Habit{}},
		"fees of tokens":  {[]ledger.Event{pay(1, 8), token(2), token(3), pay(4, 8)}, 16, ledger.Habit{Count: 2, Median: 3, Z: 4, MedianAmount: big.NewInt(8)}},
		"only fees":       {[]ledger.Event{token(2), token(3)}, 16, ledger.Habit{}},
		"several at once": {[]ledger.Event{shared(1, 2, 2, 4), shared(2, 8)}, 16, ledger.Habit{Count: 2, Median: 3, Z: 4, MedianAmount: big.NewInt(8)}},
		"only the latest": {many(long...), 1 << 40, ledger.Habit{Count: 128, Median: 40, MedianAmount: big.NewInt(1 << 40)}},
	} {
		t.Run(name, func(t *testing.T) {
			l, m := approved(t, c.past...)
			e := transfer(1000)
			for _, scope := range []string{ledger.ScopeUser, ledger.ScopeWallet} {
				got := l.View(e, m.read()).Habit(scope, "eip155:1/slip44:60", big.NewInt(c.amount))
				got.Z, c.want.Z = round(got.Z), round(c.want.Z)
				if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
					t.Errorf("%s: got %+v, want %+v", scope, got, c.want)
				}
			}
		})
	}
	// What is 2^256 is no surprise after 2^256.
	huge := transfer(1)
	huge.Moves[0].Amount = new(big.Int).Lsh(big.NewInt(1), 256)
	l, m := approved(t, huge)
	if h := l.View(transfer(2), m.read()).Habit(ledger.ScopeUser, "eip155:1/slip44:60", huge.Moves[0].Amount); h.Median != 256 || h.Z != 0 {
		t.Errorf("got %+v", h)
	}
}

// TestSumsDoNotOverflow: amounts of 256 bits, many of them.
func TestSumsDoNotOverflow(t *testing.T) {
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	var events []ledger.Event
	for n := range 100 {
		e := transfer(n)
		e.Amounts[0].Amount, e.Moves[0].Amount = most, most
		events = append(events, e)
	}
	l, m := approved(t, events...)
	want := new(big.Int).Mul(most, big.NewInt(100))
	v := l.View(transfer(1000), m.read())
	for scope, id := range map[string]string{"user": "ann", "wallet": "w", "account": "a", "asset": "", "destination": destination(1, 1)} {
		if got := v.Sum(scope, id, "eip155:1/slip44:60", day); got.Cmp(want) != 0 {
			t.Errorf("%s: got %v", scope, got)
		}
	}
}

// TestUnknownIsNothing: what the ledger has never heard of, and scopes that do
// not exist.
func TestUnknownIsNothing(t *testing.T) {
	l, m := approved(t, transfer(1))
	v := l.View(transfer(2), m.read())
	for _, scope := range []string{"", "planet", "user", "wallet", "account", "destination"} {
		if v.Sum(scope, "nobody", "eip155:1/slip44:60", day).Sign() != 0 || v.Count(scope, "nobody", "", day) != 0 {
			t.Errorf("scope %q knows nobody", scope)
		}
	}
	if v.Count("asset", "", "none", day) != 0 || v.Sum("asset", "", "none", day).Sign() != 0 || v.Count("user", "ann", "", -day) != 0 {
		t.Error("there is something of nothing")
	}
}
