package fraud_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/ruled"
	"github.com/countersign/countersign/policy/rules"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	token     = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
	recipient = "0x00000000000000000000000000000000000000aa"
	most      = "115792089237316195423570985008687907853269984665640564039457584007913129639935"
)

// chain is a role's records as all replicas see them.
type chain struct {
	mu      sync.Mutex
	records [][]byte
}

// from returns the records behind those that somebody has.
func (c *chain) from(n int) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records[n:]
}

// append appends behind n records, if there are no more.
func (c *chain) append(n int, records [][]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.records) != n {
		return false
	}
	c.records = append(c.records, records...)
	return true
}

// replica is one process of the role, with the clocks of its machine.
type replica struct {
	chain   *chain
	mu      sync.Mutex
	decider *ruled.Decider
	folded  int
	undone  int
	wall    time.Time
	passed  time.Duration // on the clock that nobody sets
	steady  bool          // passed is set by the test, and not by the wall clock
}

func (c *chain) replica() *replica { return c.replicaAt(start, 0) }

// replicaAt starts a process while its wall clock says so.
func (c *chain) replicaAt(wall time.Time, passed time.Duration) *replica {
	r := &replica{chain: c, wall: wall, passed: passed}
	r.decider = fraud.New(&clock.Watch{
		Now:     func() time.Time { return r.wall },
		Elapsed: func() time.Duration { return r.passed },
	})
	return r
}

// set says what the wall clock says after so much time has passed.
func (r *replica) set(passed time.Duration, wall time.Time) time.Time {
	r.steady, r.passed, r.wall = true, passed, wall
	return wall
}

// tick has the clocks go on to the time of a request.
func (r *replica) tick(now time.Time) {
	r.wall = now
	if !r.steady {
		r.passed = max(r.passed, now.Sub(start))
	}
}

// decide does what the runtime does: decide and fold, append if no other
// replica was first, and else take back, catch up and begin again.
func (r *replica) decide(t testing.TB, q policy.Request) policy.Decision {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		r.decider.Mark()
		d := r.try(t, q)
		runtime.Gosched() // so that the other replica is quicker now and then
		if r.chain.append(r.folded, d.Records) {
			r.decider.Keep()
			r.folded += len(d.Records)
			return d
		}
		r.decider.Undo()
		r.undone++
		for _, body := range r.chain.from(r.folded) {
			r.replay(t, body)
			r.folded++
		}
	}
}

// try decides and folds.
func (r *replica) try(t testing.TB, q policy.Request) policy.Decision {
	t.Helper()
	r.tick(q.Now)
	d, err := r.decider.Decide(context.Background(), q)
	if err != nil {
		t.Error(err)
	}
	for _, body := range d.Records {
		r.replay(t, body)
	}
	return d
}

func (r *replica) replay(t testing.TB, body []byte) {
	t.Helper()
	if err := r.decider.Replay(body); err != nil {
		t.Error(err)
	}
}

// world makes requests of one deployment.
type world struct {
	t       testing.TB
	d       *deploymenttest.Deployment
	records *deploymenttest.Records
	wallet  string
	account string
	address string // CAIP-10
	active  *document.Active
	*replica
}

func newWorld(t testing.TB, edit func(*document.Document)) *world {
	t.Helper()
	w := &world{t: t, d: deploymenttest.New(t), replica: new(chain).replica()}
	w.records = w.d.Records()
	w.wallet = w.records.AddWallet(deploymenttest.User)
	w.account, w.address = w.records.AddAccount(w.wallet, deploymenttest.User)
	w.active = w.d.Active(edit)
	return w
}

// limits replaces the fraud limits: asset, per transaction, per 24 hours.
func limits(rows ...[3]string) func(*document.Document) {
	return func(doc *document.Document) {
		deploymenttest.NoLimits(doc)
		for _, r := range rows {
			deploymenttest.Limit(doc, r[0], r[1], r[2])
		}
	}
}

// The rules that deny, as want names them.
const (
	onceEther  = deploymenttest.RuleOnce + "ether"
	onceToken  = deploymenttest.RuleOnce + "token"
	dailyEther = deploymenttest.RuleDaily + "ether"
	dailyToken = deploymenttest.RuleDaily + "token"
)

// request is one ethereum.transaction at a time.
func (w *world) request(p deploymenttest.Transfer, at time.Time) policy.Request {
	w.t.Helper()
	return w.kind(message.KindEthereumTransaction, w.wallet, w.account, p.Payload(), at)
}

func (w *world) kind(kind message.Kind, wallet, account string, payload any, at time.Time) policy.Request {
	w.t.Helper()
	// Signed long before and good for long after, since the tests move clocks.
	statement := w.d.Statement(kind, wallet, account, payload, at.Add(365*day))
	env := w.d.Envelope(statement, w.d.UserKey, at.Add(-7*day))
	raw, err := message.Encode(env)
	if err != nil {
		w.t.Fatal(err)
	}
	return policy.Request{
		Envelope: env, EnvelopeHash: message.Sum(raw), Meaning: w.d.Interpret(w.records, env),
		Policy: w.active, Now: at,
	}
}

// bare is a request whose native value and fee together are an exact amount.
func (w *world) bare(amount int64, at time.Time) policy.Request {
	w.t.Helper()
	q := w.request(deploymenttest.Transfer{To: recipient, Value: "1"}, at)
	q.Meaning.Effects.Fee = new(big.Int)
	q.Meaning.Effects.Moves[0].Amount = big.NewInt(amount)
	return q
}

// want wants an approval, by the rule that allows what none denies, or a
// rejection by exactly these: the rules that deny, or the codes of other reasons.
func (w *world) want(d policy.Decision, by ...string) {
	w.t.Helper()
	if len(by) == 0 {
		if d.Verdict != policy.Approve || fmt.Sprint(why(d)) != fmt.Sprint([]string{judge.CodeAllows}) {
			w.t.Fatalf("got %+v, want an approval", d)
		}
		return
	}
	if d.Verdict != policy.Reject || fmt.Sprint(why(d)) != fmt.Sprint(by) || len(d.Records) != 0 {
		w.t.Fatalf("got %+v, want a rejection by %v", d, by)
	}
}

// why names the rules that deny, and the codes of other reasons.
func why(d policy.Decision) (out []string) {
	for _, r := range d.Reasons {
		if r.Code == rules.CodeDenies {
			rule, _, _ := strings.Cut(strings.TrimPrefix(r.Detail, "rule "), ":")
			r.Code = rule
		}
		out = append(out, r.Code)
	}
	return out
}

// call encodes a contract call by its selector, with 32-byte arguments.
func call(selector string, args ...string) string {
	out := "0x" + selector
	for _, a := range args {
		n, ok := new(big.Int).SetString(a, 0)
		if !ok {
			panic(a)
		}
		word := n.FillBytes(make([]byte, 32))
		out += hex.EncodeToString(word)
	}
	return out
}

const (
	transferSelector     = "a9059cbb"
	transferFromSelector = "23b872dd"
	approveSelector      = "095ea7b3"
)
