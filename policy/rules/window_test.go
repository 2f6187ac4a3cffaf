package rules_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
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
		{8760 * hour, []document.Rule{
			deny(`history.sum("user", asset("eth"), duration("8760h")) > 3`), deny(`signal.unusual("user", 5.0) || signal.nonce_reused()`),
			deny(`signal.duplicate(duration("768h"))`),
		}},
		{768 * hour, []document.Rule{deny(`signal.nonce_reused()`), deny(`signal.duplicate(duration("768h"))`)}},
		{90 * time.Second, []document.Rule{deny(`history.sum("wallet", asset("eth"), duration("1m30s")) > 3`)}},
		{ledger.Lookback, []document.Rule{deny(`signal.unusual("wallet", 5.0)`)}},
		{ledger.Lookback, []document.Rule{deny(`signal.nonce_reused()`)}},
		{ledger.Lookback, []document.Rule{
			deny(`signal.nonce_replaces() ? false : history.count("user", duration("1h")) > 3`), deny(`signal.duplicate(duration("1h"))`),
		}},
	} {
		if got := compile(t, documentOf(c.rules...), "approval").Window(); got != c.want {
			t.Errorf("%s: %s, want %s", c.rules[0].When, got, c.want)
		}
	}
}

// TestLongestWindow: every function takes a window up to the longest that CEL
// reads, and asks for just that.
func TestLongestWindow(t *testing.T) {
	for _, text := range []string{"1s", "768h", "8760h", "9223372036s", "2562047h47m16s", "2562047h47m16.854775807s"} {
		window, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{
			`history.sum("wallet", asset("eth"), %s) > 5`, `history.count("user", %s) > 5`, `history.count_of("asset", asset("eth"), %s) > 5`,
			`history.sum_to(tx.to, asset("eth"), %s) > 5`, `history.count_to(tx.to, %s) > 5`, `signal.duplicate(%s)`,
		} {
			set := compile(t, documentOf(deny(fmt.Sprintf(call, "duration(\""+text+"\")"))), message.RoleApproval)
			history := &fakeHistory{}
			set.Evaluate(t.Context(), with(transfer(), history))
			if set.Window() != window || !slices.Equal(history.windows, []time.Duration{window}) {
				t.Errorf("%s: looks back %s, asked for %s", call, set.Window(), history.windows)
			}
		}
	}
	if ledger.Longest.String() != "2562047h47m16.854775807s" {
		t.Error("the longest window is another than the documentation says")
	}
}
