package policy_test

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// TestLargeBatchOnAllCores: the verdicts of a large batch are its tasks' own,
// in order, however many cores work on it.
func TestLargeBatchOnAllCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	w := initialised(t)
	i := w.start(always(policy.Approve)).ready()
	tasks := w.tasks(63)
	for n, v := range i.deliver(tasks...) {
		var a message.Approval
		must(t, message.Peek(v.Reply.Body, &a))
		if a.Request != tasks[n].Request.String() || a.Envelope != tasks[n].Hash || a.Decision != message.Approve {
			t.Fatalf("verdict %d is %s on request %s", n, a.Decision, a.Request)
		}
	}
}

// panickingLog is a log that panics where an item of a batch is dealt with.
type panickingLog struct{ slog.Handler }

func (panickingLog) Enabled(context.Context, slog.Level) bool { return true }

func (panickingLog) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "request decided") {
		panic("lost")
	}
	return nil
}

// TestAttackPanicInLargeBatch: a panic on one item of a batch that is spread
// over cores reaches the queue, which deals with panics; it does not end the
// process.
func TestAttackPanicInLargeBatch(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	w := initialised(t)
	cfg := w.config(always(policy.Approve))
	cfg.Log = slog.New(panickingLog{slog.DiscardHandler})
	s, err := policy.New(cfg)
	must(t, err)
	i := w.run(s).ready()
	if _, err := i.attempt(nil, w.tasks(32)...); err == nil { // its records are written meanwhile
		t.Fatal("the panic was swallowed")
	}
	defer func() {
		if recover() == nil {
			t.Fatal("the panic was swallowed")
		}
	}()
	_, _ = i.attempt(nil, w.tasks(32)...) // nothing to be written
}
