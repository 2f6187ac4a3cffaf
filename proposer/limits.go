package proposer

import (
	"errors"
	"time"

	"github.com/countersign/countersign/internal/fairness"
	"github.com/countersign/countersign/internal/message"
)

// Limits bound what one call, and what one user, may cost. A zero field takes
// its default. Limits are those of one instance.
//
// Users take turns up to the proposer's commit, and no further: the queue behind
// it is first come, first served. Whose requests are many takes as much of the
// services' time, which these rates bound.
type Limits struct {
	// Body is the most bytes of a statement; at most, and by default,
	// message.MaxStatement.
	Body int64
	// BodyTime is how long a body may take to arrive; 10 s.
	BodyTime time.Duration
	// Wait is the longest "Prefer: wait"; 60 s.
	Wait time.Duration
	// UserWaiters and Waiters are how many calls of one user and of all users
	// together may wait for results at once; more are answered without waiting.
	// Calls to cancel are counted apart, as many again. 1024 and 4096.
	UserWaiters, Waiters int
	// UserStreams and Streams are how many event streams one user and all users
	// together may have open; 64 and 1024.
	UserStreams, Streams int
	// Heartbeat lies between two comments on a silent event stream; 15 s.
	Heartbeat time.Duration
	// EventTime is how long a reader may take to read one event; 10 s.
	EventTime time.Duration
	// Submissions is how fast one user may send statements; 100 a second, 200
	// at once.
	Submissions Rate
	// Reads is how fast one user may ask for anything else; 100 a second, 200
	// at once.
	Reads Rate
	// Backlog is the most bytes of one user's statements that may wait to be
	// written; 16 MiB.
	Backlog int
}

// Rate is a token bucket: Burst calls at once, PerSecond in the long run.
type Rate = fairness.Rate

func validOrZero(r Rate) bool { return r == Rate{} || r.Valid() }

// maxWait is the longest wait of any call: proxies cut connections that are
// silent for longer.
const maxWait = 60 * time.Second

func (l Limits) faults() (faults []error) {
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(l.Body < 0 || l.Body > message.MaxStatement, "limit of the body is out of range")
	fault(l.BodyTime < 0 || l.Wait < 0 || l.Wait > maxWait || l.UserWaiters < 0 || l.Waiters < 0, "limit of body time, wait or waiters is out of range")
	fault(l.UserStreams < 0 || l.Streams < 0 || l.Heartbeat < 0 || l.EventTime < 0, "limit of event streams is out of range")
	fault(!validOrZero(l.Submissions) || !validOrZero(l.Reads) || l.Backlog < 0, "rate of submissions or reads, or backlog, is out of range")
	return faults
}

func (l Limits) withDefaults() Limits {
	unless(&l.Body, message.MaxStatement)
	unless(&l.BodyTime, 10*time.Second)
	unless(&l.Wait, maxWait)
	unless(&l.UserWaiters, 1024)
	unless(&l.Waiters, 4096)
	unless(&l.UserStreams, 64)
	unless(&l.Streams, 1024)
	unless(&l.Heartbeat, 15*time.Second)
	unless(&l.EventTime, writeTime)
	unless(&l.Submissions, Rate{PerSecond: 100, Burst: 200})
	unless(&l.Reads, Rate{PerSecond: 100, Burst: 200})
	unless(&l.Backlog, 16<<20)
	return l
}

// unless sets a field that is zero.
func unless[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
