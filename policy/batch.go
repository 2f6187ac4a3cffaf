package policy

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// How requests are taken from the queue.
const (
	// batch is the most requests that are taken at once. Nothing waits for a
	// batch to fill; under load it bounds what has gathered meanwhile, and a larger
	// one makes the following stages' batches larger too: with 256 the whole
	// signs a third more per second than with 64.
	batch = 256
	// workers is 1 so that what arrives during a commit makes one batch and not
	// several; a batch is worked on by all cores.
	workers = 1
	// poll is how often to look without being woken.
	poll = time.Second
	// maxAttempts is how often a failing request is tried before it is put
	// aside. Denying is no failure.
	maxAttempts = 5
	// waitRecheck is how often a waiting request is decided again without
	// being woken: after a new policy it may need no people any more.
	waitRecheck = 30 * time.Second
	// retrySoon is the delay while something is missing that is on its way,
	// such as a hello; retryLater while something is broken.
	retrySoon  = 200 * time.Millisecond
	retryLater = 2 * time.Second
)

func (s *Service) consume(ctx context.Context) error {
	return s.cfg.Queue.Consume(ctx, queue.Consumer{
		Name: s.cfg.Role, Batch: batch, Workers: workers, Poll: poll, MaxAttempts: maxAttempts,
		AfterCommit: func([]queue.Task, []queue.Verdict) { s.memory.confirm() },
	}, s.handle)
}

// handle decides one batch. Whatever it returns verdicts for is on record
// already: should they not be delivered, the requests come again, and what
// counts, counts once.
func (s *Service) handle(ctx context.Context, tasks []queue.Task) (queue.Work, error) {
	if len(tasks) == 0 {
		return queue.Work{}, nil
	}
	base := Request{Policy: s.cfg.Policy.Active(), Now: s.cfg.Now()}
	if base.Policy == nil {
		return all(tasks, retry(retryLater, "no policy document is active")), nil
	}
	epochs := s.links.live(base.Now, base.Policy.Ref)
	if len(epochs) == 0 {
		s.links.nudge()
		return all(tasks, retry(retrySoon, "no signing service has said hello under the active policy")), nil
	}
	items := make([]*item, len(tasks))
	s.each(len(tasks), func(i int) { items[i] = s.prepare(ctx, tasks[i], base) })
	verdicts := make([]queue.Verdict, len(tasks))
	basis, err := s.memory.decide(ctx, items, func() {
		s.each(len(items), func(i int) { verdicts[i] = s.verdict(items[i], epochs) })
	})
	switch {
	case errors.Is(err, errOldPolicy):
		s.cfg.Log.Error("policy document is older than one decided under before", "role", s.cfg.Role)
		s.cfg.Policy.RequireAtLeast(s.memory.newestPolicy())
		return all(tasks, retry(retryLater, errOldPolicy.Error())), nil
	case errors.Is(err, errContended), errors.Is(err, errRefused):
		s.cfg.Log.Warn("batch was put off", "role", s.cfg.Role, "reason", err)
		return all(tasks, retry(retryLater, err.Error())), nil
	case err != nil:
		return queue.Work{}, err
	}
	return queue.Work{Verdicts: verdicts, Basis: basis}, nil
}

// perCore is the least share of a batch that is worth a goroutine: an item
// takes a tenth of a millisecond.
const perCore = 4

// each calls f for every item of a batch, a large one's on all cores. A panic
// of f is one of the caller's, as if there were no goroutines.
func (s *Service) each(n int, f func(i int)) {
	cores := min(runtime.GOMAXPROCS(0), n/perCore)
	if cores < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var wait sync.WaitGroup
	var panicked atomic.Bool
	for first := range cores {
		wait.Go(func() {
			defer func() {
				if recover() != nil { // its value could hold anything
					s.cfg.Log.Error("batch panicked", "role", s.cfg.Role, "stack", string(debug.Stack()))
					panicked.Store(true)
				}
			}()
			for i := first; i < n; i += cores {
				f(i)
			}
		})
	}
	wait.Wait()
	if panicked.Load() {
		panic(errPanic)
	}
}

// verdict turns a decision into the queue's terms. What has been decided and
// recorded but cannot be said now is said later.
func (s *Service) verdict(it *item, epochs []*link) queue.Verdict {
	switch {
	case it.retry != "":
		return retry(retryLater, it.retry)
	case it.task.Offered && it.final():
		// A "no" is for good, and anybody may have sent these bytes.
		return queue.Verdict{Disposition: queue.Reread}
	case it.decision.Verdict == Wait && !it.dry():
		return queue.Verdict{Disposition: queue.Park, Delay: waitRecheck, Note: message.Cut(it.decision.Note, maxDetail)}
	}
	reply, err := s.reply(it, epochs)
	if err != nil {
		s.cfg.Log.Error("decision cannot be signed now", "request", it.task.Request, "error", err)
		return retry(retrySoon, "the decision cannot be signed now")
	}
	if s.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		s.cfg.Log.Debug("request decided", "role", s.cfg.Role, "request", it.task.Request, "decisive", reply.Decisive)
	}
	return queue.Verdict{Disposition: queue.Done, Reply: reply}
}

func retry(delay time.Duration, note string) queue.Verdict {
	return queue.Verdict{Disposition: queue.Retry, Delay: delay, Note: note}
}

func all(tasks []queue.Task, v queue.Verdict) queue.Work {
	out := make([]queue.Verdict, len(tasks))
	for i := range out {
		out[i] = v
	}
	return queue.Work{Verdicts: out}
}
