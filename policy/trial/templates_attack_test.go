package trial_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/trial"
)

// stranger is in no list of any template.
const stranger = "0x5555555555555555555555555555555555555555"

// history is the past of a template's deployment as it comes about: each role
// keeps what it approves itself, whatever the others say.
type history struct {
	t       *testing.T
	sandbox *trial.Sandbox
	bench   *trial.Bench
	who     trial.Request // the user and the wallet
	nonce   uint64
}

func newHistory(t *testing.T, dir, user, owner string, begin time.Time) *history {
	t.Helper()
	doc, files, _ := template(t, dir)
	s, err := trial.NewSandbox(doc, files)
	if err != nil {
		t.Fatal(err)
	}
	return &history{
		t: t, sandbox: s, bench: trial.NewBench(s.Active, begin),
		who: trial.Request{User: user, Wallet: trial.Wallet{Owner: owner}},
	}
}

// ask decides on a transaction and puts it on the record of each role that lets
// it pass. Nobody agrees to it, unless agreed says so.
func (h *history) ask(at time.Time, agreed bool, tx trial.Transaction) trial.Decision {
	h.t.Helper()
	r := h.who
	r.Kind, r.Transaction = message.KindEthereumTransaction, &tx
	f, err := h.sandbox.File(h.t.Context(), r, h.nonce, at)
	if err != nil {
		h.t.Fatal(err)
	}
	d, err := h.bench.Decide(h.t.Context(), f, at)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, role := range d.Roles {
		if role.Verdict != trial.Allow && (role.Verdict != trial.Ask || !agreed) {
			continue
		}
		if err := h.bench.Record(role.Role, f, d.User, at); err != nil {
			h.t.Fatal(err)
		}
	}
	if d.Verdict == trial.Allow || (d.Verdict == trial.Ask && agreed) {
		h.nonce++
	}
	return d
}

// pay is ask of a payment.
func (h *history) pay(at time.Time, agreed bool, to, amount string) trial.Decision {
	h.t.Helper()
	return h.ask(at, agreed, trial.Transaction{Pay: &trial.Payment{To: to, Amount: amount}})
}

// want says what is to come of a request.
func (h *history) want(what string, d trial.Decision, want trial.Verdict) {
	h.t.Helper()
	if d.Verdict != want {
		h.t.Errorf("%s: %s, want %s: %+v", what, d.Verdict, want, d.Roles)
	}
}

func at(month time.Month, day, hour int) time.Time {
	return time.Date(2027, month, day, hour, 0, 0, 0, time.UTC)
}

const (
	payrollDir  = "../../deploy/policies/payroll"
	treasuryDir = "../../deploy/policies/treasury"
	exchangeDir = "../../deploy/policies/exchange"
)

// newRun is a payroll of which people have opened the run of March.
func newRun(t *testing.T) *history {
	t.Helper()
	h := newHistory(t, payrollDir, "hana", "hugo", at(time.March, 24, 9))
	h.want("the first salary of March", h.pay(at(time.March, 24, 9), true, "ann", "6000 usdc"), trial.Ask)
	h.want("the second", h.pay(at(time.March, 24, 10), false, "bob", "6000 usdc"), trial.Allow)
	return h
}

// TestAttackKeepARunOpen: what other roles refuse between two runs does not keep
// the first one open, so that nobody would be asked to open the next.
func TestAttackKeepARunOpen(t *testing.T) {
	for name, tx := range map[string]trial.Transaction{
		"to-a-stranger":   {Pay: &trial.Payment{To: stranger, Amount: "1 usdc"}},
		"to-an-employee":  {Pay: &trial.Payment{To: "cid", Amount: "1 usdc"}},
		"of-nothing":      {Pay: &trial.Payment{To: "cid", Amount: "0 usdc"}},
		"with-a-high-fee": {Pay: &trial.Payment{To: "cid", Amount: "1 usdc"}, MaxFee: "900 gwei"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRun(t)
			h.want("a salary on the last day", h.pay(at(time.March, 28, 9), false, "cid", "6000 usdc"), trial.Allow)
			for _, day := range []time.Time{at(time.April, 6, 9), at(time.April, 15, 9), at(time.April, 23, 9)} {
				h.want("between the runs", h.ask(day, false, tx), trial.Deny)
			}
			h.want("the first salary of April", h.pay(at(time.April, 24, 9), false, "ann", "15000 usdc"), trial.Ask)
		})
	}
}

