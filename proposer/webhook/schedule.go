package webhook

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstRetry is the delay after the first failure.
	firstRetry = 5 * time.Second
	// keepTrying is how old a result may be and still be tried again.
	keepTrying = 72 * time.Hour
)

// steps are the delays after failures, in units of the first: 5 s, 30 s, 2 min,
// 10 min, 30 min, 2 h, 5 h, and 10 h from then on.
var steps = []time.Duration{1, 6, 24, 120, 360, 1440, 3600, 7200}

// retryAfter is the delay after a failure, by the age of the result alone, so that
// nothing need be remembered: the step within which the age lies. It varies by a
// fifth either way, so that what failed together does not come together.
func retryAfter(age, first time.Duration) time.Duration {
	step, until := first, time.Duration(0)
	for _, n := range steps {
		step = n * first
		if until += step; age < until {
			break
		}
	}
	return time.Duration(float64(step) * (0.8 + 0.4*rand.Float64()))
}

// heed puts a delay off to what the receiver has asked for. It is never shorter
// for that, and asked counts for the longest step at most, so that no receiver
// keeps a delivery from being tried, or given up, in its time. It comes up to a
// fifth later by chance: all the messages of an outage are asked the same.
func heed(asked, delay, first time.Duration) time.Duration {
	longest := steps[len(steps)-1] * first
	asked = min(asked, longest)
	return max(delay, min(time.Duration(float64(asked)*(1+0.2*rand.Float64())), longest))
}

// asked is how long from now a receiver that answered 429 or 503 wants to be
// left alone (Retry-After, RFC 9110 section 10.2.3): seconds, or a date; 0 where
// it does not say, or says nothing that can be read.
func asked(err error, now time.Time) time.Duration {
	var status statusError
	if !errors.As(err, &status) || (status.code != http.StatusTooManyRequests && status.code != http.StatusServiceUnavailable) {
		return 0
	}
	seconds, err := strconv.ParseUint(status.retryAfter, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(keepTrying/time.Second))) * time.Second
	}
	at, err := http.ParseTime(status.retryAfter)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}
