package policy_test

import (
	"errors"
	"testing"

	"github.com/countersign/countersign/queue"
)

// TestAttackCommitsFailForLong: while the database refuses every commit (a full
// disk), each delivery decides again and makes records again. What is kept of
// them stays bounded, nothing is decided beyond it, and afterwards everything
// goes on.
func TestAttackCommitsFailForLong(t *testing.T) {
	w := initialised(t)
	i := w.start(newCounter(1000)).ready()
	tasks := w.tasks(60)
	for range 150 {
		if _, err := i.attempt(crash, tasks...); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
	}
	for _, v := range i.deliver(tasks...) {
		if v.Disposition != queue.Retry || v.Reply != nil {
			t.Fatalf("verdict %+v, want to be tried again when the records are written", v)
		}
	}
	if n := approvals(i.deliver(tasks...)); n != len(tasks) {
		t.Fatalf("%d approvals, want %d", n, len(tasks))
	}
	var size int
	must(t, w.Owner.QueryRowContext(t.Context(), "SELECT sum(octet_length(body)) FROM countersign.record").Scan(&size))
	if size > 800_000 { // without a bound it is twice as much, and grows
		t.Fatalf("the chain has %d bytes", size)
	}
	fresh := newCounter(1000)
	w.start(fresh).ready()
	if len(fresh.counted) != len(tasks) {
		t.Fatalf("the chain counts %d, want %d", len(fresh.counted), len(tasks))
	}
}
