// Package audit says what is written down of every decisive step of the
// signing service, for those who check later. An entry is appended by the very
// statement that writes the step (package queue: Gather and Finish):
// neither stands without the other, and what cannot be logged does not happen.
//
// The package trusts nobody who reads or stores entries: an entry's body is
// evidence that can be verified by itself (signed messages, byte for byte),
// never a key or a share.
package audit

import "github.com/google/uuid"

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
