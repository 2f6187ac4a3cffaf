package rules_test

import (
	"testing"

	"github.com/countersign/countersign/policy/rules"
)

// TestThePastIsAskedOnce: what many rules ask of the past is looked up once for a
// request, and each rule still says what it read; anything else is another
// question.
func TestThePastIsAskedOnce(t *testing.T) {
	const hour, day = `history.count("wallet", duration("1h")) `, `history.count("wallet", duration("24h")) `
	h := &fakeHistory{counts: map[string]int{"wallet/w1/": 7}}
	facts := with(transfer(), h)
	out := decide(t, facts, allow(hour+"< 8"), deny(hour+"> 8"), deny(hour+"> 9"), deny(hour+"> 10 || "+hour+"> 20"))
	if out.Verdict != rules.Allow || h.calls != 1 {
		t.Errorf("%s after %d calls, want one: %+v", out.Verdict, h.calls, out.Reasons)
	}
	for _, step := range out.Trace {
		if step.Why != out.Trace[0].Why || step.Why == "" {
			t.Errorf("%s read %q, the first one %q", step.Rule, step.Why, out.Trace[0].Why)
		}
	}
	h.calls = 0
	decide(t, facts, allow(hour+"< 8"), deny(day+"> 8"), deny(`history.count("user", duration("1h")) > 8`),
		deny(`history.count_of("wallet", asset("eth"), duration("1h")) > 8`), deny(`history.count_of("wallet", asset("usdc"), duration("1h")) > 8`))
	if h.calls != 5 {
		t.Errorf("five questions make %d calls", h.calls)
	}
	h.calls, h.counts = 0, map[string]int{"wallet/w1/": 9}
	if out := decide(t, facts, allow(hour+"< 8")); out.Verdict != rules.Deny || h.calls != 1 {
		t.Errorf("the next request has the last one's answer: %s", out.Verdict)
	}
}

// TestEachRuleFailsByItself: what fails is not kept, so that each rule fails.
func TestEachRuleFailsByItself(t *testing.T) {
	facts := transfer()
	facts.Meaning.Wallet = ""
	out := decide(t, facts, allow(`true`), deny(`history.count("wallet", duration("1h")) > 8`), deny(`history.count("wallet", duration("1h")) > 9`))
	for _, step := range out.Trace[1:] {
		if step.Err == "" {
			t.Errorf("%s has not failed", step.Rule)
		}
	}
	if out.Verdict != rules.Deny {
		t.Errorf("%s in spite of failures", out.Verdict)
	}
}
