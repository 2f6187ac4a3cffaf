package fairness

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate is a token bucket: Burst calls at once, PerSecond in the long run.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Valid says whether it is a rate at which anybody could call.
func (r Rate) Valid() bool {
	return r.PerSecond > 0 && !math.IsInf(r.PerSecond, 0) && r.Burst > 0
}

// minSweep is the least number of buckets that are worth sweeping.
const minSweep = 1024

// Buckets are token buckets of one rate, by caller. A bucket that is full again
// is the same as none and is swept away: there are at most twice as many as
// callers who called while a bucket fills. It is safe for concurrent use.
type Buckets struct {
	rate Rate

	mu      sync.Mutex
	of      map[string]*rate.Limiter
	sweepAt int
}

// NewBuckets returns buckets of a rate, which is valid.
func NewBuckets(r Rate) *Buckets {
	return &Buckets{rate: r, of: map[string]*rate.Limiter{}, sweepAt: minSweep}
}

// Take takes a token; where there is none it says after what time there will
// be.
func (b *Buckets) Take(caller string, now time.Time) (after time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.of[caller]
	if bucket == nil {
		b.sweep(now)
		bucket = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
		b.of[caller] = bucket
	}
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / b.rate.PerSecond * float64(time.Second)), false
}

// sweep needs the lock.
func (b *Buckets) sweep(now time.Time) {
	if len(b.of) < b.sweepAt {
		return
	}
	for caller, bucket := range b.of {
		if bucket.TokensAt(now) >= float64(b.rate.Burst) {
			delete(b.of, caller)
		}
	}
	b.sweepAt = max(minSweep, 2*len(b.of))
}
