package readiness

import (
	"context"
	"sync"
	"time"
)

// askTimeout ends a question that heeds its context. Others go on by
// themselves, and nobody asks anew until then.
const askTimeout = 2 * time.Second

// recent asks a question once for all who want the answer at a moment, and
// lets the answer stand for age. It is safe for concurrent use.
type recent[T any] struct {
	ask func(ctx context.Context) T
	age time.Duration

	mu      sync.Mutex
	running chan struct{} // closed at the answer; nil if nobody asks
	answer  T
	at      time.Time // zero: there is no answer
}

// get returns the answer, or the context's error if there is none in time. Who
// goes away does not end the question for the others.
func (r *recent[T]) get(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.running == nil && !r.at.IsZero() && time.Since(r.at) < r.age {
		defer r.mu.Unlock()
		return r.answer, nil
	}
	if r.running == nil {
		r.running = make(chan struct{})
		go r.run(context.WithoutCancel(ctx), r.running)
	}
	running := r.running
	r.mu.Unlock()
	select {
	case <-running:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.answer, nil
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (r *recent[T]) run(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer := r.ask(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.at, r.running = answer, time.Now(), nil
	close(done)
}
