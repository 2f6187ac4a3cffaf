package ledger_test

import (
	"bytes"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/ledger"
)

var recordTime = regexp.MustCompile(`"time":"([^"]+)"`)

// timeOf is the time on a record.
func timeOf(t *testing.T, body []byte) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, string(recordTime.FindSubmatch(body)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// transfer is an event with everything that an event can have.
func transfer(n int) ledger.Event {
	nonce := uint64(n)
	return ledger.Event{
		Envelope: message.Sum(fmt.Append(nil, "transfer", n)), Kind: message.KindEthereumTransaction,
		User: "ann", Wallet: "w", Account: "a", Expires: start.Add(time.Hour), Chain: "eip155:1", Nonce: &nonce,
		FeePerGas: big.NewInt(30), Content: message.Sum([]byte("content")),
		Amounts: []exposure.Amount{{Asset: "eip155:1/slip44:60", Amount: big.NewInt(7)}},
		Moves: []ledger.Movement{
			{Account: destination(1, 1), Asset: "eip155:1/slip44:60", Amount: big.NewInt(5)}, {Account: destination(1, 2)},
		},
	}
}

func record(t testing.TB, e ledger.Event, at time.Time) []byte {
	t.Helper()
	body, err := ledger.New(nil).Record(e, clock.Moment{Late: at})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestRecordFormat holds the format still.
func TestRecordFormat(t *testing.T) {
	e := transfer(4)
	e.Envelope, e.Content = message.Hash{1}, message.Hash{2}
	const want = `{"version":2,"envelope":"0100000000000000000000000000000000000000000000000000000000000000",` +
		`"kind":"ethereum.transaction","user":"ann","wallet":"w","account":"a","time":"2026-11-21T12:00:00Z","expires":"2026-11-21T13:00:00Z",` +
		`"amounts":[{"asset":"eip155:1/slip44:60","amount":"7"}],"movements":[{"account":"%s","asset":"eip155:1/slip44:60","amount":"5"},` +
		`{"account":"%s"}],"chain":"eip155:1","nonce":"4","fee":"30","content":"AgAAAAAAAAAAAAAAAAAAAA"}`
	if got := string(record(t, e, start)); got != fmt.Sprintf(want, destination(1, 1), destination(1, 2)) {
		t.Fatalf("got %s", got)
	}
	least := ledger.Event{Envelope: e.Envelope, Kind: message.KindWalletCreate, Expires: e.Expires}
	const short = `{"version":2,"envelope":"0100000000000000000000000000000000000000000000000000000000000000",` +
		`"kind":"wallet.create","time":"2026-11-21T12:00:00Z","expires":"2026-11-21T13:00:00Z"}`
	if got := record(t, least, start); string(got) != short {
		t.Fatalf("got %s", got)
	}
	if err := ledger.New(nil).Replay([]byte(short)); err != nil {
		t.Fatal(err)
	}
}

// TestReplayOfVersion1: what fraud wrote before counts for the wallet.
func TestReplayOfVersion1(t *testing.T) {
	m := newMachine()
	l := ledger.New(m.watch())
	v1 := fmt.Sprintf(`{"version":1,"envelope":%q,"wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[{"asset":"a","amount":"7"}]}`, message.Hash{9})
	for range 2 {
		if err := l.Replay([]byte(v1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Replay([]byte(strings.Replace(strings.Replace(v1, "09", "08", 1), `[{"asset":"a","amount":"7"}]`, "[]", 1))); err != nil {
		t.Fatal(err)
	}
	ask := func(e ledger.Event) string {
		v := l.View(e, m.read())
		return fmt.Sprint(v.Sum(ledger.ScopeWallet, "w", "a", day), v.Count(ledger.ScopeWallet, "w", "", day))
	}
	if got := ask(ledger.Event{}); got != "7 2" {
		t.Errorf("got %s", got)
	}
	if h := l.View(ledger.Event{Wallet: "w"}, m.read()).Habit(ledger.ScopeWallet, "a", big.NewInt(7)); h.Count != 0 {
		t.Errorf("an amount of which nobody knows how much is the fee makes a habit: %+v", h)
	}
	if got := ask(ledger.Event{Envelope: message.Hash{9}}); got != "0 1" {
		t.Errorf("its own envelope is told %s", got)
	}
	m.pass(day)
	if got := ask(ledger.Event{}); got != "0 0" {
		t.Errorf("a day later: got %s", got)
	}
}

func TestReplayRefuses(t *testing.T) {
	good := string(record(t, transfer(1), start))
	change := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, with, 1)
	}
	v1 := `{"version":1,"envelope":"` + message.Hash{1}.String() + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[]}`
	for name, body := range map[string]string{
		"fail/empty":            ``,
		"fail/not-json":         `{`,
		"fail/trailing":         good + " ",
		"fail/not-canonical":    change(`,"kind"`, `, "kind"`),
		"fail/unknown":          change(`,"kind"`, `,"x":1,"kind"`),
		"fail/order":            `{"envelope":"` + message.Hash{1}.String() + `","version":1,"wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[]}`,
		"fail/escaped":          change(`"ann"`, `"\u0061nn"`),
		"fail/version":          change(`"version":2`, `"version":3`),
		"fail/version-1":        change(`"version":2`, `"version":1`),
		"fail/no-envelope":      change(transfer(1).Envelope.String(), message.Hash{}.String()),
		"fail/upper-case":       change(transfer(1).Envelope.String()[:63], strings.Repeat("A", 63)),
		"fail/no-kind":          change(`"kind":"ethereum.transaction",`, ``),
		"fail/no-time":          change(`"time":"2026-11-21T12:00:00Z",`, ``),
		"fail/time-zone":        change(`"2026-11-21T12:00:00Z"`, `"2026-11-21T12:00:00+00:00"`),
		"fail/day":              change(`"2026-11-21T12:00:00Z"`, `"2026-02-30T12:00:00Z"`),
		"fail/no-expires":       change(`"expires":"2026-11-21T13:00:00Z",`, ``),
		"fail/negative":         change(`"amount":"7"`, `"amount":"-7"`),
		"fail/leading-zero":     change(`"amount":"7"`, `"amount":"07"`),
		"fail/empty-amount":     change(`"amount":"7"`, `"amount":""`),
		"fail/long-amount":      change(`"amount":"7"`, `"amount":"`+strings.Repeat("7", 101)+`"`),
		"fail/no-asset":         change(`"asset":"eip155:1/slip44:60","amount":"7"`, `"asset":"","amount":"7"`),
		"fail/asset-twice":      change(`[{"asset"`, `[{"asset":"eip155:1/slip44:60","amount":"7"},{"asset"`),
		"fail/move-to-nobody":   change(`"account":"`+destination(1, 2)+`"`, `"account":""`),
		"fail/move-of-nothing":  change(`,"asset":"eip155:1/slip44:60","amount":"5"`, `,"amount":"5"`),
		"fail/move-of-no-sum":   change(`,"amount":"5"`, ``),
		"fail/nonce":            change(`"nonce":"1"`, `"nonce":"18446744073709551616"`),
		"fail/nonce-missing":    change(`"nonce":"1",`, ``),
		"fail/fee":              change(`"fee":"30"`, `"fee":"0x1e"`),
		"fail/content-missing":  change(`,"content":"`+good[strings.Index(good, `"content":"`)+11:strings.LastIndex(good, `"}`)]+`"`, ``),
		"fail/content-short":    change(`"content":"`, `"content":"AAAA`),
		"fail/v1/no-wallet":     strings.Replace(v1, `"wallet":"w"`, `"wallet":""`, 1),
		"fail/v1/no-amounts":    strings.Replace(v1, `,"amounts":[]`, ``, 1),
		"fail/v1/with-user":     strings.Replace(v1, `"wallet"`, `"user":"u","wallet"`, 1),
		"fail/v1/negative":      strings.Replace(v1, `[]`, `[{"asset":"a","amount":"-1"}]`, 1),
		"fail/v1/not-canonical": " " + v1,
	} {
		t.Run(name, func(t *testing.T) {
			if err := ledger.New(nil).Replay([]byte(body)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	for _, body := range []string{good, v1} {
		if err := ledger.New(nil).Replay([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordRefuses: what could not be replayed is not written.
func TestRecordRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*ledger.Event){
		"fail/no-envelope":     func(e *ledger.Event) { e.Envelope = message.Hash{} },
		"fail/no-kind":         func(e *ledger.Event) { e.Kind = "" },
		"fail/no-expires":      func(e *ledger.Event) { e.Expires = time.Time{} },
		"fail/negative-amount": func(e *ledger.Event) { e.Amounts[0].Amount = big.NewInt(-1) },
		"fail/negative-move":   func(e *ledger.Event) { e.Moves[0].Amount = big.NewInt(-1) },
		"fail/no-destination":  func(e *ledger.Event) { e.Moves[0].Account = "" },
		"fail/asset-twice":     func(e *ledger.Event) { e.Amounts = append(e.Amounts, e.Amounts[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			e := transfer(1)
			spoil(&e)
			if _, err := ledger.New(nil).Record(e, clock.Moment{Late: start}); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

// FuzzReplay: no record breaks the fold, one that is accepted is accepted again
// after any other, and taking it back leaves nothing.
func FuzzReplay(f *testing.F) {
	good := record(f, transfer(1), start)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("2026"), []byte("9999"), 1))
	f.Add(bytes.Replace(good, []byte("2026"), []byte("0001"), 1))
	f.Add(bytes.Replace(good, []byte("ann"), []byte("änn"), 1))
	f.Add([]byte(`{"version":1,"envelope":"` + message.Hash{1}.String() + `","wallet":"w","time":"2026-11-21T12:00:00Z","amounts":[]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := newMachine()
		l := ledger.New(m.watch())
		empty := ask(l.View(transfer(2), m.read()), transfer(2), windows)
		l.Mark()
		for _, b := range [][]byte{good, body, good, body} {
			if err := l.Replay(b); err != nil && bytes.Equal(b, good) {
				t.Fatal(err)
			}
		}
		l.Undo()
		if got := ask(l.View(transfer(2), m.read()), transfer(2), windows); fmt.Sprint(got) != fmt.Sprint(empty) {
			t.Fatalf("got %v, want %v", got, empty)
		}
	})
}

// FuzzScan: what is read the fast way is read as message.Decode reads it.
func FuzzScan(f *testing.F) {
	good := record(f, transfer(1), start)
	for _, seed := range [][]byte{
		good, record(f, ledger.Event{Envelope: message.Hash{1}, Kind: "k", Expires: start}, start),
		bytes.Replace(good, []byte(`"ann"`), []byte(`""`), 1), bytes.Replace(good, []byte("ann"), []byte(`a\u006en`), 1),
		bytes.Replace(good, []byte("ann"), []byte("\xff"), 1), bytes.Replace(good, []byte("[{"), []byte("[],[{"), 1),
		bytes.Replace(good, []byte("2026"), []byte("0001"), 2), bytes.Replace(good, []byte(`"}]`), []byte(`"},]`), 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := ledger.ScanAsDecoded(body); err != nil {
			t.Fatal(err)
		}
	})
}

// TestScanTakesWhatIsUsual, or it would be of no use.
func TestScanTakesWhatIsUsual(t *testing.T) {
	for _, e := range []ledger.Event{transfer(1), {Envelope: message.Hash{1}, Kind: "k", Expires: start}} {
		if ok, err := ledger.ScanAsDecoded(record(t, e, start)); !ok || err != nil {
			t.Errorf("got %v, %v", ok, err)
		}
	}
}
