package signing

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
)

// How requests are taken from the queue.
const (
	// batch bounds a transaction: 256 verifications take about 120 ms of one
	// core, a fraction of the lease. Nothing waits for a batch to fill.
	batch = 256
	// workers is 1 so that what arrives during a commit makes one batch and not
	// several; a batch is verified and carried out on all cores.
	workers    = 1
	gatherPoll = 500 * time.Millisecond
	// defaultLease is much longer than a signature takes, and short enough
	// after a crash.
	defaultLease = 5 * time.Second
	// concludeTimeout bounds what is done after the commit, so that a stop of
	// the service does not wait for a database that is gone.
	concludeTimeout = 20 * time.Second
	// pause is the delay before a case that could not be examined, or whose
	// end the two clocks disagree on, is looked at again.
	pause = time.Second
)

func (s *Service) gatherer() queue.Gatherer {
	return queue.Gatherer{
		Consumer: queue.Consumer{
			Name: secrets.ServiceSigning, Batch: batch, Workers: workers, Poll: gatherPoll,
			// A request ends by a result or by its own expiry, never as a dead
			// letter: handle returns an error only if the database fails.
			MaxAttempts: math.MaxInt32,
		},
		Senders: s.cfg.Genesis.Roles,
		Epochs:  s.verifier.Epochs,
	}
}

// work is what one batch comes to, within its transaction.
type work struct {
	s        *Service
	tx       *sql.Tx
	verdicts []queue.Verdict
	requests []*countersigned.Request // to be carried out after the commit
	intents  []queue.Intent
	ends     []end // to be committed after the commit
}

// handle verifies a batch and records the intents with their audit entries in
// its transaction. Keys are opened, and results written, in what it returns,
// which runs after the commit. Until then, and for some seconds more, the lease
// keeps other instances away.
func (s *Service) handle(ctx context.Context, tx *sql.Tx, cases []queue.Gathered) ([]queue.Verdict, func(context.Context) error, error) {
	w := &work{s: s, tx: tx}
	for i, e := range w.verify(ctx, cases) {
		verdict, err := w.take(ctx, cases[i], e)
		if err != nil {
			return nil, nil, err
		}
		w.verdicts = append(w.verdicts, verdict)
	}
	if err := w.record(ctx); err != nil {
		return nil, nil, err
	}
	return w.verdicts, w.conclude, nil
}

// examined is what verifying one case came to.
type examined struct {
	finding countersigned.Finding
	err     error
}

