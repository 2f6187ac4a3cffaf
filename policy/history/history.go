// Package history keeps a policy role's own records: an append-only chain of
// rows in the table countersign.record, each MACed under record/<role>
// together with the row before it, so that nobody without that key can change,
// remove, reorder or add one unseen.
//
// It trusts the record key and its own memory, never the database. It
// remembers how far it has verified, and a chain that is shorter or another
// one than that is broken for as long as the process lives. What it cannot
// notice is an older whole chain put back while no instance was running, or
// two databases that are shown to two instances. It knows nothing of what the
// records mean.
package history

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// Errors of a chain. ErrBroken is final for the life of the Chain.
var (
	// ErrEmpty says that there is no first entry: the role was not
	// initialised, or somebody deleted everything.
	ErrEmpty = errors.New("record chain is empty: run init, or restore it")
	// ErrBroken says that the chain is not the one that was written.
	ErrBroken = errors.New("record chain is broken")
	// ErrExists says that there is a first entry already.
	ErrExists = errors.New("record chain exists: the role was initialised before")
	// ErrConflict says that the last entry is not the remembered one any more:
	// another replica has appended, or somebody has changed the rows. CatchUp
	// tells which.
	ErrConflict = errors.New("record chain does not end where it did")
	// ErrTooLarge says that an entry's body exceeds MaxBody.
	ErrTooLarge = errors.New("record is too large")
)

// MaxBody is the most bytes that one entry's body may have. It bounds what a
// reader must hold, also against a database that lies.
const MaxBody = 192 << 10

// pageSize is how many rows are read at once: at most 100 times MaxBody, in
// practice some hundred kilobytes.
const pageSize = 100

// Head names the last entry of a chain up to a point.
type Head struct {
	Seq  int64
	MAC  message.Hash
	prev message.Hash // MAC of the entry before
	body message.Hash // SHA-256
}

// Entry is one verified row.
type Entry struct {
	Head
	Body []byte
}

// Chain is one role's chain as this process knows it. It is not safe for
// concurrent use.
//
// Its statements are not ended with the caller's context, only not begun any
// more: they take a millisecond, the connection has a deadline of its own, and
// an append that was given up half-way has an unknown fate.
type Chain struct {
	role string
	keys []*secrets.Secret // newest generation first
	head Head
	// known is the last entry before a Rewind: the chain must come by it again.
	known  Head
	broken error
	log    *slog.Logger
	db     *sql.DB
	sql    *statements
}

// New returns the chain of the keyring's role, of which nothing is read yet.
// db is logged in as the role.
func New(role string, keyring *secrets.Keyring, db *sql.DB, log *slog.Logger) (*Chain, error) {
	c := &Chain{role: role, db: db, log: log, sql: newStatements()}
	for _, generation := range keyring.Generations() {
		key, err := keyring.Key(secrets.Record(role), generation)
		if err != nil {
			return nil, fmt.Errorf("record chain of %s: %w", role, err)
		}
		c.keys = append(c.keys, key)
	}
	return c, nil
}

// Head returns the last entry that was verified or appended.
func (c *Chain) Head() Head { return c.head }

// Broken returns why the chain is broken, or nil.
func (c *Chain) Broken() error { return c.broken }

// Init writes the first entry, durably. It is ErrExists if there is any other,
// whoever wrote it.
func (c *Chain) Init(ctx context.Context, body []byte) error {
	rows, err := c.read(ctx, 0, 1)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return ErrExists
	}
	head, err := c.insert(ctx, c.sql.first, Head{}, body)
	if errors.Is(err, ErrConflict) {
		head, err = c.first(ctx, body)
	}
	if err != nil {
		return err
	}
	c.head = head
	return nil
}

// first returns the first entry if it is this one: the pool sends a statement
// again whose answer was lost. Whoever wrote it could not have written another.
func (c *Chain) first(ctx context.Context, body []byte) (Head, error) {
	rows, err := c.read(ctx, 1, 1)
	if err != nil {
		return Head{}, err
	}
	if len(rows) == 1 && message.Sum(rows[0].Body) == message.Sum(body) {
		if e, ok := c.verify(Head{}, rows[0]); ok {
			return e.Head, nil
		}
	}
	return Head{}, ErrExists
}

// CatchUp verifies what was appended since the last call and gives each entry
// to fold, in order. If the remembered head is no longer there the chain is
// broken. An error of fold breaks the chain too: a record that cannot be
// understood must not be skipped.
func (c *Chain) CatchUp(ctx context.Context, fold func(Entry) error) error {
	if c.broken != nil {
		return c.broken
	}
	for {
		rows, err := c.read(ctx, c.head.Seq, pageSize)
		if err != nil {
			return err
		}
		grown, err := c.take(rows, fold)
		if err != nil {
			return err
		}
		if !grown {
			return c.comesBy()
		}
		if len(rows) < pageSize {
			return c.comesBy()
		}
	}
}

// Rewind has the next CatchUp begin with the first entry again, for a reader who
// wants all of them once more. It must find the same chain as before: what was
// verified is not forgotten. Until then nothing can be appended.
func (c *Chain) Rewind() {
	c.known, c.head = c.last(), Head{}
}

// last is the newest entry that was ever verified or appended.
func (c *Chain) last() Head {
	if c.known.Seq > c.head.Seq {
		return c.known
	}
	return c.head
}

// comesBy fails where a chain that was read again ends before it did.
func (c *Chain) comesBy() error {
	if c.head.Seq < c.known.Seq {
		return c.breaks("shorter than remembered", c.head.Seq+1)
	}
	return nil
}

