package rules_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
)

// TestWindow: the longest look back of all rules, denying ones included, also
// where it stands deep in a condition that is seldom asked.
func TestWindow(t *testing.T) {
	const none, hour = time.Duration(0), time.Hour
	for _, c := range []struct {
		want  time.Duration
		rules []document.Rule
	}{
		{none, []document.Rule{allow(`true`)}},
		{none, []document.Rule{allow(`signal.gas(5u)`), deny(`signal.fee(amount(1), amount(2))`)}},
		{none, []document.Rule{deny(`signal.first_use()`), deny(`signal.lookalike()`), deny(`signal.nonce_gap(5)`)}},
		{hour, []document.Rule{allow(`history.count("user", duration("1h")) < 3`)}},
		{24 * hour, []document.Rule{
			allow(`history.count("user", duration("1h")) < 3`), deny(`history.sum_to(tx.from, asset("eth"), duration("24h")) > 3`),
		}},
		{168 * hour, []document.Rule{
			deny(`tx.value > 5 && tx.moves.exists(m, history.count_to(m.to, duration("168h")) > 2)`),
			allow(`history.count_of("asset", asset("eth"), duration("24h")) < 3`),
		}},
		{48 * hour, []document.Rule{deny(`signal.duplicate(duration("48h"))`)}},
		{90 * time.Second, []document.Rule{deny(`history.sum("wallet", asset("eth"), duration("1m30s")) > 3`)}},
		{ledger.Retention, []document.Rule{deny(`signal.unusual("wallet", 5.0)`)}},
		{ledger.Retention, []document.Rule{deny(`signal.nonce_reused()`)}},
		{ledger.Retention, []document.Rule{
			deny(`signal.nonce_replaces() ? false : history.count("user", duration("1h")) > 3`), deny(`signal.duplicate(duration("1h"))`),
		}},
	} {
		if got := compile(t, documentOf(c.rules...), "approval").Window(); got != c.want {
			t.Errorf("%s: %s, want %s", c.rules[0].When, got, c.want)
		}
	}
}
