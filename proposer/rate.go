package proposer

import (
	"net/http"

	"github.com/countersign/countersign/internal/fairness"
)

// buckets are the token buckets of all users: one for submissions, one for
// reads, so that a program that reads too much can still submit.
type buckets struct {
	submissions, reads *fairness.Buckets
}

func newBuckets(l Limits) buckets {
	return buckets{submissions: fairness.NewBuckets(l.Submissions), reads: fairness.NewBuckets(l.Reads)}
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
	after, ok := bucket.Take(user, s.now())
	if ok {
		return nil
	}
	return &problemError{Code: CodeRateLimited, Detail: "try again after the time in Retry-After", After: after}
}
