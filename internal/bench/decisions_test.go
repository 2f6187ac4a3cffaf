package main

import (
	"math"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/policy/trial"
)

// short is a past of 20 wallets, each with as many approvals as in the long one.
const short = 20 * perWallet

// TestDecisions: the large document compiles, lets the benchmark's payments
// through on a short past, and is measured.
func TestDecisions(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	d, err := decide(t.Context(), compared{history: short})
	if err != nil {
		t.Fatal(err)
	}
	if d.Rules != 200 || d.Listed != 100_000 || d.PerSecond <= 0 || d.P99 < d.P50 {
		t.Fatalf("measured %+v", d)
	}
	t.Logf("%+v", *d)
}

// world is what decisions are measured on.
type world struct {
	doc    *document.Document
	active *document.Active
	inputs []judge.Input
	past   *approved
}

func newWorld(t *testing.T) *world {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	doc, file, err := policies.Large(now.AddDate(1, 0, 0), 10)
	if err != nil {
		t.Fatal(err)
	}
	sandbox, err := trial.NewSandbox(doc, map[string]*document.ListFile{file.SHA256(): file})
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := requests(t.Context(), sandbox, wallets(short), now)
	if err != nil {
		t.Fatal(err)
	}
	past, err := newApproved(doc, inputs, short)
	if err != nil {
		t.Fatal(err)
	}
	return &world{doc, sandbox.Active, inputs, past}
}

// view is the past of a request as it is asked.
func (w *world) view(t *testing.T, l *ledger.Ledger, in judge.Input) (ledger.Event, *ledger.View) {
	t.Helper()
	e, err := ledger.EventOf(in.Meaning, in.Envelope, in.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	return e, l.View(e, clock.Moment{Wall: in.Now, Sure: in.Now, Late: in.Now})
}

// question is what a rule of the large document asks of history.
var question = regexp.MustCompile(`history\.(sum|count)\("(\w+)"(?:, asset\("(\w+)"\))?, duration\("(\w+)"\)\)`)

// TestPastOfDecisions: whatever the rules ask of the past finds as much of it as
// the windows hold when a wallet has 1000 approvals in 30 days.
func TestPastOfDecisions(t *testing.T) {
	w, l := newWorld(t), ledger.New(&clock.Watch{Now: time.Now})
	if err := w.past.each(l.Replay); err != nil {
		t.Fatal(err)
	}
	for _, in := range []judge.Input{w.inputs[0], w.inputs[7], w.inputs[19], w.inputs[999]} {
		e, v := w.view(t, l, in)
		ids := map[string]string{"user": e.User, "wallet": e.Wallet, "account": e.Account}
		rates := map[string]float64{"user": short, "wallet": perWallet, "account": perWallet} // in 30 days
		asks := 0
		for _, rule := range w.doc.Rules.Fraud {
			for _, q := range question.FindAllStringSubmatch(rule.When, -1) {
				asks++
				window, err := time.ParseDuration(q[4])
				if err != nil {
					t.Fatal(err)
				}
				foreseen, asset := rates[q[2]]*float64(window)/float64(span), w.asset(q[3])
				if strings.HasPrefix(q[3], "token") {
					foreseen /= float64(len(w.doc.Assets))
				}
				got := v.Count(q[2], ids[q[2]], asset, window)
				if got == 0 || math.Abs(float64(got)-foreseen) > 1 {
					t.Errorf("%s: %s counts %d approvals, want %.1f", rule.ID, q[0], got, foreseen)
				}
				if q[1] == "sum" && v.Sum(q[2], ids[q[2]], asset, window).Cmp(w.least(q[3], got)) < 0 {
					t.Errorf("%s: %s is less than %d approvals move", rule.ID, q[0], got)
				}
			}
		}
		if asks != 60 {
			t.Fatalf("rules ask %d times of the past, want 20 times for three sorts of them", asks)
		}
	}
}

func (w *world) asset(id string) string {
	for _, a := range w.doc.Assets {
		if a.ID == id {
			return a.Asset
		}
	}
	return ""
}

// least is what so many approvals put at risk at least: ether of the fee, tokens
// of one unit.
func (w *world) least(asset string, count int) *big.Int {
	n := big.NewInt(int64(count))
	if asset == "eth" {
		return n.Mul(n, w.past.fee)
	}
	return n
}

// TestHabitOfDecisions: wallets have a habit, which all but every tenth request
// keeps to with a receiver that the wallet knows; those are looked into.
func TestHabitOfDecisions(t *testing.T) {
	w, l, j := newWorld(t), ledger.New(&clock.Watch{Now: time.Now}), judge.New(message.RoleFraud, &clock.Watch{Now: time.Now})
	for _, replay := range []func([]byte) error{l.Replay, j.Replay} {
		if err := w.past.each(replay); err != nil {
			t.Fatal(err)
		}
	}
	ofEther := perWallet / len(w.doc.Assets) // each asset is paid in turn
	for i, in := range w.inputs[:100] {
		isStrange := i%10 == 9
		e, v := w.view(t, l, in)
		if h := v.Habit("wallet", w.asset("eth"), e.Amounts[0].Amount); h.Count != ofEther || (h.Z > 12) != isStrange {
			t.Errorf("request %d: the habit is %+v", i, h)
		}
		if v.FirstUse(e.Moves[0].Account) != isStrange {
			t.Errorf("request %d: the wallet knows %s: %v", i, e.Moves[0].Account, isStrange)
		}
		out, _, err := j.Judge(t.Context(), w.active, in)
		if err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, r := range out.Reasons {
			codes = append(codes, r.Code)
		}
		want := []string{judge.CodeAllows}
		if isStrange {
			want = append(want, rules.CodeUnusual, rules.CodeLookalike)
		}
		if !slices.Equal(codes, want) {
			t.Errorf("request %d: reasons %v, want %v", i, codes, want)
		}
	}
}

// TestTreasuryOfBenchmark: the template is still the one that the benchmark
// knows how to change, and compiles when it is changed.
func TestTreasuryOfBenchmark(t *testing.T) {
	template, err := os.ReadFile(filepath.Join("..", "..", treasury, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	simple := &document.Document{Deployment: "00", Expires: document.At(time.Now()), Users: []document.User{{ID: "alice"}}}
	raw, err := policies.Treasury(template, simple, 7, receiver)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sanctions, err := os.ReadFile(filepath.Join("..", "..", treasury, "sanctions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := document.ReadList(sanctions)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"authorization", "fraud", "approval"} {
		if _, err := rules.Compile(doc, role, document.Lists{file.SHA256(): file}); err != nil {
			t.Error(err)
		}
	}
}
