package judge_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/transaction"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const recipient = "0x00000000000000000000000000000000000000aa"

// world makes requests of one deployment, for one judge.
type world struct {
	testing.TB
	d       *deploymenttest.Deployment
	records *deploymenttest.Records
	wallet  string
	account string
	now     time.Time
	*judge.Judge
}

func newWorld(t testing.TB, role string) *world {
	w := &world{TB: t, d: deploymenttest.New(t), now: start}
	w.records = w.d.Records()
	w.wallet = w.records.AddWallet(deploymenttest.User)
	w.account, _ = w.records.AddAccount(w.wallet, deploymenttest.User)
	w.Judge = judge.New(role, w.watch())
	return w
}

func (w *world) watch() *clock.Watch { return &clock.Watch{Now: func() time.Time { return w.now }} }

func (w *world) input(kind message.Kind, wallet, account string, payload any) judge.Input {
	w.Helper()
	env := w.d.Ask(kind, wallet, account, payload, w.now)
	raw, err := message.Encode(env)
	if err != nil {
		w.Fatal(err)
	}
	return judge.Input{
		Meaning: w.d.Interpret(w.records, env), User: document.User{ID: deploymenttest.User},
		Envelope: message.Sum(raw), Now: w.now,
	}
}

// transfer moves so much wei, and no fee.
func (w *world) transfer(wei string) judge.Input {
	w.Helper()
	in := w.input(message.KindEthereumTransaction, w.wallet, w.account,
		deploymenttest.Transfer{To: recipient, Value: wei}.Payload())
	in.Meaning.Effects.Fee = new(big.Int)
	return in
}

func (w *world) message() judge.Input {
	w.Helper()
	return w.input(message.KindEthereumMessage, w.wallet, w.account, map[string]string{"text": "hello"})
}

// judge judges, wants the verdict and reasons, and replays what is recorded.
func (w *world) judge(active *document.Active, in judge.Input, verdict rules.Verdict, codes ...string) [][]byte {
	w.Helper()
	out, records, err := w.Judge.Judge(w.Context(), active, in)
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, r := range out.Reasons {
		got = append(got, r.Code)
	}
	if out.Verdict != verdict || fmt.Sprint(got) != fmt.Sprint(codes) {
		w.Fatalf("got %s because of %+v, want %s because of %v", out.Verdict, out.Reasons, verdict, codes)
	}
	for _, body := range records {
		if err := w.Replay(body); err != nil {
			w.Fatal(err)
		}
	}
	return records
}

// TestWhatIsRecorded: of fraud whatever puts an amount at risk, of every role all
// that its rules may count, and nothing else.
func TestWhatIsRecorded(t *testing.T) {
	plain := func(doc *document.Document) {
		allow := []document.Rule{{ID: "all", Effect: document.EffectAllow, When: "true"}}
		doc.Rules = document.Rules{Authorization: allow, Fraud: allow, Approval: allow}
	}
	counting := func(doc *document.Document) {
		allow := []document.Rule{{ID: "few", Effect: document.EffectAllow, When: `history.count("user", duration("1h")) < 100`}}
		doc.Rules = document.Rules{Authorization: allow, Fraud: allow, Approval: allow}
	}
	for _, role := range message.PolicyRoles() {
		w := newWorld(t, role)
		free, bound := w.d.Active(plain), w.d.Active(counting)
		want := 0
		if role == message.RoleFraud {
			want = 1
		}
		if got := w.judge(free, w.transfer("1"), rules.Allow, judge.CodeAllows); len(got) != want {
			t.Errorf("%s: %d records of a transfer", role, len(got))
		}
		if got := w.judge(free, w.message(), rules.Allow, judge.CodeAllows); len(got) != 0 {
			t.Errorf("%s: %d records of a message", role, len(got))
		}
		for _, in := range []judge.Input{w.transfer("1"), w.message()} {
			if got := w.judge(bound, in, rules.Allow, judge.CodeAllows); len(got) != 1 {
				t.Errorf("%s: %d records where rules count", role, len(got))
			}
			in.Meaning.Statement.DryRun = true
			if got := w.judge(bound, in, rules.Allow, judge.CodeAllows); len(got) != 0 {
				t.Errorf("%s: a dry run is recorded", role)
			}
		}
	}
}

