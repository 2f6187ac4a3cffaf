package proposer

import "time"

// Waiting returns how many submissions wait for a commit.
func Waiting(s *Server) int {
	s.batcher.mu.Lock()
	defer s.batcher.mu.Unlock()
	return s.batcher.waiting.size
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

// Buckets are the token buckets of one kind.
type Buckets struct{ *userBuckets }

// NewBuckets returns buckets with a rate.
func NewBuckets(r Rate) Buckets { return Buckets{newUserBuckets(r)} }

// Take takes a user's token, if there is one.
func (b Buckets) Take(user string, now time.Time) bool {
	_, ok := b.take(user, now)
	return ok
}

// Len returns how many buckets are kept.
func (b Buckets) Len() int { return len(b.of) }
