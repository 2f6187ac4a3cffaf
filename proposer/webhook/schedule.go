package webhook

import (
	"math/rand/v2"
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
