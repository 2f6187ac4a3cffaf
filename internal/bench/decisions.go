package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/policy/trial"
)

const (
	// listed is how many accounts the large document's list has.
	listed = 100_000
	// perWallet is how many approvals each wallet has in the past, and receivers to
	// how many receivers of its own it paid.
	perWallet, receivers = 1000, 20
	// decided is for how long is decided; another tenth warms up.
	decided = 5 * time.Second
	// asked is how many different requests are decided on, again and again.
	asked = 1000
	// strange is how often one of them is to be looked into: it pays a hundred times
	// as much as usual, to what resembles a receiver.
	strange = 10
)

// decisions are how fast one core decides under a large document and on a long
// past.
type decisions struct {
	Rules     int     `json:"policy_rules"`
	Listed    int     `json:"policy_listed"`
	Past      int     `json:"policy_past"`
	PerSecond float64 `json:"policy_decisions_per_second"`
	P50       float64 `json:"policy_decision_p50_us"`
	P99       float64 `json:"policy_decision_p99_us"`
	Replay    float64 `json:"policy_replay_s"`
	Heap      float64 `json:"policy_heap_mib"`
}

// decide measures the fraud role's decisions in this process, on one goroutine.
// What a decision needs beside the rules (whose request it is, what it means) is
// not in it.
func decide(ctx context.Context, p compared) (*decisions, error) {
	now := time.Now().Truncate(time.Second)
	doc, file, err := policies.Large(now.AddDate(1, 0, 0), listed)
	if err != nil {
		return nil, err
	}
	sandbox, err := trial.NewSandbox(doc, map[string]*document.ListFile{file.SHA256(): file})
	if err != nil {
		return nil, err
	}
	d := &decisions{Rules: len(doc.Rules.Fraud), Listed: listed, Past: p.history}
	inputs, err := requests(ctx, sandbox, wallets(p.history), now)
	if err != nil {
		return nil, err
	}
	past, err := newApproved(doc, inputs, p.history)
	if err != nil {
		return nil, err
	}
	j := judge.New(message.RoleFraud, &clock.Watch{Now: time.Now})
	before, begun := heap(), time.Now()
	if err := past.each(j.Replay); err != nil {
		return nil, fmt.Errorf("replaying %d approvals: %w", p.history, err)
	}
	d.Replay, d.Heap = time.Since(begun).Seconds(), heap()-before
	return d, d.measure(ctx, j, sandbox.Active, inputs)
}

// wallets is of how many wallets a past of so many approvals is: no more than ask.
func wallets(history int) int { return min(max(1, history/perWallet), asked) }

// usual is what payments move in wei: up to twice as much.
const usual = 1_000_000_000_000_000

// requests are payments from so many wallets, by turns, each to a receiver that
// the wallet has paid before, but for the strange ones.
func requests(ctx context.Context, sandbox *trial.Sandbox, payers int, now time.Time) (out []judge.Input, err error) {
	user, _ := sandbox.Active.User(policies.Payer)
	for i := range asked {
		to, value := policies.Receiver(i%payers+i%receivers*payers), int64(usual+i)
		if i%strange == strange-1 {
			to, value = policies.Alike(i%payers), value*100
		}
		f, err := sandbox.File(ctx, trial.Request{
			User: policies.Payer, Kind: message.KindEthereumTransaction,
			Wallet:      trial.Wallet{ID: fmt.Sprintf("wallet %d", i%payers), Owner: policies.Payer},
			Transaction: &trial.Transaction{To: to, Value: fmt.Sprint(value)},
		}, perWallet+uint64(i), now)
		if err != nil {
			return nil, err
		}
		out = append(out, judge.Input{Meaning: f.Meaning, User: user, Envelope: f.Hash, Now: now})
	}
	return out, nil
}

