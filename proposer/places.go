package proposer

import "sync"

// places bounds how many event streams are open: of one user, so that nobody
// takes all of them, and of all users together. It is safe for concurrent use.
type places struct {
	perUser, total int

	mu    sync.Mutex
	of    map[string]int // by user; only users who have one
	taken int
}

func newPlaces(perUser, total int) *places {
	return &places{perUser: perUser, total: total, of: map[string]int{}}
}

// take takes a place of the user's and returns what gives it back; false if
// there is none.
func (p *places) take(user string) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.total || p.of[user] >= p.perUser {
		return nil, false
	}
	p.taken++
	p.of[user]++
	return func() { p.leave(user) }, true
}

func (p *places) leave(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[user]--; p.of[user] == 0 {
		delete(p.of, user)
	}
}
