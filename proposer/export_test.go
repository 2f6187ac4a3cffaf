package proposer

import (
	"context"
	"net/http"
	"time"

	"github.com/countersign/countersign/queue"
)

// Waiting returns how many submissions wait for a commit.
func Waiting(s *Server) int {
	s.batcher.mu.Lock()
	defer s.batcher.mu.Unlock()
	return s.batcher.waiting.size
}

// Waits returns how many calls wait for a result.
func Waits(s *Server) int { return s.waits.Taken() }

// Cancels returns how many calls to cancel wait for one.
func Cancels(s *Server) int { return s.cancels.Taken() }

// PreferredWait reads the header Prefer.
func PreferredWait(h http.Header, most time.Duration) (wait time.Duration, asked bool, err error) {
	return preferredWait(h, most)
}

// QueryParameters returns what each route ("METHOD path") knows.
func QueryParameters() map[string][]string {
	out := map[string][]string{}
	for _, r := range (&Server{}).routes() {
		out[r.method+" "+r.path] = r.query
	}
	return out
}

// Followed returns how many requests streams show.
func Followed(s *Server) int {
	s.follower.mu.Lock()
	defer s.follower.mu.Unlock()
	return len(s.follower.followed)
}

// Batcher is what lets submissions share commits.
type Batcher struct{ b *batcher }

// FlightTime is how long what is under way holds back the rest.
const FlightTime = flightTime

// NewBatcher returns a batcher that commits by submit.
func NewBatcher(submit func(context.Context, []queue.Submission) ([]queue.Outcome, error)) Batcher {
	return Batcher{&batcher{submit: submit, waiting: backlog{limit: 1 << 20}}}
}

// Add commits one submission, and returns what tells that its result is there.
func (b Batcher) Add(ctx context.Context, s queue.Submission) (landed func(), err error) {
	_, landed, err = b.b.add(ctx, s)
	return landed, err
}
