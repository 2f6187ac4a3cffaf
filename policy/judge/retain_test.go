package judge_test

import (
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
)

const day = 24 * time.Hour

// hourly are records of so many approvals of 1 wei by the world's wallet, one
// each hour up to now.
func (w *world) hourly(count int) (bodies [][]byte) {
	w.Helper()
	writer := ledger.New(nil)
	for i := range count {
		body, err := writer.Record(ledger.Event{
			Envelope: message.Sum(fmt.Append(nil, i)), Kind: message.KindEthereumTransaction,
			User: deploymenttest.User, Wallet: w.wallet, Account: w.account, Expires: w.now.Add(-1000 * day),
			Amounts: []exposure.Amount{{Asset: deploymenttest.Ether, Amount: big.NewInt(1)}},
		}, clock.Moment{Late: w.now.Add(-time.Duration(count-1-i) * time.Hour)})
		if err != nil {
			w.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// within is a document that allows a wallet so much wei within a window.
func (w *world) within(window time.Duration, wei int) *document.Active {
	return w.d.Active(func(doc *document.Document) {
		deploymenttest.NoLimits(doc)
		doc.Rules.Fraud = []document.Rule{
			{ID: "all", Effect: document.EffectAllow, When: "true"},
			{ID: "limit", Effect: document.EffectDeny, When: fmt.Sprintf(
				`history.sum("wallet", %q, duration("%dh")) + amount_of(%q) > amount("%d")`,
				deploymenttest.Ether, window/time.Hour, deploymenttest.Ether, wei)},
		}
	})
}

func (w *world) replay(j *judge.Judge, bodies [][]byte) {
	w.Helper()
	for _, body := range bodies {
		if err := j.Replay(body); err != nil {
			w.Fatal(err)
		}
	}
}

// exact wants a judge to know to the wei what was approved within a window, one
// each hour.
func (w *world) exact(j *judge.Judge, window time.Duration) {
	w.Helper()
	hours := int(window / time.Hour)
	for wei, want := range map[int]rules.Verdict{hours: rules.Deny, hours + 1: rules.Allow} {
		out, _, err := j.Judge(w.Context(), w.within(window, wei), w.transfer("1"))
		if err != nil || out.Verdict != want {
			w.Errorf("limit of %d within %s: %s because of %+v (%v), want %s", wei, window, out.Verdict, out.Reasons, err, want)
		}
	}
}

// TestRulesThatLookFurtherBack: under a document of a day nothing older is kept;
// under one of a week nothing is judged on half a memory, and all of it is exact
// once the records were read again, as in a process that started under it. The
// other way round a day's sums are exact all the time.
func TestRulesThatLookFurtherBack(t *testing.T) {
	const week = 7 * day
	w := newWorld(t, message.RoleFraud)
	bodies := w.hourly(9000)
	short, long := w.within(day, 10), w.within(week, 10)
	if !w.Retain(nil) || !w.Retain(short) {
		t.Fatal("an empty memory is not complete")
	}
	w.replay(w.Judge, bodies)
	w.exact(w.Judge, day)

	if w.Retain(long) {
		t.Fatal("a week is said to be there")
	}
	if _, _, err := w.Judge.Judge(t.Context(), long, w.transfer("1")); !errors.Is(err, judge.ErrForgotten) {
		t.Fatalf("judged on half a memory: %v", err)
	}
	w.Forget()
	w.replay(w.Judge, bodies)
	if !w.Retain(long) {
		t.Fatal("all was read again, and is not complete")
	}
	restarted := judge.New(message.RoleFraud, w.watch())
	restarted.Retain(long)
	w.replay(restarted, bodies)
	for _, j := range []*judge.Judge{w.Judge, restarted} {
		w.exact(j, week)
		w.exact(j, day)
	}

	if !w.Retain(short) {
		t.Fatal("a day is gone")
	}
	w.exact(w.Judge, day)
	w.Retain(nil) // while no document is active
	w.exact(w.Judge, day)
}

// TestRetainWhileMarked: a shorter window takes nothing away that a batch which is
// taken back would need.
func TestRetainWhileMarked(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	bodies := w.hourly(9000)
	w.replay(w.Judge, bodies[:8999])
	w.Mark()
	w.replay(w.Judge, bodies[8999:])
	w.Retain(w.within(day, 10))
	w.exact(w.Judge, ledger.Lookback)
	w.Undo()
	w.Mark()
	w.replay(w.Judge, bodies[8999:])
	w.exact(w.Judge, ledger.Lookback)
	w.Keep()
	if w.Retain(w.within(ledger.Lookback, 10)) {
		t.Fatal("nothing went")
	}
}

// TestNothingIsForgottenUnlessTold: a judge that nobody has told what to keep
// judges by any window.
func TestNothingIsForgottenUnlessTold(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	w.replay(w.Judge, w.hourly(9000))
	w.exact(w.Judge, ledger.Lookback)
	w.Forget()
	w.replay(w.Judge, w.hourly(9000))
	w.exact(w.Judge, ledger.Lookback)
}
