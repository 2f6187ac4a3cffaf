package policy_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/ruled"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/queue"
)

// recipient is nobody in particular.
const recipient = "0x00000000000000000000000000000000000000aa"

// oneEther is in wei.
const oneEther = "1000000000000000000"

// accounts gives the world's services a wallet of alice's with one account,
// and returns what makes transfers from it.
func (w *world) accounts() func(wei string) queue.Task {
	w.t.Helper()
	records := w.Deployment.Records()
	w.descriptors = records
	wallet := records.AddWallet(deploymenttest.User)
	account, _ := records.AddAccount(wallet, deploymenttest.User)
	return func(wei string) queue.Task {
		w.t.Helper()
		return w.taskOf(message.KindEthereumTransaction, wallet, account,
			deploymenttest.Transfer{To: recipient, Value: wei}.Payload(), w.clock.Now().Add(time.Hour))
	}
}

// TestAttackVelocityRacedAgainstFraud races transfers of one ether on two
// replicas of the real decider, under a limit of a little more than five.
func TestAttackVelocityRacedAgainstFraud(t *testing.T) {
	w := initialised(t)
	w.policies.set(w.Deployment.Active(func(d *document.Document) {
		deploymenttest.Limit(d, deploymenttest.Ether, "2000000000000000000", "5900000000000000000")
	}))
	w.openEpoch()
	transfer := w.accounts()
	var mu sync.Mutex
	var wg sync.WaitGroup
	approved := map[string]queue.Task{}
	var first *instance
	for range 2 {
		i := w.start(fraud.New(w.clock.watch())).ready()
		first = i
		var tasks []queue.Task
		for range 8 {
			tasks = append(tasks, transfer(oneEther))
		}
		wg.Go(func() {
			for k := 0; k < len(tasks); k += 2 {
				verdicts, err := i.attempt(nil, tasks[k:k+2]...)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for n, v := range verdicts {
					if !v.Reply.Decisive {
						approved[tasks[k+n].Request.String()] = tasks[k+n]
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(approved) != 5 {
		t.Fatalf("%d transfers approved, want 5", len(approved))
	}
	// What was approved is approved again for a later epoch, and counts once.
	w.clock.advance(11 * time.Minute)
	w.openEpoch()
	first.ready()
	for _, task := range approved {
		if a, _ := first.one(task); a.Decision != message.Approve {
			t.Fatalf("again: %v", a.Reasons)
		}
	}
	if a, _ := first.one(transfer(oneEther)); a.Decision != message.Reject || code(a) != rules.CodeDenies ||
		!strings.HasPrefix(a.Reasons[0].Detail, "rule "+deploymenttest.RuleDaily+"ether:") {
		t.Fatalf("a sixth: %s because of %v", a.Decision, a.Reasons)
	}
}

// TestHumansAreAskedOnce: a request waits until an approver has voted; then it
// is approved in every epoch, by every replica and after a restart, on the
// same vote.
func TestHumansAreAskedOnce(t *testing.T) {
	w := initialised(t)
	transfer := w.accounts()
	i := w.start(approval.New(w.clock.Now)).ready()
	task := transfer("3000000000000000000")
	if v := i.deliver(task)[0]; v.Disposition != queue.Park {
		t.Fatalf("before the vote: %+v", v)
	}
	must(t, i.Append(t.Context(), w.vote(task, i, message.Approve)))
	a, attachment := i.one(task)
	if a.Decision != message.Approve || len(a.Evidence) != 1 || len(attachment.Evidence) != 1 {
		t.Fatalf("after the vote: %s, %d votes", a.Decision, len(a.Evidence))
	}
	if a.Evidence[0] != message.Sum([]byte(attachment.Evidence[0])) {
		t.Fatal("the approval names another vote")
	}
	i.stop()
	w.clock.advance(11 * time.Minute)
	w.openEpoch()
	restarted := w.start(approval.New(w.clock.Now)).ready()
	if a, _ := restarted.one(task); a.Decision != message.Approve || len(a.Evidence) != 1 {
		t.Fatalf("after a restart: %s because of %v", a.Decision, a.Reasons)
	}
}

// TestAttackRejectionAfterApproval: a person's rejection is said although the role
// has approved and has no task any more, and is final; an agreement is not said
// that way.
func TestAttackRejectionAfterApproval(t *testing.T) {
	w, i, task := voted(t, message.Approve)
	if a, _ := i.one(task); a.Decision != message.Approve {
		t.Fatalf("after the vote: %s", a.Decision)
	}
	if rejected, err := i.Overrule(t.Context(), task.Request, task.Body); err != nil || rejected || len(w.queue.said) != 0 {
		t.Fatalf("without a rejection: %v, %v, said %v", rejected, err, w.queue.said)
	}
	must(t, i.Append(t.Context(), w.vote(task, i, message.Reject)))
	rejected, err := i.Overrule(t.Context(), task.Request, task.Body)
	if err != nil || !rejected || len(w.queue.said) != 1 || !w.queue.said[0].Decisive {
		t.Fatalf("%v, %v, said %v", rejected, err, w.queue.said)
	}
	if a, _ := w.open(&w.queue.said[0]); a.Decision != message.Reject || code(a) != approval.CodeRejected || a.Envelope != task.Hash {
		t.Fatalf("said %s because of %v", a.Decision, a.Reasons)
	}
	if a, _ := i.one(task); a.Decision != message.Reject {
		t.Fatalf("asked again: %s", a.Decision)
	}
}

// TestRejectionThatCannotBeSaid: whoever rejects while no signing service can hear
// it is told so.
func TestRejectionThatCannotBeSaid(t *testing.T) {
	w, i, task := voted(t, message.Reject)
	w.clock.advance(time.Hour)
	if _, err := i.Overrule(t.Context(), task.Request, task.Body); !errors.Is(err, policy.ErrNotSaid) || len(w.queue.said) != 0 {
		t.Fatalf("%v, said %v", err, w.queue.said)
	}
}

// TestAttackHumanRejectionAskedAgain: what one person has rejected stays
// rejected in whatever envelope it comes back.
func TestAttackHumanRejectionAskedAgain(t *testing.T) {
	w, i, task := voted(t, message.Reject)
	if a, _ := i.one(task); a.Decision != message.Reject {
		t.Fatalf("after the vote: %s", a.Decision)
	}
	var e message.Envelope
	must(t, message.Decode(task.Body, &e))
	w.clock.advance(time.Minute)
	again := w.envelop(e.Statement)
	if a, _ := i.one(again); a.Decision != message.Reject || code(a) != approval.CodeRejected {
		t.Fatalf("in another envelope: %s because of %v", a.Decision, a.Reasons)
	}
	if v := i.deliver(w.accounts()("3000000000000000000"))[0]; v.Disposition != queue.Park {
		t.Fatal("another request does not wait")
	}
}

// voted is a transfer that has waited for people, and on which bob has voted.
func voted(t *testing.T, decision message.Decision) (*world, *instance, queue.Task) {
	t.Helper()
	w := initialised(t)
	task := w.accounts()("3000000000000000000")
	i := w.start(approval.New(w.clock.Now)).ready()
	i.deliver(task)
	must(t, i.Append(t.Context(), w.vote(task, i, decision)))
	return w, i, task
}

// vote is the record that the approval service's API appends for bob's vote.
func (w *world) vote(task queue.Task, i *instance, decision message.Decision) []byte {
	w.t.Helper()
	var e message.Envelope
	must(w.t, message.Decode(task.Body, &e))
	m := w.Deployment.Interpret(w.descriptors.(*deploymenttest.Records), e)
	vote := w.Deployment.Vote(message.Vote{
		Version: message.Version, Deployment: w.Deployment.ID, Request: task.Request.String(),
		Envelope: task.Hash, Digests: m.Digests, Decision: decision, Approver: deploymenttest.Approver,
		Policy: w.policies.Active().Ref.Hash, Expires: m.Statement.Expires,
	}, w.Deployment.ApproverKey)
	body, err := message.Encode(struct {
		Version  int          `json:"version"`
		Envelope message.Hash `json:"envelope"`
		Vote     string       `json:"vote"`
		Expires  message.Time `json:"expires"`
	}{message.Version, task.Hash, vote, m.Statement.Expires})
	must(w.t, err)
	return body
}

var (
	_ policy.Recorder = (*ruled.Decider)(nil)
	_ policy.Rereader = (*ruled.Decider)(nil)
	_ policy.Preparer = (*ruled.Decider)(nil)
	_ policy.Recorder = (*approval.Decider)(nil)
	_ policy.Preparer = (*approval.Decider)(nil)
)
