// Package policy is the runtime of every policy service: it takes requests
// from the queue, works out for itself what each one means, asks a Decider,
// and signs what the decider said under a key that lives in this process only.
// An approval carries this role's shares of the keys that the request opens,
// sealed for the signing service's live epochs; a rejection carries none and
// is final.
//
// The runtime trusts the genesis document, its own keys and the policy
// document that the admins' quorum signed. It believes nothing that it reads
// from the database: hellos are MACed, its own records are a MACed chain, and
// requests are taken at their bytes. It never opens a wallet or account key
// and never sees another role's share, and a decider that fails denies.
package policy

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

// Request is what a decider decides on. Its meaning was computed by this
// service from the statement's bytes; the envelope's signature was not
// verified yet.
type Request struct {
	ID           uuid.UUID
	Envelope     message.Envelope
	EnvelopeHash message.Hash
	Meaning      transaction.Meaning
	// Policy is the document that is active now; one batch sees one document.
	Policy *document.Active
	// Now is this service's clock. Statements that have expired do not reach
	// a decider.
	Now time.Time
	// Submitted is when the request was queued, by the database's clock: for
	// display only.
	Submitted time.Time
}

// Verdict is what a decider says of a request. The zero value is none of them
// and denies.
type Verdict int

// The verdicts.
const (
	Approve Verdict = iota + 1 // signed, with this role's shares
	Reject                     // signed, without shares, recorded, final
	Wait                       // nothing is signed; decided again when woken
)

// Decision is a decider's answer.
type Decision struct {
	Verdict Verdict
	// Reasons say why; a rejection has at least one. Codes are stable and
	// documented in docs/errors.md.
	Reasons []message.Reason
	// Evidence are the votes (compact JWS) that an approval rests on.
	Evidence []string
	// Records are facts that the decider wants kept before its decision
	// leaves. They are appended to the role's chain in the transaction of the
	// decision and given to Recorder.Replay at once. A Wait may have records.
	Records [][]byte
	// Note is shown to people while a request waits; believed by nobody.
	Note string
}

// Decider decides. Decide must not change the decider's state: what it learns
// by deciding is returned in Records and comes back through Replay before the
// next Decide. An error, a panic or an unknown verdict denies.
//
// The runtime never calls a decider's methods (Replay and Reset included)
// from two goroutines at once; a decider that also serves an API locks for
// itself against that API.
type Decider interface {
	Decide(ctx context.Context, r Request) (Decision, error)
}

// Recorder is a decider with state. Its state is the fold of the role's
// verified records and nothing else, so that every replica has the same.
type Recorder interface {
	// Replay folds one record, in the order of the chain. The same record may
	// come twice (after a failed commit): it counts once. An error means that
	// the chain cannot be understood, and everything is denied.
	Replay(body []byte) error
	// Reset forgets everything; a full replay follows.
	Reset()
}