// verify verifies a batch, on all cores. It looks a second time at those that
// lack approvals although replies are there: a new instance's first approval
// may be read before its announcement.
func (w *work) verify(ctx context.Context, cases []queue.Gathered) []examined {
	out := make([]examined, len(cases))
	look := func(i int) { out[i].finding, out[i].err = w.s.verifier.Verify(ctx, caseOf(cases[i])) }
	onAllCores(len(cases), look)
	var again []int
	for i, e := range out {
		if e.err == nil && e.finding.Ruling == countersigned.Incomplete && len(cases[i].Replies) > 0 {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return out
	}
	if err := w.s.listen(ctx); err != nil {
		for _, i := range again {
			out[i].err = err
		}
		return out
	}
	onAllCores(len(again), func(i int) { look(again[i]) })
	return out
}

func (w *work) take(ctx context.Context, g queue.Gathered, e examined) (queue.Verdict, error) {
	f := e.finding
	if e.err != nil {
		w.s.cfg.Log.Warn("request could not be examined", "request", g.Request, "error", e.err)
		return queue.Verdict{Disposition: queue.Retry, Delay: pause}, nil
	}
	switch f.Ruling {
	case countersigned.Countersigned:
		return w.countersigned(g.Request, f.Request)
	case countersigned.Rejected:
		return w.end(g.Request, f, message.StatusRejected)
	case countersigned.Expired:
		return w.end(g.Request, f, message.StatusExpired)
	}
	return w.incomplete(ctx, g, f)
}

func caseOf(g queue.Gathered) countersigned.Case {
	c := countersigned.Case{ID: g.Request.String(), Envelope: g.Body, Overdue: g.Overdue}
	for _, r := range g.Replies {
		c.Replies = append(c.Replies, countersigned.Reply{Approval: r.Body, Attachment: r.Attachment})
	}
	return c
}

func (w *work) countersigned(id uuid.UUID, r *countersigned.Request) (queue.Verdict, error) {
	intent, err := r.Intent()
	if err != nil {
		return queue.Verdict{}, err
	}
	w.s.asked.answered(id)
	w.requests = append(w.requests, r)
	w.intents = append(w.intents, queue.Intent{Request: id, Instance: w.s.cfg.Instance, Body: intent})
	return queue.Verdict{Disposition: queue.Retry, Delay: w.s.cfg.Lease}, nil
}

func (w *work) end(id uuid.UUID, f countersigned.Finding, status message.Status) (queue.Verdict, error) {
	e, err := w.s.conclusion(id, message.Result{
		Envelope: f.Envelope, Status: status, Reasons: f.Reasons, Approvals: f.Approvals,
	})
	if err != nil {
		return queue.Verdict{}, err
	}
	w.ends = append(w.ends, e)
	return queue.Verdict{Disposition: queue.Retry, Delay: w.s.cfg.Lease}, nil
}

// incomplete asks the roles whose approvals do not hold, and waits.
func (w *work) incomplete(ctx context.Context, g queue.Gathered, f countersigned.Finding) (queue.Verdict, error) {
	note := noteOf(f)
	if g.Overdue {
		// By the statement and our clock it has not expired yet.
		return queue.Verdict{Disposition: queue.Retry, Delay: pause, Note: note}, nil
	}
	if w.s.asked.ask(g.Request, f.Missing) {
		w.s.cfg.Log.Info("asking again", "request", g.Request, "missing", f.Missing, "reasons", note)
		if err := w.s.cfg.Queue.AskAgain(ctx, w.tx, g.Request, f.Missing); err != nil {
			return queue.Verdict{}, fmt.Errorf("asking again: %w", err)
		}
	}
	return queue.Verdict{Disposition: queue.Await, Note: note}, nil
}

func noteOf(f countersigned.Finding) string {
	var parts []string
	for _, r := range f.Reasons {
		parts = append(parts, r.Role+": "+r.Code)
	}
	return strings.Join(parts, ", ")
}

// record writes the intents with their audit entries, in one statement.
func (w *work) record(ctx context.Context) error {
	if err := w.s.cfg.Queue.RecordIntents(ctx, w.tx, w.intents); err != nil {
		return fmt.Errorf("recording intents: %w", err)
	}
	return nil
}

// conclude carries out what was approved, and commits all results: creations
// each in a transaction of its own, the rest together. It logs its errors and
// returns none: whatever has no result yet is verified again when its lease is
// over.
func (w *work) conclude(ctx context.Context) error {
	// What was begun is finished, also when the service is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), concludeTimeout)
	defer cancel()
	for _, e := range w.carryOut(ctx) {
		switch {
		case e.creates():
			w.logged(1, w.s.create(ctx, e))
		case e.result.Body != nil:
			w.ends = append(w.ends, e)
		}
	}
	if len(w.ends) > 0 {
		w.logged(len(w.ends), w.s.commit(ctx, w.ends...))
	}
	return nil
}

// carryOut carries out what was approved, on all cores. The end of what is to
// be verified again is empty.
func (w *work) carryOut(ctx context.Context) []end {
	ends := make([]end, len(w.requests))
	onAllCores(len(ends), func(i int) {
		var err error
		if ends[i], err = w.s.do(ctx, w.requests[i]); err != nil {
			w.s.cfg.Log.Warn("request was not concluded", "request", w.requests[i].ID(), "error", err)
			ends[i] = end{}
		}
	})
	return ends
}

func (w *work) logged(results int, err error) {
	if err != nil {
		w.s.cfg.Log.Warn("results were not committed", "results", results, "error", err)
	}
}
