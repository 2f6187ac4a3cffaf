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
	// payers, places: from how many wallets and to how many receivers was paid.
	payers, places = 1000, 20_000
	// decided is for how long is decided; another tenth warms up.
	decided = 5 * time.Second
	// asked is how many different requests are decided on, again and again.
	asked = 1000
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
	inputs, err := requests(ctx, sandbox, now)
	if err != nil {
		return nil, err
	}
	j := judge.New(message.RoleFraud, &clock.Watch{Now: time.Now})
	before, begun := heap(), time.Now()
	if err := live(j, inputs[0], p.history, now); err != nil {
		return nil, fmt.Errorf("replaying %d approvals: %w", p.history, err)
	}
	d.Replay, d.Heap = time.Since(begun).Seconds(), heap()-before
	return d, d.measure(ctx, j, sandbox.Active, inputs)
}

// requests are payments from many wallets.
func requests(ctx context.Context, sandbox *trial.Sandbox, now time.Time) (out []judge.Input, err error) {
	user, _ := sandbox.Active.User(policies.Payer)
	for i := range asked {
		to := fmt.Sprintf("0x%040x", 0xabc000+i%100)
		f, err := sandbox.File(ctx, trial.Request{
			User: policies.Payer, Kind: message.KindEthereumTransaction,
			Wallet:      trial.Wallet{ID: fmt.Sprintf("wallet %d", i%payers), Owner: policies.Payer},
			Transaction: &trial.Transaction{To: to, Value: fmt.Sprint(1000 + i)},
		}, uint64(i), now)
		if err != nil {
			return nil, err
		}
		out = append(out, judge.Input{Meaning: f.Meaning, User: user, Envelope: f.Hash, Now: now})
	}
	return out, nil
}

// live has the judge take in a past like the request, of the last 30 days.
func live(j *judge.Judge, like judge.Input, count int, now time.Time) error {
	one, err := ledger.EventOf(like.Meaning, like.Envelope, like.User.ID)
	if err != nil {
		return err
	}
	writer := ledger.New(&clock.Watch{Now: time.Now})
	for i := range count {
		at := now.Add(-span + time.Duration(i)*span/time.Duration(count))
		body, err := writer.Record(approval(one, i, at), clock.Moment{Wall: at, Sure: at, Late: at})
		if err != nil {
			return err
		}
		if err := j.Replay(body); err != nil {
			return err
		}
	}
	return nil
}

// approval is an event of its own: another request, wallet and receiver.
func approval(one ledger.Event, i int, at time.Time) ledger.Event {
	e := one
	e.Envelope = message.Sum(fmt.Appendf(nil, "past %d", i))
	e.Wallet = message.Sum(fmt.Appendf(nil, "wallet %d", i%payers)).String()
	e.Account, e.Expires = e.Wallet, at.Add(time.Hour)
	nonce := uint64(i / payers)
	e.Nonce = &nonce
	e.Amounts = []exposure.Amount{{Asset: one.Amounts[0].Asset, Amount: big.NewInt(int64(21e12) + int64(i))}}
	e.Moves = []ledger.Movement{{
		Account: fmt.Sprintf("eip155:1:0x%040x", 0xdef00000+i%places), Asset: one.Moves[0].Asset, Amount: big.NewInt(int64(i + 1)),
	}}
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
