package proposer

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// buckets are the token buckets of all users: one for submissions, one for
// reads, so that a program that reads too much can still submit.
type buckets struct {
	submissions, reads *userBuckets
}

func newBuckets(l Limits) buckets {
	return buckets{submissions: newUserBuckets(l.Submissions), reads: newUserBuckets(l.Reads)}
}

// allow takes a token for a call of a user's. A call that needs no user is
// cheap and has none.
func (s *Server) allow(route route, user string) error {
	if route.open {
		return nil
	}
	bucket := s.buckets.reads
	if route.method == http.MethodPost {
		bucket = s.buckets.submissions
	}
	after, ok := bucket.take(user, s.now())
	if ok {
		return nil
	}
	return &problemError{Code: CodeRateLimited, Detail: "try again after the time in Retry-After", After: after}
}

// minSweep is the least number of buckets that are worth sweeping.
const minSweep = 1024

// userBuckets are buckets of one kind, by user. A bucket that is full again is
// the same as none and is swept away: there are at most twice as many as users
// who called while a bucket fills. It is safe for concurrent use.
type userBuckets struct {
	rate Rate

	mu      sync.Mutex
	of      map[string]*rate.Limiter
	sweepAt int
}

func newUserBuckets(r Rate) *userBuckets {
	return &userBuckets{rate: r, of: map[string]*rate.Limiter{}, sweepAt: minSweep}
}

// take takes a token; where there is none it says after what time there will
// be.
func (b *userBuckets) take(user string, now time.Time) (after time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.of[user]
	if bucket == nil {
		b.sweep(now)
		bucket = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
		b.of[user] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / b.rate.PerSecond * float64(time.Second)), false
}

// sweep needs the lock.
func (b *userBuckets) sweep(now time.Time) {
	if len(b.of) < b.sweepAt {
		return
	}
	for user, bucket := range b.of {
		if bucket.TokensAt(now) >= float64(b.rate.Burst) {
			delete(b.of, user)
		}
	}
	b.sweepAt = max(minSweep, 2*len(b.of))
}
