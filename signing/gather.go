package signing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
)

// How requests are taken from the queue.
const (
	// batch bounds a transaction: 32 verifications take about 10 ms.
	batch = 32
	// workers let one batch be verified while another one's commit waits for
	// the disk.
	workers    = 4
	gatherPoll = 500 * time.Millisecond
	// lease is how long a recorded intent keeps other instances away: much
	// longer than a signature takes, short enough after a crash.
	lease = 5 * time.Second
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
			AfterRollback: func(err error) {
				s.cfg.Log.Warn("batch rolled back", "error", err)
			},
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
	entries  []audit.Entry
	results  []queue.Result
}

// handle verifies a batch and, in the transaction, records the intents with
// their audit entries, or the results of what ends here. Keys are opened in
// what it returns, which runs after the commit.
func (s *Service) handle(ctx context.Context, tx *sql.Tx, cases []queue.Gathered) ([]queue.Verdict, func(context.Context) error, error) {
	w := &work{s: s, tx: tx}
	for _, g := range cases {
		verdict, err := w.take(ctx, g)
		if err != nil {
			return nil, nil, err
		}
		w.verdicts = append(w.verdicts, verdict)
	}
	if err := w.record(ctx); err != nil {
		return nil, nil, err
	}
	return w.verdicts, func(ctx context.Context) error {
		for _, r := range w.results {
			s.asked.forget(r.Request)
		}
		return s.carryOut(ctx, w.requests)
	}, nil
}

func (w *work) take(ctx context.Context, g queue.Gathered) (queue.Verdict, error) {
	f, err := w.s.verifier.Verify(ctx, caseOf(g))
	if err != nil {
		w.s.cfg.Log.Warn("request could not be examined", "request", g.Request, "error", err)
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
	w.entries = append(w.entries, audit.Entry{Kind: audit.KindIntent, Request: id, Body: intent})
	return queue.Verdict{Disposition: queue.Retry, Delay: lease}, nil
}

func (w *work) end(id uuid.UUID, f countersigned.Finding, status message.Status) (queue.Verdict, error) {
	result, err := w.s.result(id, message.Result{
		Envelope: f.Envelope, Status: status, Reasons: f.Reasons, Approvals: f.Approvals,
	})
	if err != nil {
		return queue.Verdict{}, err
	}
	w.results = append(w.results, result)
	return queue.Verdict{Disposition: queue.Done}, nil
}

// incomplete asks the roles whose approvals do not hold, and waits.
func (w *work) incomplete(ctx context.Context, g queue.Gathered, f countersigned.Finding) (queue.Verdict, error) {
	note := noteOf(f)
	if g.Overdue {
		// By the statement and our clock it has not expired yet.
		return queue.Verdict{Disposition: queue.Retry, Delay: pause, Note: note}, nil
	}
	if w.s.asked.ask(g.Request, f.Missing) {
		w.s.cfg.Log.Info("asking again", "request", g.Request, "missing", f.Missing)
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

func (w *work) record(ctx context.Context) error {
	if len(w.intents) > 0 {
		if err := w.s.cfg.Queue.RecordIntents(ctx, w.tx, w.intents); err != nil {
			return fmt.Errorf("recording intents: %w", err)
		}
	}
	if len(w.results) > 0 {
		if err := w.s.finish(ctx, w.tx, w.results, &w.entries); err != nil {
			return err
		}
	}
	return w.s.append(ctx, w.tx, w.entries)
}

func (s *Service) append(ctx context.Context, tx *sql.Tx, entries []audit.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := s.cfg.Audit.Append(ctx, tx, entries); err != nil {
		return fmt.Errorf("appending to the audit log: %w", err)
	}
	return nil
}

// carryOut does what was approved, after the intents were committed. An error
// of one request does not hold up the others: it is verified again when the
// lease is over.
func (s *Service) carryOut(ctx context.Context, requests []*countersigned.Request) error {
	if len(requests) == 0 {
		return nil
	}
	// What was begun is finished, also when the service is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer cancel()
	var faults []error
	var ends []end
	for _, r := range requests {
		e, err := s.do(ctx, r)
		switch {
		case err != nil:
			faults = append(faults, err)
		case e.creates():
			faults = append(faults, s.commit(ctx, e))
		case e.result.Body != nil:
			ends = append(ends, e)
		}
	}
	if len(ends) > 0 {
		faults = append(faults, s.commit(ctx, ends...))
	}
	return errors.Join(faults...)
}