// TestTooEarlyIsNotPaid: a salary that is asked for a day early is refused, and
// neither its account nor its number counts as used when the run begins.
func TestTooEarlyIsNotPaid(t *testing.T) {
	for _, to := range []string{"ann", "bob"} {
		h := newHistory(t, payrollDir, "hana", "hugo", at(time.March, 23, 9))
		h.want("a day early", h.pay(at(time.March, 23, 9), false, "ann", "6000 usdc"), trial.Deny)
		h.want("on the day, to "+to, h.pay(at(time.March, 24, 9), false, to, "6000 usdc"), trial.Ask)
	}
}

// TestAttackRefusedByHistory: what fraud refuses because of what it has approved
// itself does not become usual for approval without people.
func TestAttackRefusedByHistory(t *testing.T) {
	payment := func(n uint64, amount string) trial.Transaction {
		return trial.Transaction{Pay: &trial.Payment{To: "acme", Amount: amount}, Nonce: &n}
	}
	desk := func(t *testing.T) *history {
		h := newHistory(t, treasuryDir, "tom", "tina", at(time.March, 1, 9))
		h.want("the first payment", h.ask(at(time.March, 1, 9), true, payment(0, "100 usdc")), trial.Ask)
		return h
	}
	for name, c := range map[string]struct {
		rule string
		last func(t *testing.T) trial.Decision
	}{
		"payroll/paid-already": {"asked-again", func(t *testing.T) trial.Decision {
			return newRun(t).pay(at(time.March, 25, 9), false, "ann", "14000 usdc")
		}},
		"treasury/nonce-reused": {"nonce-again", func(t *testing.T) trial.Decision {
			return desk(t).ask(at(time.March, 2, 9), false, payment(0, "180 usdc"))
		}},
		"treasury/user-hour": {"many", func(t *testing.T) trial.Decision {
			h := desk(t)
			for i := range uint64(20) {
				h.want("a payment", h.ask(at(time.March, 2, 9), false, payment(i+1, fmt.Sprintf("1%02d usdc", i))), trial.Allow)
			}
			return h.ask(at(time.March, 2, 9), false, payment(21, "180 usdc"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.last(t)
			approval := d.Of(message.RoleApproval)
			if d.Of(message.RoleFraud).Verdict != trial.Deny || approval.Verdict != trial.Ask || !slices.Contains(approval.Rules, c.rule) {
				t.Errorf("fraud says %s, approval %s by %v", d.Of(message.RoleFraud).Verdict, approval.Verdict, approval.Rules)
			}
		})
	}
}

// TestAttackRaiseTheHabit: amounts that other roles refuse for sure do not become
// usual for approval.
func TestAttackRaiseTheHabit(t *testing.T) {
	const steps = 260 // twice as many as make a habit
	for _, template := range []struct {
		dir, user, owner, to, unit string
		usual, high                float64
	}{
		{treasuryDir, "tom", "tina", "acme", "usdc", 1, 90},
		{exchangeDir, "withdrawals", "olga", stranger, "eth", 0.01, 9},
	} {
		for name, refused := range map[string]trial.Transaction{
			"fee-below-range": {MaxFee: "1 wei", MaxPriorityFee: "0"},
			"fee-above-range": {MaxFee: "900 gwei"},
			"gas-above-range": {GasLimit: 600_000},
		} {
			t.Run(template.user+"/"+name, func(t *testing.T) {
				begin := at(time.March, 1, 9)
				h := newHistory(t, template.dir, template.user, template.owner, begin)
				h.who.Open = 10 * time.Minute
				amount := func(n float64) string { return fmt.Sprintf("%.6f %s", n, template.unit) }
				for i := range 9 {
					h.pay(begin, i == 0, template.to, amount(template.usual*(1+float64(i)/10)))
				}
				// Each is a little more than the one before, and none is unusual.
				for i := range steps {
					n := template.usual * math.Pow(template.high/template.usual, float64(i)/steps)
					refused.Pay = &trial.Payment{To: template.to, Amount: amount(n)}
					h.want("to be refused", h.ask(begin.Add(time.Duration(i)*time.Minute), false, refused), trial.Deny)
				}
				d := h.pay(begin.Add(24*time.Hour), false, template.to, amount(template.high))
				if rules := d.Of(message.RoleApproval).Rules; d.Verdict != trial.Ask || !slices.Contains(rules, "unusual") {
					t.Errorf("%s by %v, want somebody to be asked", d.Verdict, rules)
				}
			})
		}
	}
}
