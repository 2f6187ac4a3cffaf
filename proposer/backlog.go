package proposer

import (
	"slices"

	"github.com/google/uuid"
)

// backlog is what waits for a commit. Its users take turns, one statement each:
// however much one of them sends, another's next statement is written after at
// most one of every user's. Among one user's the order of arrival stays.
type backlog struct {
	// limit is the most bytes of one user's statements.
	limit int
	of    map[string]*share
	turns []string // the users who have something waiting; the next one first
	size  int
}

// share is what waits of one user's, in order of arrival.
type share struct {
	entries []*entry
	bytes   int
}

// push adds an entry; false if too much of the user's waits already.
func (b *backlog) push(e *entry) bool {
	user, size := e.submission.Owner, len(e.submission.Body)
	mine := b.of[user]
	if mine == nil {
		if b.of == nil {
			b.of = map[string]*share{}
		}
		mine = &share{}
		b.of[user] = mine
		b.turns = append(b.turns, user)
	}
	if mine.bytes > 0 && mine.bytes+size > b.limit {
		return false
	}
	mine.entries = append(mine.entries, e)
	mine.bytes += size
	b.size++
	return true
}

// pop takes the first entry of a user's and gives up the user's turn; a user
// with more waiting goes to the end of the line.
func (b *backlog) pop(user string) *entry {
	mine := b.of[user]
	e := mine.entries[0]
	mine.entries[0] = nil // it may be large, and the array lives on
	mine.entries = mine.entries[1:]
	mine.bytes -= len(e.submission.Body)
	b.size--
	if len(mine.entries) == 0 {
		delete(b.of, user)
	} else {
		b.turns = append(b.turns, user)
	}
	return e
}

// batch takes at most so many entries, the users in turn. The same id twice
// would make the second outcome depend on how the queue reads its own batch, so
// the second waits, with whatever that user has behind it, and is the first in
// the next batch.
func (b *backlog) batch(most int) []*entry {
	var out []*entry
	var held []string
	ids := make(map[uuid.UUID]bool, min(b.size, most))
	for len(out) < most && len(b.turns) > 0 {
		user := b.turns[0]
		b.turns = b.turns[1:]
		if ids[b.of[user].entries[0].submission.ID] {
			held = append(held, user)
			continue
		}
		e := b.pop(user)
		ids[e.submission.ID] = true
		out = append(out, e)
	}
	b.turns = slices.Concat(held, b.turns)
	return out
}