// TestAttackManyEffects: what does more than is kept of a request is denied where
// approvals are kept, though a rule allow all: the role would remember each
// destination for ever, or count a part.
func TestAttackManyEffects(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	active := w.d.Active(func(doc *document.Document) {
		doc.Rules.Fraud = []document.Rule{{ID: "all", Effect: document.EffectAllow, When: "true", UnknownCalls: true}}
	})
	in := w.transfer("1")
	in.Meaning.Effects.Moves = slices.Repeat(in.Meaning.Effects.Moves, transaction.MaxEffects)
	if got := w.judge(active, in, rules.Allow, judge.CodeAllows); len(got) != 1 {
		t.Errorf("%d records of as many as may be", len(got))
	}
	in.Meaning.Effects.Moves = append(in.Meaning.Effects.Moves, in.Meaning.Effects.Moves[0])
	if got := w.judge(active, in, rules.Deny, rules.CodeUnknownCall); len(got) != 0 {
		t.Errorf("%d records of one more", len(got))
	}
}

// TestAskedIsRecordedWhenAgreed: the records of what people are asked about are
// there for when they agree, and those of what is denied are not.
func TestAskedIsRecordedWhenAgreed(t *testing.T) {
	w := newWorld(t, message.RoleApproval)
	active := w.d.Active(func(doc *document.Document) {
		doc.Rules.Approval = append(doc.Rules.Approval, document.Rule{
			ID: "often", Effect: document.EffectDeny, When: `history.count("wallet", duration("24h")) > 1`,
		})
	})
	for range 2 {
		if got := w.judge(active, w.transfer("2000000000000000000"), rules.Ask, rules.CodeAsks); len(got) != 1 {
			t.Fatalf("%d records", len(got))
		}
	}
	if got := w.judge(active, w.transfer("2000000000000000000"), rules.Deny, rules.CodeDenies); len(got) != 0 {
		t.Fatalf("%d records of a denial", len(got))
	}
}

// TestFraudRemembersUnderALaterLimit: what was approved before there was a limit
// counts once there is one.
func TestFraudRemembersUnderALaterLimit(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	unlimited := w.d.Active(func(doc *document.Document) {
		doc.Rules.Fraud = []document.Rule{{ID: "all", Effect: document.EffectAllow, When: "true"}}
	})
	w.judge(unlimited, w.transfer("70"), rules.Allow, judge.CodeAllows)
	limited := w.d.Active(func(doc *document.Document) { deploymenttest.Limit(doc, deploymenttest.Ether, "100", "100") })
	w.judge(limited, w.transfer("31"), rules.Deny, rules.CodeDenies)
	w.judge(limited, w.transfer("30"), rules.Allow, judge.CodeAllows)
}

// TestMarkUndoKeep reach the history.
func TestMarkUndoKeep(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	active := w.d.Active(func(doc *document.Document) { deploymenttest.Limit(doc, deploymenttest.Ether, "100", "100") })
	w.Mark()
	w.judge(active, w.transfer("100"), rules.Allow, judge.CodeAllows)
	w.judge(active, w.transfer("1"), rules.Deny, rules.CodeDenies)
	w.Undo()
	w.Mark()
	w.judge(active, w.transfer("100"), rules.Allow, judge.CodeAllows)
	w.Keep()
	w.Mark()
	w.Undo()
	w.judge(active, w.transfer("1"), rules.Deny, rules.CodeDenies)
}

