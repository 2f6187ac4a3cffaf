package trial_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/trial"
)

// within has wallets pay 100 USDC within a window.
func within(window time.Duration) func(*document.Document) {
	return func(d *document.Document) {
		d.Rules.Fraud = append(d.Rules.Fraud, document.Rule{
			ID: "long", Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction},
			When: fmt.Sprintf(`history.sum("wallet", asset("usdc"), duration(%q)) + amount_of(asset("usdc")) > units("usdc", "100")`, window),
		})
	}
}

// TestLongWindows: a trial begins as far back as the draft's rules look, and 31
// days at least; what was approved in that time counts, to the second, whether a
// period is simulated or one request explained.
func TestLongWindows(t *testing.T) {
	const days = 24 * time.Hour
	for name, c := range map[string]struct {
		window, age time.Duration
		begin       time.Time
		want        trial.Verdict
	}{
		"a day":               {24 * time.Hour, 20 * days, day.Add(-ledger.Lookback), trial.Allow},
		"32 days":             {32 * days, 32*days - time.Second, day.Add(-32 * days), trial.Deny},
		"32 days are over":    {32 * days, 32 * days, day.Add(-32 * days), trial.Allow},
		"a year":              {365 * days, 300 * days, day.Add(-365 * days), trial.Deny},
		"no number of days":   {365*days + 5*time.Millisecond, 365 * days, day.Add(-365*days - time.Second), trial.Deny},
		"as long as there is": {ledger.Longest, 10 * 365 * days, time.Unix(0, 0), trial.Deny},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t, within(c.window))
			r.pay(day.Add(-c.age), "90 usdc", said{approve(), approve(), approve()})
			r.pay(day, "20 usdc", said{approve(), approve(), approve()})
			s, err := r.simulate(day)
			if err != nil || s.Decided != 1 || s.Earlier != 1 || s.Verdicts[c.want] != 1 || !s.EarlierSince.Equal(c.begin) {
				t.Errorf("%v, %+v", err, s)
			}
			deployment, err := message.ParseHash(r.sandbox.Active.Deployment)
			if err != nil {
				t.Fatal(err)
			}
			one := trial.NewSimulator(r.sandbox.Active, trial.Interpreter(deployment, message.PolicyRoles(), r.sandbox), day, day)
			d, _, err := one.Explain(t.Context(), each(r.past[:1]), r.past[1])
			if err != nil || d.Verdict != c.want || !one.Begin().Equal(c.begin) {
				t.Errorf("explained: %v, %s, from %s", err, d.Verdict, one.Begin())
			}
		})
	}
}
