package rules_test

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/ledger"
	"github.com/countersign/countersign/policy/rules"
)

const (
	twin    = "eip155:1:0xb0b0ffffffffffffffffffffffffffffffff0b0b" // of bob
	other   = "eip155:5:0xb0b0ffffffffffffffffffffffffffffffff0b0b" // on another chain
	blocked = "eip155:1:0x00000000000000000000000000000000000000ee"
	near    = "eip155:1:0xb0b0ffffffffffffffffffffffffffffffff0b0c" // one digit off
)

// to sends the transfer to somebody.
func to(facts rules.Facts, account string) rules.Facts {
	facts.Meaning.Effects.Moves[1].To = account
	return facts
}

func with(facts rules.Facts, h *fakeHistory) rules.Facts {
	if h.used == nil {
		h.used = map[string]bool{usdcContract: true, bob: true}
	}
	facts.History = h
	return facts
}

func TestSignals(t *testing.T) {
	large := with(transfer(), &fakeHistory{habit: ledger.Habit{Count: 24, Z: 7.31, MedianAmount: big.NewInt(500_000)}})
	large.Meaning.Effects.Fee = nil
	token, payer := transfer(), transfer()
	token.Meaning.Effects.Moves[1].Asset = "eip155:1/erc20:" + blocked[9:]
	payer.Meaning.Effects.Moves[1].From = blocked
	grant, owner := permit(), permit()
	grant.Meaning.Effects.Allowances[0].Asset = token.Meaning.Effects.Moves[1].Asset
	owner.Meaning.Effects.Allowances[0].Owner = blocked
	verifier := permit()
	verifier.Meaning.Effects.Details.Typed.Contract = blocked
	found := "listed: " + blocked + " is in list blocked"
	few := with(transfer(), &fakeHistory{habit: ledger.Habit{Count: 7, Z: 99, MedianAmount: big.NewInt(500_000)}})
	for name, c := range map[string]struct {
		facts  rules.Facts
		when   string
		detail string // "" means that it does not fire
	}{
		"first_use/new":              {to(with(transfer(), &fakeHistory{}), near), `signal.first_use()`, "first_use: the wallet has never had to do with " + near},
		"first_use/used":             {with(transfer(), &fakeHistory{}), `signal.first_use()`, ""},
		"lookalike/of a list":        {to(with(transfer(), &fakeHistory{}), twin), `signal.lookalike()`, "lookalike: " + twin + " resembles " + bob + ", which is in list partners"},
		"lookalike/other case":       {to(with(transfer(), &fakeHistory{}), "eip155:1:0xB0B0"+strings.Repeat("F", 32)+"0B0B"), `signal.lookalike()`, "lookalike: " + twin + " resembles " + bob + ", which is in list partners"},
		"lookalike/known itself":     {to(with(transfer(), &fakeHistory{used: map[string]bool{usdcContract: true, twin: true}}), twin), `signal.lookalike()`, ""},
		"lookalike/listed itself":    {with(transfer(), &fakeHistory{used: map[string]bool{usdcContract: true}, lookalikes: map[string]string{bob: twin}}), `signal.lookalike()`, ""},
		"lookalike/other chain":      {to(with(transfer(), &fakeHistory{}), other), `signal.lookalike()`, ""},
		"lookalike/one digit off":    {to(with(transfer(), &fakeHistory{}), near), `signal.lookalike()`, ""},
		"lookalike/three digits":     {to(with(transfer(), &fakeHistory{}), "eip155:1:0xb0b1ffffffffffffffffffffffffffffffff1b0b"), `signal.lookalike()`, ""},
		"lookalike/of history":       {to(with(transfer(), &fakeHistory{lookalikes: map[string]string{near: "eip155:1:0xb0b00b0c"}}), near), `signal.lookalike()`, "lookalike: " + near + " resembles eip155:1:0xb0b00b0c, which was used before"},
		"duplicate/twice":            {with(transfer(), &fakeHistory{duplicates: 2}), `signal.duplicate(duration("36h"))`, "duplicate: the same amounts for the same destinations were approved 2 times within 36h"},
		"duplicate/none":             {with(transfer(), &fakeHistory{}), `signal.duplicate(duration("36h"))`, ""},
		"unusual/far":                {large, `signal.unusual("wallet", 6.0)`, "unusual: 2500000 (2.5 usdc) of " + usdc + " is 7.3 robust deviations above the wallet's median of 500000 (0.5 usdc) (24 earlier)"},
		"unusual/within":             {large, `signal.unusual("wallet", 7.5)`, ""},
		"unusual/no habit yet":       {few, `signal.unusual("user", 6.0)`, ""},
		"listed/destination":         {to(transfer(), "eip155:1:0x00000000000000000000000000000000000000EE"), `signal.listed("blocked")`, "listed: eip155:1:0x00000000000000000000000000000000000000ee is in list blocked"},
		"listed/token":               {token, `signal.listed("blocked")`, found},
		"listed/payer":               {payer, `signal.listed("blocked")`, found},
		"listed/token allowed":       {grant, `signal.listed("blocked")`, found},
		"listed/owner":               {owner, `signal.listed("blocked")`, found},
		"listed/verifier":            {verifier, `signal.listed("blocked")`, found},
		"listed/nobody":              {transfer(), `signal.listed("blocked")`, ""},
		"fee/above":                  {transfer(), `signal.fee(amount(1), amount("29999999999"))`, "fee: 30000000000 per gas is above 29999999999"},
		"fee/below":                  {transfer(), `signal.fee(amount("30000000001"), amount("40000000000"))`, "fee: 30000000000 per gas is below 30000000001"},
		"fee/within":                 {transfer(), `signal.fee(amount("30000000000"), amount("30000000000"))`, ""},
		"gas/above":                  {transfer(), `signal.gas(69999u)`, "gas: the limit of 70000 is above 69999"},
		"gas/within":                 {transfer(), `signal.gas(70000u)`, ""},
		"nonce_reused":               {with(transfer(), &fakeHistory{nonce: ledger.Nonce{Known: true, Next: 8, Reused: true}}), `signal.nonce_reused()`, "nonce_reused: nonce 7 was approved before in another request"},
		"nonce_reused/not":           {with(transfer(), &fakeHistory{}), `signal.nonce_reused()`, ""},
		"nonce_replaces":             {with(transfer(), &fakeHistory{nonce: ledger.Nonce{Known: true, Next: 8, Replaces: true}}), `signal.nonce_replaces()`, "nonce_replaces: nonce 7 again, with the same content and a higher fee"},
		"nonce_replaces/not":         {with(transfer(), &fakeHistory{}), `signal.nonce_replaces()`, ""},
		"nonce_gap/far":              {with(transfer(), &fakeHistory{nonce: ledger.Nonce{Known: true, Next: 4}}), `signal.nonce_gap(2)`, "nonce_gap: nonce 7 is 3 above the expected 4"},
		"nonce_gap/within":           {with(transfer(), &fakeHistory{nonce: ledger.Nonce{Known: true, Next: 4}}), `signal.nonce_gap(3)`, ""},
		"nonce_gap/behind":           {with(transfer(), &fakeHistory{nonce: ledger.Nonce{Known: true, Next: 9}}), `signal.nonce_gap(0)`, ""},
		"nonce_gap/nothing is known": {with(transfer(), &fakeHistory{}), `signal.nonce_gap(0)`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			// Two rules ask, and the evidence is there once.
			second := allow(`true && ` + c.when)
			out := decide(t, c.facts, deny(c.when), second)
			signal, _, _ := strings.Cut(name, "/")
			if out.Trace[0].Err != "" || out.Trace[0].Value != (c.detail != "") {
				t.Fatalf("%+v", out.Trace[0])
			}
			var found []string
			for _, r := range out.Reasons {
				if r.Code == "signal_"+signal {
					found = append(found, r.Detail)
				}
			}
			if c.detail == "" && len(found) > 0 || c.detail != "" && !slices.Equal(found, []string{c.detail}) {
				t.Errorf("evidence %q, want %q", found, c.detail)
			}
		})
	}
}