// TestExplainSaysMore, decides the same, and changes nothing.
func TestExplainSaysMore(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	active := w.d.Active(func(doc *document.Document) { deploymenttest.Limit(doc, deploymenttest.Ether, "100", "100") })
	for range 2 {
		out, err := w.Explain(t.Context(), active, w.transfer("60"))
		if err != nil || out.Verdict != rules.Allow || out.Reasons[0].Code != judge.CodeAllows {
			t.Fatalf("got %+v %v", out, err)
		}
		said := false
		for _, step := range out.Trace {
			said = said || strings.Contains(step.Why, "60")
		}
		if len(out.Trace) != len(active.Rules.Fraud) || !said {
			t.Fatalf("got %+v", out.Trace)
		}
	}
}

// TestCheck names the faults of every role's rules.
func TestCheck(t *testing.T) {
	w := newWorld(t, message.RoleAuthorization)
	if err := w.Check(w.d.Active(nil)); err != nil {
		t.Fatal(err)
	}
	bad := document.Rule{ID: "wrong", Effect: document.EffectDeny, When: "tx.nonsense > 1"}
	for role, edit := range map[string]func(*document.Document){
		message.RoleAuthorization: func(doc *document.Document) { doc.Rules.Authorization = append(doc.Rules.Authorization, bad) },
		message.RoleFraud:         func(doc *document.Document) { doc.Rules.Fraud = append(doc.Rules.Fraud, bad) },
		message.RoleApproval:      func(doc *document.Document) { doc.Rules.Approval = append(doc.Rules.Approval, bad) },
	} {
		active := w.d.Active(edit)
		err := w.Check(active)
		if err == nil || !strings.Contains(err.Error(), "rules of "+role) || !strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: got %v", role, err)
		}
		if _, _, err := judge.New(role, nil).Judge(t.Context(), active, w.transfer("1")); err == nil {
			t.Errorf("%s: judges by rules that do not compile", role)
		}
	}
}

// TestAttackDocumentWithoutItsListFile: a list by file that is not there is no
// empty list.
func TestAttackDocumentWithoutItsListFile(t *testing.T) {
	raw := []byte("eip155:1:" + recipient + "\n")
	file, err := document.ReadList(raw)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(doc *document.Document) {
		doc.Lists = append(doc.Lists, document.List{ID: "sanctions", File: &document.File{SHA256: file.SHA256(), Entries: 1}})
		doc.Rules.Fraud = append(doc.Rules.Fraud, document.Rule{
			ID: "sanctioned", Effect: document.EffectDeny, Kinds: []message.Kind{message.KindEthereumTransaction},
			When: `tx.destinations.exists(d, listed("sanctions", d))`,
		})
	}
	w := newWorld(t, message.RoleFraud)
	without := w.d.Active(edit)
	if err := w.Check(without); err == nil {
		t.Error("a document is good without its file")
	}
	if out, _, err := w.Judge.Judge(t.Context(), without, w.transfer("1")); err == nil && out.Verdict != rules.Deny {
		t.Errorf("got %+v without the file", out)
	}
	with := w.d.Active(edit)
	if err := with.Attach(map[string]*document.ListFile{file.SHA256(): file}); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(with); err != nil {
		t.Fatal(err)
	}
	w.judge(with, w.transfer("1"), rules.Deny, rules.CodeDenies)
}

// TestAttackVelocityRacedWithinAJudge: an API's questions beside decisions.
func TestAttackVelocityRacedWithinAJudge(t *testing.T) {
	w := newWorld(t, message.RoleFraud)
	active := w.d.Active(func(doc *document.Document) { deploymenttest.Limit(doc, deploymenttest.Ether, "100", "100") })
	other := w.d.Active(nil)
	var inputs []judge.Input
	for range 50 {
		inputs = append(inputs, w.transfer("3"))
	}
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for _, in := range inputs {
				_, _ = w.Explain(t.Context(), other, in)
			}
		})
	}
	approved := 0
	for _, in := range inputs {
		out, records, err := w.Judge.Judge(t.Context(), active, in)
		if err != nil {
			t.Fatal(err)
		}
		if out.Verdict == rules.Allow {
			approved += 3
			if err := w.Replay(records[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	asking.Wait()
	if approved != 99 {
		t.Fatalf("%d of 100 approved", approved)
	}
}
