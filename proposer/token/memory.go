package token

import (
	"crypto/sha256"
	"sync"
)

// maxRemembered is how many verified tokens are remembered, by hash, so that
// one signature check serves many requests.
const maxRemembered = 4096

// verified is a token whose signature has verified: by a key of this set of
// its issuer's.
type verified struct {
	claims claims
	by     *issuer
	keys   *keySet
}

// memory remembers verified tokens for as long as the very key set that
// verified them is its issuer's: a key that is taken away takes its tokens with
// it. It is safe for concurrent use.
type memory struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]verified
}

func (m *memory) recall(sum [sha256.Size]byte) (verified, bool) {
	m.mu.Lock()
	known, ok := m.known[sum]
	m.mu.Unlock()
	return known, ok && known.by.keys.current() == known.keys
}

// remember keeps a token. When the table is full it starts afresh, which costs
// one more check for each token.
func (m *memory) remember(sum [sha256.Size]byte, v verified) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxRemembered || m.known == nil {
		m.known = map[[sha256.Size]byte]verified{}
	}
	m.known[sum] = v
}