// approved is a past: approvals for the wallets of requests by turns, evenly
// spread over the span that ends with the requests. Every twentieth of a wallet
// moves ether alone, every other one a token besides the fee.
type approved struct {
	count  int
	until  time.Time
	fee    *big.Int
	assets []string       // ether first
	like   []ledger.Event // a request of each wallet
}

func newApproved(doc *document.Document, inputs []judge.Input, count int) (*approved, error) {
	a := &approved{count: count, until: inputs[0].Now, fee: inputs[0].Meaning.Effects.Fee}
	for _, asset := range doc.Assets {
		a.assets = append(a.assets, asset.Asset)
	}
	for _, in := range inputs[:wallets(count)] {
		e, err := ledger.EventOf(in.Meaning, in.Envelope, in.User.ID)
		if err != nil {
			return nil, err
		}
		a.like = append(a.like, e)
	}
	return a, nil
}

// each makes the records of the past, the oldest first.
func (a *approved) each(do func(body []byte) error) error {
	writer := ledger.New(&clock.Watch{Now: time.Now})
	apart := span / time.Duration(a.count)
	for i := range a.count {
		at := a.until.Add(-apart * time.Duration(a.count-i))
		body, err := writer.Record(a.event(i, at), clock.Moment{Wall: at, Sure: at, Late: at})
		if err != nil {
			return err
		}
		if err := do(body); err != nil {
			return err
		}
	}
	return nil
}

// event is an approval of its own, for a wallet and account that requests are of.
func (a *approved) event(i int, at time.Time) ledger.Event {
	wallet, turn := i%len(a.like), i/len(a.like)
	e, nonce, asset := a.like[wallet], uint64(turn), a.assets[(turn+wallet)%len(a.assets)]
	e.Envelope = message.Sum(fmt.Appendf(nil, "past %d", i))
	e.Content, e.Nonce, e.Expires = e.Envelope, &nonce, at.Add(time.Hour)
	amount := big.NewInt(usual + int64(turn)*(usual/perWallet)%usual)
	e.Moves = []ledger.Movement{{
		Account: policies.Chain + ":" + policies.Receiver(wallet+turn%receivers*len(a.like)), Asset: asset, Amount: amount,
	}}
	e.Amounts = []exposure.Amount{{Asset: a.assets[0], Amount: new(big.Int).Add(a.fee, amount)}}
	if asset != a.assets[0] {
		e.Amounts = []exposure.Amount{{Asset: asset, Amount: big.NewInt(int64(turn + 1))}, {Asset: a.assets[0], Amount: a.fee}}
		e.Moves[0].Amount = e.Amounts[0].Amount
	}
	return e
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

var errDenied = errors.New("the benchmark's own document denies its payments")

func (d *decisions) measure(ctx context.Context, j *judge.Judge, active *document.Active, inputs []judge.Input) error {
	var took []time.Duration
	for begun := time.Now(); time.Since(begun) < decided+decided/10; {
		in := inputs[len(took)%len(inputs)]
		start := time.Now()
		out, _, err := j.Judge(ctx, active, in)
		took = append(took, time.Since(start))
		if err != nil {
			return err
		}
		if out.Verdict != rules.Allow {
			return fmt.Errorf("%w: %v", errDenied, out.Reasons)
		}
	}
	counted := took[len(took)/11:]
	var sum time.Duration
	for _, one := range counted {
		sum += one
	}
	d.PerSecond = float64(len(counted)) / sum.Seconds()
	d.P50, d.P99 = microseconds(percentile(counted, 50)), microseconds(percentile(counted, 99))
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (d *decisions) print() {
	fmt.Printf("                %d rules, a list of %d, %d approvals in the past: %.0f decisions per second and core, median %.1f us, p99 %.1f us\n",
		d.Rules, d.Listed, d.Past, d.PerSecond, d.P50, d.P99)
	fmt.Printf("                the past was replayed in %.1f s and takes %.0f MiB\n", d.Replay, d.Heap)
}
