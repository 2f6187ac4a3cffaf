package trial_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// day is a Tuesday on which the treasury desk works.
var day = time.Date(2027, 3, 9, 9, 0, 0, 0, time.UTC)

// recorder makes recorded requests of the treasury desk.
type recorder struct {
	t       testing.TB
	sandbox *trial.Sandbox
	nonce   uint64
	past    []trial.Recorded
}

func newRecorder(t testing.TB, change func(*document.Document)) *recorder {
	t.Helper()
	doc, files, _ := template(t, "../../deploy/policies/treasury")
	if change != nil {
		change(doc)
	}
	s, err := trial.NewSandbox(doc, files)
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{t: t, sandbox: s}
}

// said are the decisions of the three roles.
type said [3]message.Approval

func approve() message.Approval { return message.Approval{Decision: message.Approve} }

// approvedByPeople is an approval that votes stand behind.
func approvedByPeople() message.Approval {
	return message.Approval{Decision: message.Approve, Evidence: []message.Hash{message.Sum([]byte("a vote"))}}
}

func reject(code string) message.Approval {
	return message.Approval{Decision: message.Reject, Reasons: []message.Reason{{Code: code, Detail: "as it was"}}}
}

// pay records a payment of tom's to acme.
func (r *recorder) pay(at time.Time, amount string, decisions said) string {
	r.t.Helper()
	f, err := r.sandbox.File(r.t.Context(), trial.Request{
		User: "tom", Kind: message.KindEthereumTransaction, Wallet: trial.Wallet{Owner: "tina"},
		Transaction: &trial.Transaction{Pay: &trial.Payment{To: "acme", Amount: amount}},
	}, r.nonce, at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.nonce++
	body, err := message.Encode(f.Envelope)
	if err != nil {
		r.t.Fatal(err)
	}
	one := trial.Recorded{ID: f.Meaning.Statement.ID, Body: body, Submitted: at, Replies: map[string]message.Approval{}}
	for i, role := range message.PolicyRoles() {
		if decisions[i].Decision != "" {
			one.Replies[role] = decisions[i]
		}
	}
	r.past = append(r.past, one)
	return one.ID
}

func (r *recorder) simulate(since time.Time) (trial.Simulation, error) {
	deployment, err := message.ParseHash(r.sandbox.Active.Deployment)
	if err != nil {
		r.t.Fatal(err)
	}
	in := trial.Interpreter(deployment, message.PolicyRoles(), r.sandbox)
	return trial.NewSimulator(r.sandbox.Active, in, since, since.Add(24*time.Hour)).Run(r.t.Context(), each(r.past))
}

func each(past []trial.Recorded) iter.Seq2[trial.Recorded, error] {
	return func(yield func(trial.Recorded, error) bool) {
		for _, r := range past {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// TestSimulate compares what was decided with what a draft decides.
func TestSimulate(t *testing.T) {
	all := said{approve(), approve(), approve()}
	people := said{approve(), approve(), approvedByPeople()}
	for name, c := range map[string]struct {
		change func(*document.Document)
		past   func(r *recorder)
		want   []string // from, to and the rules of each change
		sums   [3]int   // decided, undecided, earlier
	}{
		"nothing-changes": {
			past: func(r *recorder) {
				r.pay(day.Add(-100*time.Hour), "20 usdc", people)
				r.pay(day, "5000 usdc", all)
				r.pay(day.Add(time.Hour), "20000 usdc", people)
			},
			sums: [3]int{2, 0, 1},
		},
		"past-counts-in-the-period": {
			past: func(r *recorder) {
				r.pay(day.Add(-20*time.Hour), "4999000 usdc", people)
				r.pay(day, "2000 usdc", all)
			},
			want: []string{"allow deny fraud/wallet-day-usdc"}, sums: [3]int{1, 0, 1},
		},
		"what-was-refused-before-counts-nothing": {
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day.Add(-20*time.Hour), "4999000 usdc", said{approve(), reject("rule_denies"), {}})
				r.pay(day, "2000 usdc", all)
			},
			sums: [3]int{1, 0, 2},
		},
		"a-lower-threshold-asks": {
			change: func(d *document.Document) {
				ruleOf(d.Rules.Approval, "four-eyes").When = `amount_of(asset("usdc")) > units("usdc", "1000")`
			},
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day, "2000 usdc", all)
			},
			want: []string{"allow ask approval/four-eyes"}, sums: [3]int{1, 0, 1},
		},
		"a-refusal-is-lifted": {
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day, "2000 usdc", said{approve(), reject("over_transaction_limit"), {}})
			},
			want: []string{"deny allow authorization/desk-pays,fraud/known-assets,approval/small-to-suppliers over_transaction_limit"},
			sums: [3]int{1, 0, 1},
		},
		"people-rejected": {
			past: func(r *recorder) {
				r.pay(day, "20000 usdc", said{approve(), approve(), reject(approval.CodeRejected)})
			},
			sums: [3]int{1, 0, 0},
		},
		"refused-by-the-draft-counts-nothing": {
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day, "5100000 usdc", people)
				r.pay(day.Add(time.Hour), "2000 usdc", all)
			},
			want: []string{ // approval counts what people agreed to
				"ask deny fraud/wallet-day-usdc",
				"allow ask approval/four-eyes,approval/two-treasurers,approval/highest",
			},
			sums: [3]int{2, 0, 1},
		},
		"asked-and-never-agreed-counts-nothing": {
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day, "4000 usdc", said{approve(), approve(), {}})
			},
			sums: [3]int{0, 1, 1},
		},
		"what-a-person-approved-before-counts-for-that-person": {
			past: func(r *recorder) {
				r.pay(day.Add(-72*time.Hour), "4000000 usdc", people)
				r.pay(day.Add(-48*time.Hour), "3999000 usdc", people)
				r.pay(day, "2000 usdc", all)
			},
			want: []string{"allow deny fraud/user-week-usdc"}, sums: [3]int{1, 0, 2},
		},
		"what-passes-counts": {
			past: func(r *recorder) {
				r.pay(day.Add(-24*time.Hour), "20 usdc", people)
				r.pay(day, "5000 usdc", all)
				r.pay(day.Add(time.Hour), "5000 usdc", all)
			},
			want: []string{"allow ask approval/duplicate"}, sums: [3]int{2, 0, 1},
		},
		"what-people-agreed-to-counts": {
			past: func(r *recorder) {
				r.pay(day, "20 usdc", people) // the first there
				r.pay(day.Add(time.Hour), "5000 usdc", all)
			},
			sums: [3]int{2, 0, 0},
		},
		"what-nobody-agreed-to-counts-nothing": {
			past: func(r *recorder) {
				r.pay(day, "20 usdc", said{approve(), approve(), {}})
				r.pay(day.Add(time.Hour), "5000 usdc", all)
			},
			want: []string{"allow ask approval/first-use"}, sums: [3]int{1, 1, 0},
		},
		"not-decided-by-rules": {
			past: func(r *recorder) {
				r.pay(day, "20 usdc", said{})
				r.pay(day, "20 usdc", said{reject(policy.ReasonFrozen), reject(policy.ReasonFrozen), reject(policy.ReasonFrozen)})
				r.pay(day, "20 usdc", said{approve(), reject(policy.ReasonHistory), approve()})
			},
			sums: [3]int{0, 3, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t, c.change)
			c.past(r)
			s, err := r.simulate(day)
			if err != nil {
				t.Fatal(err)
			}
			if got := [3]int{s.Decided, s.Undecided, s.Earlier}; got != c.sums {
				t.Errorf("decided, undecided, earlier %v, want %v", got, c.sums)
			}
			if got := summary(s, c.want); strings.Join(got, "; ") != strings.Join(c.want, "; ") {
				t.Errorf("changes %q, want %q", got, c.want)
			}
		})
	}
}

