package proposer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

const (
	// firstGap lies between two looks at a request that has just changed. It
	// doubles with each look that finds nothing new, up to lastGap: most
	// requests end within a second, those that do not wait for people.
	firstGap = 100 * time.Millisecond
	lastGap  = 2 * time.Second
	// looksPerSecond is how many looks all streams together may cost the
	// database. When more requests are followed each is looked at less often;
	// its result still comes at once.
	looksPerSecond = 40
)

// standing is a request as it stands: its JSON, and a tag that changes with it
// and is the same on every replica.
type standing struct {
	body  []byte
	tag   string
	ended bool
}

// follower keeps the requests that streams show up to date. A request is looked
// at once for all streams that show it, however many these are; the queue says
// when it has its result, and for its replies it is polled gently. It is safe
// for concurrent use.
type follower struct {
	// look reads a request as it stands.
	look func(ctx context.Context, id uuid.UUID) (standing, error)
	// await returns nil as soon as a request has its result.
	await func(ctx context.Context, id uuid.UUID) error
	log   *slog.Logger
	pace  *rate.Limiter

	mu       sync.Mutex
	followed map[uuid.UUID]*followed
	looks    uint64
}

func newFollower(log *slog.Logger) *follower {
	return &follower{log: log, pace: rate.NewLimiter(looksPerSecond, 1), followed: map[uuid.UUID]*followed{}}
}

// followed is one request that streams show.
type followed struct {
	id      uuid.UUID
	streams int // under the follower's lock
	stop    context.CancelFunc

	mu      sync.Mutex
	latest  standing
	look    uint64        // the number of the look that found it
	changed chan struct{} // closed when latest is replaced
}

// number numbers a look that is about to begin: of two that overlap, the one
// that began later is believed.
func (f *follower) number() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return f.looks
}

// follow begins to show a request, which the caller has found as it stands, by
// a look with that number. The returned function ends it.
func (f *follower) follow(id uuid.UUID, number uint64, found standing) (*followed, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.followed[id]
	if x == nil {
		ctx, stop := context.WithCancel(context.Background())
		x = &followed{id: id, stop: stop, changed: make(chan struct{})}
		f.followed[id] = x
		x.update(number, found)
		go f.run(ctx, x)
	} else {
		x.update(number, found)
	}
	x.streams++
	return x, func() { f.leave(x) }
}

// leave ends one stream; with the last one the looks end.
func (f *follower) leave(x *followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.streams--; x.streams == 0 {
		x.stop()
		delete(f.followed, x.id)
	}
}

// now returns the request as it stands and what is closed when that changes.
func (x *followed) now() (standing, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.latest, x.changed
}

// update takes what a look found and says whether it is new.
func (x *followed) update(number uint64, found standing) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if number <= x.look || x.latest.ended {
		return false
	}
	x.look = number
	if found.tag == x.latest.tag {
		return false
	}
	x.latest = found
	close(x.changed)
	x.changed = make(chan struct{})
	return true
}

// run looks at a request until it has ended or ctx ends.
func (f *follower) run(ctx context.Context, x *followed) {
	result := make(chan struct{})
	go func() {
		if f.await(ctx, x.id) == nil {
			close(result)
		}
	}()
	gap, failing := firstGap, false
	for {
		if now, _ := x.now(); now.ended {
			return
		}
		if f.pause(ctx, result, gap) {
			result = nil // it wakes once
		}
		if ctx.Err() != nil {
			return
		}
		fresh, err := f.refresh(ctx, x)
		if err != nil && !failing {
			f.log.WarnContext(ctx, "looking at a followed request failed", "request", x.id, "error", err)
		}
		failing = err != nil
		if gap = min(2*gap, lastGap); fresh {
			gap = firstGap
		}
	}
}

// pause waits for the gap and then for a turn among all that are followed; true
// if the result came first.
func (f *follower) pause(ctx context.Context, result <-chan struct{}, gap time.Duration) bool {
	if over, woken := idle(ctx, result, gap); !over {
		return woken
	}
	turn := f.pace.Reserve()
	over, woken := idle(ctx, result, turn.Delay())
	if !over {
		turn.Cancel()
	}
	return woken
}

// idle waits: over says that the time is, woken that the result is there.
func idle(ctx context.Context, result <-chan struct{}, d time.Duration) (over, woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, false
	case <-result:
		return false, true
	case <-ctx.Done():
		return false, false
	}
}

var errLookPanicked = errors.New("looking at the request panicked")

// refresh looks once. What lies in the database may be anything, and a panic
// here, outside of any call, would end the service.
func (f *follower) refresh(ctx context.Context, x *followed) (fresh bool, err error) {
	defer func() {
		if recover() != nil {
			err = errLookPanicked
		}
	}()
	number := f.number()
	found, err := f.look(ctx, x.id)
	if err != nil {
		return false, err
	}
	return x.update(number, found), nil
}