// TestEvidenceOfAnApproval: signals that fired are said also where the request
// is allowed, and after what decides where it is not.
func TestEvidenceOfAnApproval(t *testing.T) {
	facts := to(with(transfer(), &fakeHistory{}), near)
	out := decide(t, facts, allow(`signal.first_use() || true`))
	if out.Verdict != rules.Allow || !slices.Equal(codes(out.Reasons), []string{"signal_first_use"}) {
		t.Errorf("%s %v", out.Verdict, out.Reasons)
	}
	out = decide(t, facts, deny(`signal.first_use()`))
	if !slices.Equal(codes(out.Reasons), []string{"rule_denies", "signal_first_use"}) {
		t.Errorf("%v", out.Reasons)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	facts := with(transfer(), &fakeHistory{used: map[string]bool{}})
	for i := range 100 {
		move := facts.Meaning.Effects.Moves[1]
		move.To = "eip155:1:0x" + strings.Repeat("a", 37) + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "f"
		facts.Meaning.Effects.Moves = append(facts.Meaning.Effects.Moves, move)
	}
	r := deny(`signal.first_use()`)
	r.Reason = strings.Repeat("é", 400)
	out := decide(t, facts, r)
	if len(out.Reasons) > 17 || out.Reasons[0].Code != rules.CodeDenies {
		t.Errorf("%d reasons, the first %s", len(out.Reasons), out.Reasons[0].Code)
	}
	for _, reason := range out.Reasons {
		if len(reason.Detail) > 300 {
			t.Errorf("%d bytes", len(reason.Detail))
		}
	}
}

// TestSignalsOfNothingToSign: a signal about a transaction fails for what is
// none.
func TestSignalsOfNothingToSign(t *testing.T) {
	for _, when := range []string{
		`signal.first_use()`, `signal.lookalike()`, `signal.duplicate(duration("1h"))`, `signal.unusual("wallet", 6.0)`,
		`signal.listed("blocked")`, `signal.fee(amount(1), amount(2))`, `signal.gas(5u)`, `signal.nonce_reused()`,
		`signal.nonce_replaces()`, `signal.nonce_gap(1)`,
	} {
		if got := value(t, creation(), when); !strings.HasPrefix(got, "error: the request has no ") {
			t.Errorf("%s: %s", when, got)
		}
	}
	for _, when := range []string{`signal.unusual("wallet", 1.0 - 1.0)`, `signal.unusual("wallet", 1.0 - 2.0)`, `signal.unusual("wallet", 0.0 / 0.0)`, `signal.nonce_gap(1 - 2)`} {
		if got := value(t, transfer(), when); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %s", when, got)
		}
	}
}

// files are lists by their digest.
type files map[string]map[string]bool

func (f files) Has(sha256, account string) bool { return f[sha256][account] }

func TestListsByFile(t *testing.T) {
	doc := documentOf(deny(`signal.listed("sanctions")`), allow(`tx.destinations.all(d, !listed("sanctions", d))`))
	doc.Lists = append(doc.Lists, document.List{ID: "sanctions", File: &document.File{SHA256: "abc", Entries: 1}})
	if _, err := rules.Compile(doc, "approval", nil); err == nil || !strings.Contains(err.Error(), `the file of list "sanctions" is not at hand`) {
		t.Errorf("without the file: %v", err)
	}
	for account, want := range map[string]rules.Verdict{bob: rules.Deny, near: rules.Allow} {
		set, err := rules.Compile(doc, "approval", files{"abc": {bob: true}})
		if err != nil {
			t.Fatal(err)
		}
		if out := set.Evaluate(t.Context(), to(transfer(), account)); out.Verdict != want {
			t.Errorf("%s: %s %v", account, out.Verdict, out.Reasons)
		}
	}
}
