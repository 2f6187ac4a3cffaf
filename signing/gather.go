package signing

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/signing/internal/cores"
)

// How requests are taken from the queue.
const (
	// batch bounds what is taken at once: 256 verifications take about 90 ms of
	// one core, a fraction of the lease. Nothing waits for a batch to fill.
	batch = 256
	// workers is 1 so that what arrives during a commit makes one batch and not
	// several; a batch is verified and carried out on all cores.
	workers    = 1
	gatherPoll = 500 * time.Millisecond
	// defaultLease is much longer than a signature takes, and short enough
	// after a crash.
	defaultLease = 5 * time.Second
	// carryOutTimeout bounds the making of a key, for which a device may be
	// asked, and the writing of its record.
	carryOutTimeout = 20 * time.Second
	// pause is the delay before a case that could not be examined, or whose
	// end the two clocks disagree on, is looked at again.
	pause = time.Second
	// lastCall is when, before a statement's end, nobody is asked any more about
	// a request that has ended for the database: its clock may be the right one.
	lastCall = 30 * time.Second
)

func (s *Service) gatherer() queue.Gatherer {
	return queue.Gatherer{
		Consumer: queue.Consumer{
			Name: secrets.ServiceSigning, Batch: batch, Workers: workers, Poll: gatherPoll, Lease: s.cfg.Lease,
			// A request ends by a result or by its own expiry, never as a dead
			// letter: handle returns an error only if the database fails.
			MaxAttempts: math.MaxInt32,
		},
		Senders: s.cfg.Genesis.Roles,
		Epochs:  s.verifier.Epochs,
		Heard:   s.heard,
	}
}

// maxEarly is how many replies may wait to be looked at early; more are looked
// at when all of their request are there.
const maxEarly = 64

// heard has a reply looked at while the others are still on their way.
func (s *Service) heard(task queue.Task, reply queue.Reply) {
	c := countersigned.Case{
		ID: task.Request.String(), Envelope: task.Body,
		Replies: []countersigned.Reply{{Approval: reply.Body, Attachment: reply.Attachment}},
	}
	select {
	case s.early <- c:
	default:
	}
}

func (s *Service) lookEarly(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.early:
			s.prepare(ctx, c)
		}
	}
}

// prepare drops a panic: verifying the request will meet with it again.
func (s *Service) prepare(ctx context.Context, c countersigned.Case) {
	defer func() { _ = recover() }()
	s.verifier.Prepare(ctx, c)
}

// work is what one batch comes to.
type work struct {
	s        *Service
	verdicts []queue.Verdict
	requests []*countersigned.Request // to be carried out when the intents stand
	intents  []queue.Intent
	ends     []end // to be committed after the verdicts
}

// handle verifies a batch that was leased to this instance. The queue commits
// the intents with their audit entries, and only if they stand it has conclude
// open keys and write results. The lease keeps other instances away until then;
// what has no result when it is over is verified again, by whoever is first.
func (s *Service) handle(ctx context.Context, cases []queue.Gathered) (queue.Work, error) {
	w := &work{s: s}
	for i, e := range w.verify(ctx, cases) {
		verdict, err := w.take(ctx, cases[i], e)
		if err != nil {
			return queue.Work{}, err
		}
		w.verdicts = append(w.verdicts, verdict)
	}
	out := queue.Work{Verdicts: w.verdicts, Intents: w.intents}
	if len(w.requests) > 0 || len(w.ends) > 0 {
		out.After = w.conclude
	}
	return out, nil
}

// verify verifies a batch. It looks a second time at those that lack approvals
// although replies are there, and at those that would be signed beside a reply
// that ends them: what a new instance says first may be read before its
// announcement.
func (w *work) verify(ctx context.Context, gathered []queue.Gathered) []countersigned.Examined {
	cases := make([]countersigned.Case, len(gathered))
	for i, g := range gathered {
		cases[i] = caseOf(g)
	}
	out := w.s.verifier.VerifyAll(ctx, cases)
	var late []int
	var again []countersigned.Case
	for i, e := range out {
		if e.Err == nil && unheard(e.Finding.Ruling, gathered[i].Replies) {
			late, again = append(late, i), append(again, cases[i])
		}
	}
	if len(again) == 0 {
		return out
	}
	if err := w.s.listen(ctx); err != nil {
		for _, i := range late {
			out[i].Err = err
		}
		return out
	}
	for j, e := range w.s.verifier.VerifyAll(ctx, again) {
		out[late[j]] = e
	}
	return out
}

func unheard(r countersigned.Ruling, replies []queue.Reply) bool {
	switch r {
	case countersigned.Incomplete:
		return len(replies) > 0
	case countersigned.Countersigned:
		return slices.ContainsFunc(replies, func(r queue.Reply) bool { return r.Decisive })
	}
	return false
}

