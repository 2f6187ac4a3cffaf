package webhook

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

const (
	// stopGrace is how long messages under way may take when the service stops.
	stopGrace = 3 * time.Second
	// again is when another instance may take what was given back then.
	again = time.Second
)

// endpoint is one webhook. Its address and filters are read from the active
// document at each delivery.
type endpoint struct {
	service  *Service
	id       string
	keys     []*secrets.Secret
	log      *slog.Logger
	stopping context.Context
}

// handle delivers a batch, all of it at once, so that the slowest answer is what
// it takes.
func (e *endpoint) handle(ctx context.Context, tasks []queue.Task) (queue.Work, error) {
	verdicts := make([]queue.Verdict, len(tasks))
	var ended []uuid.UUID
	for i, t := range tasks {
		verdicts[i] = e.wait()
		if t.Ended {
			ended = append(ended, t.Request)
		}
	}
	if len(ended) == 0 {
		return queue.Work{Verdicts: verdicts}, nil
	}
	views, err := e.service.Queue.Ends(ctx, ended)
	if err != nil {
		return queue.Work{}, err
	}
	var posts sync.WaitGroup
	for i, t := range tasks {
		if view, ok := views[t.Request]; ok && view.Result != nil {
			posts.Go(func() { verdicts[i] = e.safely(ctx, view) })
		}
	}
	posts.Wait()
	return queue.Work{Verdicts: verdicts}, nil
}

// wait parks a request that has no result yet: the queue wakes it when it has.
func (e *endpoint) wait() queue.Verdict {
	return queue.Verdict{Disposition: queue.Park, Delay: e.service.Recheck}
}

// safely keeps a panic to the request that it is about.
func (e *endpoint) safely(ctx context.Context, v queue.View) (verdict queue.Verdict) {
	defer func() {
		if recover() != nil { // what with is not logged: it could hold anything
			e.log.Error("delivering a webhook panicked", "request", v.ID, "stack", string(debug.Stack()))
			verdict = e.failed(v, v.Result.Created, "delivering it panicked", 0)
		}
	}()
	return e.deliver(ctx, v)
}

func (e *endpoint) deliver(ctx context.Context, v queue.View) queue.Verdict {
	active := e.service.Policy.Active()
	if active == nil {
		return e.wait()
	}
	hook, ok := active.Webhook(e.id)
	if !ok { // its tasks are ended soon
		return e.wait()
	}
	event, err := e.service.Outcomes.Outcome(ctx, v)
	if err != nil {
		e.log.Error("outcome is not told", "request", v.ID, "error", err)
		e.service.Observe(Unverified)
		return e.failed(v, v.Result.Created, "the stored result does not verify", 0)
	}
	if !hook.Concerns(v.Owner) || !hook.Wants(event.Data.Status) {
		return e.done(Skipped)
	}
	return e.post(ctx, hook, v, event)
}

func (e *endpoint) done(how End) queue.Verdict {
	e.service.Observe(how)
	return queue.Verdict{Disposition: queue.Done}
}

func (e *endpoint) post(ctx context.Context, hook document.Webhook, v queue.View, event Event) queue.Verdict {
	m, err := e.sign(event)
	if err != nil {
		e.log.Error("outcome is not told", "request", v.ID, "error", err)
		return e.failed(v, event.Timestamp.Time, "its message could not be made", 0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(e.stopping, func() { time.AfterFunc(stopGrace, cancel) })
	defer stop()
	switch err := e.service.poster.post(ctx, hook.URL, m); {
	case err == nil:
		return e.done(Delivered)
	case errors.Is(err, errGone):
		e.log.Warn("webhook is gone: this outcome is not told again", "request", v.ID)
		return e.done(Gone)
	case e.stopping.Err() != nil:
		return queue.Verdict{Disposition: queue.Retry, Delay: again, Note: "broken off at the service's end"}
	default:
		return e.failed(v, event.Timestamp.Time, cause(err), asked(err, e.service.Now()))
	}
}

// failed puts a delivery off, for longer the older the result is or the more time
// the receiver wants, or gives it up.
func (e *endpoint) failed(v queue.View, ended time.Time, why string, wanted time.Duration) queue.Verdict {
	age := e.service.Now().Sub(ended)
	if age >= keepTrying {
		e.log.Error("webhook is given up", "request", v.ID, "cause", why)
		e.service.Observe(GivenUp)
		return queue.Verdict{Disposition: queue.Dead, Note: "not delivered within three days: " + why}
	}
	delay := heed(wanted, retryAfter(age, e.service.FirstRetry), e.service.FirstRetry)
	e.log.Warn("webhook was not delivered", "request", v.ID, "cause", why, "again_after", delay)
	e.service.Observe(Failed)
	return queue.Verdict{Disposition: queue.Park, Delay: delay, Note: why}
}

// sign makes the message: the same bytes and id at each attempt, signed with the
// time of this one.
func (e *endpoint) sign(event Event) (signed, error) {
	body, err := message.Encode(event)
	if err != nil {
		return signed{}, err
	}
	return sign(e.keys, MessageID(event.Data.Request, e.id), e.service.Now(), body)
}