// summary writes changes; the reasons only where the wanted ones have some.
func summary(s trial.Simulation, want []string) (out []string) {
	for i, change := range s.Changes {
		text := string(change.From) + " " + string(change.To) + " " + strings.Join(change.Rules, ",")
		if i < len(want) && len(strings.Fields(want[i])) > 3 && len(change.Why) > 0 {
			text += " " + change.Why[0].Code
		}
		out = append(out, text)
	}
	return out
}

// TestSimulateOthersRequests: a user whom the draft does not know any more asks
// for nothing.
func TestSimulateOthersRequests(t *testing.T) {
	r := newRecorder(t, nil)
	r.pay(day, "20 usdc", said{approve(), approve(), approve()})
	r.sandbox.Active.Users = r.sandbox.Active.Users[1:]
	s, err := r.simulate(day)
	if err != nil || len(s.Changes) != 1 || s.Changes[0].To != trial.Deny || s.Changes[0].Why[0].Code != "unknown_key" {
		t.Errorf("%v, %+v: want one denial of an unknown key", err, s)
	}
}

// TestSimulateReadsOn: a row that nobody can read does not end a simulation, and
// a failing database does.
func TestSimulateReadsOn(t *testing.T) {
	r := newRecorder(t, nil)
	r.past = []trial.Recorded{{ID: "old", Body: []byte("x"), Submitted: day.Add(-time.Hour)}, {ID: "broken", Body: []byte("x"), Submitted: day}}
	r.pay(day, "20000 usdc", said{approve(), approve(), approvedByPeople()})
	s, err := r.simulate(day)
	if err != nil || s.Unreadable != 1 || s.Decided != 1 {
		t.Errorf("%v, %+v: want one unreadable and one decided", err, s)
	}
	broken := errors.New("the database is gone")
	failing := func(yield func(trial.Recorded, error) bool) { yield(trial.Recorded{}, broken) }
	simulator := trial.NewSimulator(r.sandbox.Active, trial.Interpreter(message.Hash{}, message.PolicyRoles(), r.sandbox), day, day)
	if _, err := simulator.Run(t.Context(), failing); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := simulator.Run(ctx, each(r.past)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// TestExplainRecorded decides on one request after its past.
func TestExplainRecorded(t *testing.T) {
	r := newRecorder(t, nil)
	r.pay(day.Add(-2*time.Hour), "5000 usdc", said{approve(), approve(), approvedByPeople()})
	r.pay(day, "5000 usdc", said{})
	deployment, err := message.ParseHash(r.sandbox.Active.Deployment)
	if err != nil {
		t.Fatal(err)
	}
	simulator := trial.NewSimulator(r.sandbox.Active, trial.Interpreter(deployment, message.PolicyRoles(), r.sandbox), day, day)
	d, f, err := simulator.Explain(t.Context(), each(r.past[:1]), r.past[1])
	if err != nil || d.Verdict != trial.Ask || f.Meaning.Statement.ID != r.past[1].ID {
		t.Fatalf("%v, %+v", err, d)
	}
	asked := d.Of(message.RoleApproval)
	if strings.Join(asked.Rules, " ") != "duplicate" || len(asked.Steps) != len(r.sandbox.Active.Rules.Approval) {
		t.Errorf("%v decide of %d", asked.Rules, len(asked.Steps))
	}
	for _, step := range asked.Steps {
		if step.Applies && step.Why == "" {
			t.Errorf("rule %s does not say why", step.Rule)
		}
	}
}

// TestBenchTimeGoesOn: what came later cannot count before.
func TestBenchTimeGoesOn(t *testing.T) {
	r := newRecorder(t, nil)
	r.pay(day, "20 usdc", said{})
	r.pay(day.Add(-time.Hour), "20 usdc", said{})
	if _, err := r.simulate(day.Add(-2 * time.Hour)); err == nil || !strings.Contains(err.Error(), "comes after") {
		t.Errorf("got %v", err)
	}
}

// TestRefusedForNoRule: what no document says is not compared. The codes are the
// services' own.
func TestRefusedForNoRule(t *testing.T) {
	r := newRecorder(t, nil)
	codes := []string{
		policy.ReasonEnvelope, policy.ReasonAltered, policy.ReasonKind, policy.ReasonPayload, policy.ReasonWallet,
		policy.ReasonDescriptor, policy.ReasonGeneration, policy.ReasonExpired, policy.ReasonInterpreter,
		policy.ReasonDecider, policy.ReasonFrozen, policy.ReasonHistory, document.CodeEarly,
	}
	for _, code := range codes {
		r.pay(day, "20 usdc", said{approve(), reject(code), approve()})
	}
	s, err := r.simulate(day)
	if err != nil || s.Undecided != len(codes) {
		t.Errorf("%v, %d undecided of %d", err, s.Undecided, len(codes))
	}
}

// TestSimulateLeavesOut what counts nothing, or follows other rules.
func TestSimulateLeavesOut(t *testing.T) {
	r := newRecorder(t, nil)
	deployment := r.sandbox.Active.Deployment
	for kind, members := range map[string]string{
		"user.freeze":   `"payload":{"user":"tom","reason":"stolen key"}`,
		"wallet.create": `"dry_run":true,"payload":{"label":"x","owner":"tina","seed_type":"raw","source":"software"}`,
	} {
		statement := `{"id":"019cb000-7c00-7000-8000-000000000001","audience":"` + deployment + `","kind":"` + kind +
			`","expires":"2027-03-09T10:00:00Z",` + members + `}`
		f, err := r.sandbox.Sign(t.Context(), []byte(statement), r.sandbox, "tina", day)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		body, err := message.Encode(f.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		r.past = append(r.past, trial.Recorded{ID: kind, Body: body, Submitted: day, Replies: map[string]message.Approval{
			message.RoleFraud: reject("rule_denies"),
		}})
	}
	s, err := r.simulate(day)
	if err != nil || s.Decided+s.Undecided+s.Unreadable+len(s.Changes) != 0 {
		t.Errorf("%v, %+v: want nothing", err, s)
	}
}
