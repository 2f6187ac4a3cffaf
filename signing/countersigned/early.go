package countersigned

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

const (
	// maxEarly bounds what was verified early and never asked for.
	maxEarly = 512
	// maxEarlyAge is how old an early reading may be. The policy document that it
	// rests on must be the same, and the statement's end is looked at again; what
	// else a clock decides, such as a signature from the future, is as it was a
	// second ago.
	maxEarlyAge = time.Second
)

// early remembers what was verified while the other roles' approvals were still
// on their way, by the SHA-256 of the very bytes: a signature that verified does
// so again. Whether what was said fits the request, and whether the key is
// announced now, is looked at when all are there.
type early struct {
	mu       sync.Mutex
	readings map[message.Hash]*reading
	spoken   map[message.Hash]*spoken
}

// reading is a statement that was read, and whose user may ask for it.
type reading struct {
	id        string
	active    *document.Active
	at        time.Time
	envelope  message.Envelope
	statement message.Statement
	meaning   transaction.Meaning
}

// spoken is an approval whose signature verified under the key that its header
// names.
type spoken struct {
	approval   message.Approval
	raw        []byte // of the attachment
	attachment message.Attachment
	unreadable error
}

func newEarly() *early {
	return &early{readings: map[message.Hash]*reading{}, spoken: map[message.Hash]*spoken{}}
}

func (e *early) keepReading(envelope message.Hash, r *reading) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.readings) >= maxEarly {
		clear(e.readings)
	}
	e.readings[envelope] = r
}

func (e *early) keepSpoken(sum message.Hash, s *spoken) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.spoken) >= maxEarly {
		clear(e.spoken)
	}
	e.spoken[sum] = s
}

func (e *early) hasReading(envelope message.Hash) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.readings[envelope] != nil
}

// takeReading returns what was read of these bytes under this document a moment
// ago, once.
func (e *early) takeReading(x *examination) *reading {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.readings[x.hash]
	delete(e.readings, x.hash)
	if r == nil || r.id != x.ID || r.active != x.active {
		return nil
	}
	if age := x.now.Sub(r.at); age < 0 || age > maxEarlyAge {
		return nil
	}
	return r
}

func (e *early) takeSpoken(sum message.Hash, attachment []byte) *spoken {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.spoken[sum]
	delete(e.spoken, sum)
	if s == nil || !bytes.Equal(s.raw, attachment) {
		return nil
	}
	return s
}

// Prepare verifies of a case what it can before all replies are there, so that
// Verify finds it done. It decides nothing.
func (v *Verifier) Prepare(ctx context.Context, c Case) {
	x := &examination{Case: c, v: v, active: v.cfg.Policy(), now: v.cfg.Now(), hash: message.Sum(c.Envelope)}
	if x.active == nil {
		return
	}
	if !v.early.hasReading(x.hash) {
		if x.read(ctx); x.granted {
			v.early.keepReading(x.hash, &reading{
				id: x.ID, active: x.active, at: x.now, envelope: x.envelope, statement: x.statement, meaning: x.meaning,
			})
		}
	}
	for _, r := range c.Replies {
		if said := v.hear(r); said != nil {
			v.early.keepSpoken(said.sum, &spoken{
				approval: said.approval, raw: r.Attachment, attachment: said.attachment, unreadable: said.unreadable,
			})
		}
	}
}