// take verifies one page, whose first row must be the head again.
func (c *Chain) take(rows []Entry, fold func(Entry) error) (grown bool, err error) {
	if c.head.Seq == 0 {
		if len(rows) == 0 && c.known.Seq == 0 {
			return false, ErrEmpty
		}
	} else {
		if len(rows) == 0 {
			return false, c.breaks("shorter than remembered", c.head.Seq)
		}
		if !c.isHead(rows[0]) {
			return false, c.breaks("remembered entry was changed", c.head.Seq)
		}
		rows = rows[1:]
	}
	for _, e := range rows {
		e, ok := c.verify(c.head, e)
		if !ok || (e.Seq == c.known.Seq && e.Head != c.known) {
			return false, c.breaks("entry does not verify", c.head.Seq+1)
		}
		if err := fold(e); err != nil {
			return false, errors.Join(c.breaks("entry cannot be understood", e.Seq), err)
		}
		c.head = e.Head
	}
	return len(rows) > 0, nil
}

// isHead reports whether a row is the remembered head, body included.
func (c *Chain) isHead(e Entry) bool {
	again, ok := c.verify(Head{Seq: e.Seq - 1, MAC: c.head.prev}, e)
	return ok && again.Head == c.head
}

// verify checks that a row follows prev.
func (c *Chain) verify(prev Head, e Entry) (Entry, bool) {
	e.prev, e.body = prev.MAC, message.Sum(e.Body)
	if e.Seq != prev.Seq+1 || len(e.Body) > MaxBody {
		return e, false
	}
	for _, key := range c.keys {
		want := mac(key, c.role, e.Seq, prev.MAC, e.Body)
		if hmac.Equal(want[:], e.MAC[:]) {
			return e, true
		}
	}
	return e, false
}

// mac is HMAC-SHA256 under key record/<role>, which is salted by the
// deployment, over
//
//	Context(LabelRecord, role, seq, MAC of the entry before (zeros: none), body)
func mac(key *secrets.Secret, role string, seq int64, prev message.Hash, body []byte) (out message.Hash) {
	h := hmac.New(sha256.New, key.Bytes())
	h.Write(message.Context(message.LabelRecord, []byte(role), message.Uint64(uint64(seq)), prev[:], body))
	h.Sum(out[:0])
	return out
}

// breaks marks the chain as broken for good and says so once, loudly.
func (c *Chain) breaks(why string, seq int64) error {
	c.broken = fmt.Errorf("%w: %s (entry %d of %s)", ErrBroken, why, seq, c.role)
	c.log.Error("record chain is broken, everything is denied", "role", c.role, "reason", why, "seq", seq)
	return c.broken
}

// Append writes one entry for each body behind the head, durably, and moves the
// head to the last. It writes behind the remembered entry only, its body
// included: ErrConflict says that something else is there.
//
// After any error the head stays where it was. What an entry's fate then is
// (the connection may have broken when it was written, or others of the same
// call were) the next CatchUp tells; until then nothing may rest on it.
func (c *Chain) Append(ctx context.Context, bodies ...[]byte) error {
	return c.AppendFor(ctx, nil, bodies...)
}

// Request names a request by its id and the SHA-256 of its envelope.
type Request struct {
	ID   string
	Hash message.Hash
}

// AppendFor is Append for entries that are about requests which were heard of
// and not read: it is ErrConflict as well where the stored ones are others, or
// the role has no open task of one.
func (c *Chain) AppendFor(ctx context.Context, heard []Request, bodies ...[]byte) error {
	if c.broken != nil {
		return c.broken
	}
	if c.head.Seq == 0 {
		return ErrEmpty
	}
	statement, more := c.sql.append, []any(nil)
	if len(heard) > 0 {
		statement, more = c.sql.appendFor, requestArrays(heard)
	}
	head := c.head
	for _, body := range bodies {
		var err error
		if head, err = c.insert(ctx, statement, head, body, more...); err != nil {
			return err
		}
	}
	c.head = head
	return nil
}

// Verify reads the whole chain from its first entry, and breaks it unless
// every entry verifies and the remembered head is among them. It does not move
// the head.
func (c *Chain) Verify(ctx context.Context) error {
	if c.broken != nil {
		return c.broken
	}
	at := Head{}
	for at.Seq < c.last().Seq {
		rows, err := c.read(ctx, at.Seq+1, pageSize)
		if err != nil {
			return err
		}
		if at, err = c.walk(at, rows); err != nil {
			return err
		}
	}
	return nil
}

// walk verifies one page of a full pass, up to the head.
func (c *Chain) walk(at Head, rows []Entry) (Head, error) {
	if len(rows) == 0 {
		return at, c.breaks("shorter than remembered", at.Seq+1)
	}
	for _, e := range rows {
		e, ok := c.verify(at, e)
		if !ok || (e.Seq == c.last().Seq && e.Head != c.last()) {
			return at, c.breaks("entry does not verify", at.Seq+1)
		}
		if at = e.Head; at.Seq == c.last().Seq {
			return at, nil
		}
	}
	return at, nil
}

// Clone returns a chain with the same head, for a Verify that runs while the
// original goes on.
func (c *Chain) Clone() *Chain {
	clone := *c
	return &clone
}

// Adopt takes over that a clone was found broken.
func (c *Chain) Adopt(clone *Chain) {
	if c.broken == nil {
		c.broken = clone.broken
	}
}