func (w *work) take(ctx context.Context, g queue.Gathered, e countersigned.Examined) (queue.Verdict, error) {
	f := e.Finding
	if g.Offered && (e.Err != nil || f.Ruling != countersigned.Countersigned) {
		// Anybody may have sent these bytes: a request ends otherwise only as it is read.
		return queue.Verdict{Disposition: queue.Reread}, nil
	}
	if e.Err != nil {
		w.s.cfg.Log.Warn("request could not be examined", "request", g.Request, "error", e.Err)
		return queue.Verdict{Disposition: queue.Retry, Delay: pause}, nil
	}
	switch {
	case f.Ruling == countersigned.Rejected:
		return w.end(g.Request, f, message.StatusRejected)
	case f.Ruling == countersigned.Expired:
		return w.end(g.Request, f, message.StatusExpired)
	case g.Cancelled && !freezes(f):
		f.Reasons = cancelled
		return w.end(g.Request, f, message.StatusCancelled)
	case f.Ruling == countersigned.Countersigned:
		return w.countersigned(g.Request, f.Request)
	}
	return w.incomplete(ctx, g, f)
}

// freezes says whether every role has put a freeze in force: nothing of it can be
// taken back but by a policy document.
func freezes(f countersigned.Finding) bool {
	if f.Ruling != countersigned.Countersigned {
		return false
	}
	kind := f.Request.Kind()
	return kind == message.KindWalletFreeze || kind == message.KindUserFreeze
}

// cancelled is why a request ends that was taken back.
var cancelled = []message.RoleReason{{Role: message.RoleSigning, Reason: message.Reason{
	Code: CodeCancelled, Detail: "it was cancelled before anything was signed",
}}}

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
	return queue.Verdict{Disposition: queue.Hold}, nil
}

func (w *work) end(id uuid.UUID, f countersigned.Finding, status message.Status) (queue.Verdict, error) {
	e, err := w.s.conclusion(id, message.Result{
		Envelope: f.Envelope, Status: status, Reasons: f.Reasons, Approvals: f.Approvals,
	})
	if err != nil {
		return queue.Verdict{}, err
	}
	w.ends = append(w.ends, e)
	return queue.Verdict{Disposition: queue.Hold}, nil
}

// incomplete asks the roles whose approvals do not hold, and waits. Where it names
// none, nothing is lacking but time.
func (w *work) incomplete(ctx context.Context, g queue.Gathered, f countersigned.Finding) (queue.Verdict, error) {
	note := noteOf(f)
	// By the statement and our clock it has not expired yet.
	later := queue.Verdict{Disposition: queue.Retry, Delay: pause, Note: note}
	if len(f.Missing) == 0 || g.Overdue && f.Expires.Before(w.s.cfg.Now().Add(lastCall)) {
		return later, nil
	}
	if w.s.asked.ask(g.Request, f.Missing) {
		w.s.cfg.Log.Info("asking again", "request", g.Request, "missing", f.Missing, "reasons", note)
		if err := w.s.cfg.Queue.AskAgain(ctx, g.Request, f.Missing); err != nil {
			return queue.Verdict{}, fmt.Errorf("asking again: %w", err)
		}
	}
	if g.Overdue { // the database's clock is ahead, and it would not let it rest
		return later, nil
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

// conclude carries out what was approved, and commits all results: creations
// each in a transaction of its own, the rest together. It logs its errors and
// returns none: whatever has no result yet is verified again when its lease is
// over. Statements that are part of every request run under the queue's own
// context, which nothing cancels: the connection bounds them, and watching a
// context costs two changes of goroutine for each.
func (w *work) conclude(ctx context.Context) error {
	for _, e := range w.carryOut(ctx) {
		switch {
		case e.creates():
			w.create(ctx, e)
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
	ctx, cancel := context.WithTimeout(ctx, carryOutTimeout)
	defer cancel()
	ends := make([]end, len(w.requests))
	cores.Each(len(ends), func(i int) {
		var err error
		if ends[i], err = w.s.do(ctx, w.requests[i]); err != nil {
			w.s.cfg.Log.Warn("request was not concluded", "request", w.requests[i].ID(), "error", err)
			ends[i] = end{}
		}
	})
	return ends
}

func (w *work) create(ctx context.Context, e end) {
	ctx, cancel := context.WithTimeout(ctx, carryOutTimeout)
	defer cancel()
	w.logged(1, w.s.create(ctx, e))
}

func (w *work) logged(results int, err error) {
	if err != nil {
		w.s.cfg.Log.Warn("results were not committed", "results", results, "error", err)
	}
}
