package transaction

import (
	"sync"

	"github.com/countersign/countersign/internal/message"
)

// maxAccount bounds the descriptors that are remembered: ours have less than
// 2 KiB.
const maxAccount = 4 << 10

// Accounts remembers the decoded forms of account descriptors by their exact
// bytes, so that each is decoded once and not for each request. Decoding is a
// function of the bytes alone: what the database says of an account is read
// and compared every time. It is safe for concurrent use; nil remembers
// nothing. What it returns is shared and must not be changed.
type Accounts struct {
	most  int
	mu    sync.RWMutex
	known map[string]*message.AccountDescriptor
}

// NewAccounts returns a memory for at most this many descriptors.
func NewAccounts(most int) *Accounts {
	return &Accounts{most: most, known: map[string]*message.AccountDescriptor{}}
}

func (a *Accounts) get(raw []byte) *message.AccountDescriptor {
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.known[string(raw)]
}

func (a *Accounts) put(raw []byte, d *message.AccountDescriptor) {
	if a == nil || len(raw) > maxAccount {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.known {
		if len(a.known) < a.most {
			break
		}
		delete(a.known, k) // any one: map order is as good as another
	}
	a.known[string(raw)] = d
}
