package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/transaction"
)

// errPanic stands for a panic that was recovered.
var errPanic = errors.New("panic")

// item is one request on its way through a batch.
type item struct {
	task      queue.Task
	request   Request
	statement message.Hash // of the statement's bytes
	// parsed says that the statement is one of this deployment, so that its
	// meaning may change with what is stored, and a "no" must be kept.
	parsed bool
	// refused is the runtime's own rejection; its Verdict is 0 if there is
	// none.
	refused Decision
	// retry says why the request cannot be decided now; empty if it can.
	retry    string
	decision Decision
}

// lasting reports whether a rejection must be remembered: not where the same
// bytes will be refused at any later time by themselves.
func (it *item) lasting() bool {
	return it.parsed && it.request.Meaning.Statement.Expires.After(it.request.Now)
}

// dry reports whether the request only asks what would be decided.
func (it *item) dry() bool { return it.request.Meaning.Statement.DryRun }

// says is the decision as it is signed.
func (it *item) says() message.Decision {
	switch {
	case it.dry() && it.decision.Verdict == Approve:
		return message.WouldApprove
	case it.dry() && it.decision.Verdict == Wait:
		return message.WouldAsk
	case it.dry():
		return message.WouldReject
	case it.decision.Verdict == Approve:
		return message.Approve
	}
	return message.Reject
}

// final reports whether the decision is a "no" that is for good.
func (it *item) final() bool { return it.decision.Verdict == Reject && !it.dry() }

// early reports whether the user signed at a time that has not come yet by this
// service's clock. A rejection is final, and a clock that was set back is not.
func (it *item) early() bool {
	if it.refused.Verdict != 0 {
		return false
	}
	_, reason := it.request.User()
	return reason != nil && reason.Code == document.CodeEarly
}

func (it *item) rejection(now time.Time) *rejection {
	return &rejection{
		Request: it.task.Request.String(), Envelope: it.request.EnvelopeHash, Statement: it.statement,
		Reasons: it.decision.Reasons, Policy: it.request.Policy.Ref,
		Expires: it.request.Meaning.Statement.Expires, Time: message.At(now),
	}
}

func (it *item) refuse(code, detail string) {
	it.refused = Decision{Verdict: Reject, Reasons: tidy(because(code, detail), true)}
}

// prepare reads one task: everything about it that does not need the role's
// records.
func (s *Service) prepare(ctx context.Context, task queue.Task, base Request) *item {
	it := &item{task: task, request: base}
	it.request.ID, it.request.Submitted = task.Request, task.Submitted
	it.request.EnvelopeHash = message.Sum(task.Body)
	if it.request.EnvelopeHash != task.Hash {
		it.refuse(ReasonAltered, "the stored request was changed after it was written")
		return it
	}
	env := &it.request.Envelope
	if err := message.Decode(task.Body, env); err != nil {
		it.refuse(ReasonEnvelope, "the stored request does not decode")
		return it
	}
	if env.Version != message.Version || env.Deployment != s.cfg.Deployment {
		it.refuse(ReasonEnvelope, "the stored request is of another version or deployment")
		return it
	}
	it.statement = message.Sum(env.Statement)
	s.interpret(ctx, it)
	if it.refused.Verdict == 0 && it.retry == "" {
		it.request = it.request.remembering()
		s.examine(ctx, it)
	}
	if it.refused.Verdict == 0 && it.retry == "" {
		prepareFor(s.cfg.Decider, it.request)
	}
	return it
}

// prepareFor does what a decider can do before the role's records are known. A
// panic is left to Decide, which will meet with it again.
func prepareFor(d Decider, r Request) {
	if p, ok := d.(Preparer); ok {
		defer func() { _ = recover() }()
		p.Prepare(r)
	}
}

// interpret computes the request's meaning and refuses what has none.
func (s *Service) interpret(ctx context.Context, it *item) {
	meaning, err := s.meaning(ctx, it.request.Envelope.Statement)
	it.request.Meaning = meaning
	it.parsed = meaning.Statement.ID == it.task.Request.String()
	if err != nil {
		reasons, ok := interpretationReason(err)
		if !ok {
			s.cfg.Log.Error("request cannot be read now", "request", it.task.Request, "error", err)
			it.retry = "the service cannot read what it needs"
			return
		}
		it.refused = Decision{Verdict: Reject, Reasons: tidy(reasons, true)}
		return
	}
	switch {
	case !it.parsed:
		it.refuse(ReasonEnvelope, "the statement has another id than the request")
	case !meaning.Statement.Expires.After(it.request.Now):
		it.refuse(ReasonExpired, "the statement expired at "+meaning.Statement.Expires.UTC().Format(time.RFC3339))
	case !s.holds(meaning.Releases):
		it.refuse(ReasonGeneration, "the key is sealed under secrets that this service does not hold")
	}
}

// examine refuses a policy document that could not be activated. One that can be
// is activated for its quorum's signatures: a grant lets somebody carry it, no
// more.
func (s *Service) examine(ctx context.Context, it *item) {
	if it.request.Meaning.PolicyUpdate == nil {
		return
	}
	if _, reason := it.request.User(); reason != nil {
		return // the decider refuses it: strangers' documents cost nobody time
	}
	err := s.cfg.Policy.Examine(ctx, *it.request.Meaning.PolicyUpdate)
	switch {
	case errors.Is(err, activation.ErrAway), errors.Is(err, activation.ErrInactive):
		s.cfg.Log.Warn("policy document cannot be examined now", "request", it.task.Request, "error", err)
		it.retry = "the policy document cannot be examined now"
	case err != nil:
		it.refuse(ReasonPolicy, err.Error())
	}
}

// meaning interprets a statement; a panic on a hostile payload is that
// payload's fault.
func (s *Service) meaning(ctx context.Context, statement []byte) (m transaction.Meaning, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Log.Error("interpreter panicked", "stack", string(debug.Stack()))
			err = fmt.Errorf("interpreting: %w", errPanic)
		}
	}()
	return s.interpreter.Interpret(ctx, statement)
}

// holds reports whether this service has a share of every key that a request
// opens.
func (s *Service) holds(releases []transaction.Release) bool {
	for _, r := range releases {
		if _, err := s.shareKey(r.Generation); err != nil {
			return false
		}
	}
	return true
}

// ask asks the decider. Whatever goes wrong denies: no failure of a decider
// is ever a step that was skipped.
func ask(ctx context.Context, d Decider, r Request, log *slog.Logger) (out Decision) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("decider panicked", "request", r.ID, "stack", string(debug.Stack()))
			out = failed()
		}
	}()
	got, err := d.Decide(ctx, r)
	if err != nil {
		log.Error("decider failed", "request", r.ID, "error", err)
		return failed()
	}
	switch got.Verdict {
	case Approve, Wait:
		got.Reasons = tidy(got.Reasons, false)
	case Reject:
		got.Reasons = tidy(got.Reasons, true)
	default:
		log.Error("decider gave no verdict", "request", r.ID)
		return failed()
	}
	return got
}

func failed() Decision {
	return Decision{Verdict: Reject, Reasons: because(ReasonDecider, "the decider failed")}
}
