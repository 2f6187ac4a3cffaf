package proposer

// Waiting returns how many submissions wait for a commit.
func Waiting(s *Server) int {
	s.batcher.mu.Lock()
	defer s.batcher.mu.Unlock()
	return len(s.batcher.waiting)
}
