package approval_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
)

// treasury takes the rules that ask because of a signal, and the list that they
// know accounts from, out of the treasury desk's template; bob is asked.
func treasury(t *testing.T) func(*document.Document) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "policies", "treasury", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	template, err := document.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return func(doc *document.Document) {
		doc.Lists = slices.DeleteFunc(slices.Clone(template.Lists), func(l document.List) bool { return l.File != nil })
		for _, r := range template.Rules.Approval {
			if r.ID == "lookalike" || r.ID == "unusual" {
				r.Approvers, r.Quorum = nil, 0
				doc.Rules.Approval = append(doc.Rules.Approval, r)
			}
		}
	}
}

// TestPeopleSeeTheEvidenceOfSignals: which known account a destination resembles,
// and how unusual the amount is; a note of those who wait names the signals.
func TestPeopleSeeTheEvidenceOfSignals(t *testing.T) {
	w := newWorld(t, treasury(t))
	for i := range 8 {
		d := w.want(w.transfer(fmt.Sprintf("1%d0000000000000000", i)), policy.Approve, "")
		for _, record := range d.Records {
			if err := w.Append(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
	}
	const like = "0x1111000000000000000000000000000000001111"
	q := w.ask(message.KindEthereumTransaction, w.wallet, w.account,
		deploymenttest.Transfer{To: like, Value: "900000000000000000"}.Payload())
	d := w.want(q, policy.Wait, "lookalike")
	if d.Note != "0 of 1 approvals: rule lookalike; signals: lookalike, unusual" {
		t.Errorf("the note is %q", d.Note)
	}
	var shown api.Approval
	w.get(api.Path+"/"+q.Meaning.Statement.ID, w.d.ApproverKey).ok(&shown)
	signals := shown.Signals()
	if len(signals) != 2 || len(shown.Needed) != 4 {
		t.Fatalf("got %+v", shown.Needed)
	}
	if want := "lookalike: eip155:1:" + like + " resembles eip155:1:0x1111111111111111111111111111111111111111, which is in list suppliers"; signals[0].Detail != want {
		t.Errorf("%q, want %q", signals[0].Detail, want)
	}
	if !strings.Contains(signals[1].Detail, "robust deviations above the user's median of ") {
		t.Errorf("got %q", signals[1].Detail)
	}

	// What is asked about for another reason has none.
	plain := w.transfer("130000000000000000")
	w.setPolicy(func(doc *document.Document) { treasury(t)(doc); ask(doc, "desk", 1, deploymenttest.Approver) })
	if d := w.want(plain, policy.Wait, "desk"); d.Note != "0 of 1 approvals: rule desk" {
		t.Errorf("the note is %q", d.Note)
	}
	var other api.Approval
	w.get(api.Path+"/"+plain.Meaning.Statement.ID, w.d.ApproverKey).ok(&other)
	if len(other.Signals()) != 0 {
		t.Errorf("got %+v", other.Needed)
	}
}
