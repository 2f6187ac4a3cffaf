package proposer

// Waiting returns how many submissions wait for a commit.
func Waiting(s *Server) int {
	s.batcher.mu.Lock()
	defer s.batcher.mu.Unlock()
	return len(s.batcher.waiting)
}

// QueryParameters returns what each route ("METHOD path") knows.
func QueryParameters() map[string][]string {
	out := map[string][]string{}
	for _, r := range (&Server{}).routes() {
		out[r.method+" "+r.path] = r.query
	}
	return out
}
