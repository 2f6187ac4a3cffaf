package policies_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
)

const (
	template = "../../../deploy/policies/treasury"
	// perDay is more than the template lets a person pay in an hour.
	perDay = 25
)

// TestTreasury: with the load's bounds every role lets the load pay at any hour,
// and as often as it wants.
func TestTreasury(t *testing.T) {
	d := deploymenttest.New(t)
	raw, err := os.ReadFile(filepath.Join(template, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const receiver = "0x00000000000000000000000000000000000000aa"
	if raw, err = policies.Treasury(raw, d.Document(), 2, "eip155:1:"+receiver); err != nil {
		t.Fatal(err)
	}
	active, err := document.VerifyBundle(d.Sign(raw, d.Admins[:d.Genesis.Threshold]...), d.Genesis, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	attach(t, active)
	records := d.Records()
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	now := time.Now().UTC().Truncate(24 * time.Hour)
	judges := map[string]*judge.Judge{}
	for _, role := range message.PolicyRoles() {
		judges[role] = judge.New(role, nil)
	}
	for n := range 7 * perDay { // at midnight of each day of a week
		at, number := now.AddDate(0, 0, n/perDay-7), strconv.Itoa(n+1)
		payment := deploymenttest.Transfer{To: receiver, Value: number}.Payload()
		payment["nonce"] = number
		env := d.Ask(message.KindEthereumTransaction, wallet, account, payment, at)
		in := judge.Input{Meaning: d.Interpret(records, env), Envelope: message.Sum(env.Statement), Now: at}
		var reason *message.Reason
		if in.User, reason = document.VerifyUser(active, env, in.Meaning, at); reason != nil {
			t.Fatalf("%+v", *reason)
		}
		for role, j := range judges {
			out, keep, err := j.Judge(t.Context(), active, in)
			if err != nil || out.Verdict != rules.Allow {
				t.Errorf("%s on %s: %s because of %+v: %v", role, at.Weekday(), out.Verdict, out.Reasons, err)
			}
			for _, body := range keep {
				if err := j.Replay(body); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func attach(t *testing.T, active *document.Active) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(template, "sanctions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	sanctions, err := document.ReadList(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := active.Attach(map[string]*document.ListFile{sanctions.SHA256(): sanctions}); err != nil {
		t.Fatal(err)
	}
}
