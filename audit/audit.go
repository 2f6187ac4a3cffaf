// Package audit says what is written down of every decisive step of the
// signing service, for those who check later. An entry is appended inside the
// transaction of the step that it tells of: neither stands without the other.
//
// The package trusts nobody who reads or stores entries: an entry's body is
// evidence that can be verified by itself (signed messages, byte for byte),
// never a key or a share.
package audit

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
)

// The kinds of entries.
const (
	// KindIntent is written before a signature is made: the request's envelope
	// and what its approvals were.
	KindIntent = "intent"
	// KindResult is written with every end of a request.
	KindResult = "result"
)

// Entry is one line of the log.
type Entry struct {
	Kind string
	// Request is the request that the entry is about; zero: none.
	Request uuid.UUID
	Body    []byte
}

// Appender appends entries in order inside tx. They are durable when tx has
// committed and gone when it has not. An error must end the transaction: what
// cannot be logged must not happen.
type Appender interface {
	Append(ctx context.Context, tx *sql.Tx, entries []Entry) error
}
