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
	"sync"
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
	// Frozen says whether a freeze stops a user of the document, other than the
	// one who asks: what such a person agrees to does not count. Nil: nobody.
	Frozen func(user string) bool

	user func() (document.User, *message.Reason) // nil: not remembered
}

// User verifies the envelope's signature and returns whose it is, or why the
// policy does not let them ask for this. The runtime's requests remember it:
// several ask, and a request may be decided several times.
func (r Request) User() (document.User, *message.Reason) {
	if r.user == nil {
		return document.VerifyUser(r.Policy, r.Envelope, r.Meaning, r.Now)
	}
	return r.user()
}

// remembering returns the request with a User that is worked out once; one that
// panicked panics each time.
func (r Request) remembering() Request {
	plain := r
	r.user = sync.OnceValues(func() (document.User, *message.Reason) { return plain.User() })
	return r
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
	// leaves. They are given to Recorder.Replay at once, and committed to the
	// role's chain before anything is signed. A Wait may have records.
	Records [][]byte
	// Note is shown to people while a request waits; believed by nobody.
	Note string
}

// Decider decides. Decide must not change the decider's state: what it learns
// by deciding is returned in Records and comes back through Replay before the
// next Decide. An error, a panic or an unknown verdict denies.
//
// The runtime never calls a decider's methods (a Recorder's included, but not a
// Preparer's) from two goroutines at once; a decider that also serves an API locks for itself
// against that API.
type Decider interface {
	Decide(ctx context.Context, r Request) (Decision, error)
}

// Preparer is a decider a part of whose work needs no state, such as
// Request.User. Prepare does that part before Decide, for several requests at
// once, so that as little as possible lies between what was last read of the
// role's records and what is appended to them.
type Preparer interface {
	Prepare(r Request)
}

// Recorder is a decider with state. Its state is the fold of the role's
// verified records and nothing else, so that every replica has the same.
//
// What one batch makes is folded before it is known to be in the chain, since
// its later requests are decided on its earlier ones. It stands between Mark
// and Keep, or Undo where another replica was first, which must not be dear:
// under load replicas are in each other's way all the time.
type Recorder interface {
	// Replay folds one record, in the order of the chain. The same fact may
	// come twice (a request that was decided, but not answered, is decided
	// again): it counts once. An error means that the chain cannot be
	// understood, and everything is denied.
	Replay(body []byte) error
	// Mark says that what is replayed from now on may be taken back.
	Mark()
	// Undo takes back what was replayed since Mark, exactly, and ends it.
	Undo()
	// Keep says that what was replayed since Mark is in the chain, and ends it.
	Keep()
}

// Rereader is a Recorder that forgets what the rules of the active document do
// not look back on, so that a later document may need what is gone. Its methods
// are never called between Mark and Keep or Undo.
type Rereader interface {
	Recorder
	// Retain says which document is decided by from now on, nil while none is
	// known, and so what need not be forgotten. It reports whether all of that is
	// there. If not, the runtime calls Forget and replays all records, before
	// anything is decided.
	Retain(active *document.Active) (complete bool)
	// Forget forgets what was replayed, except what replaying it again would not
	// change.
	Forget()
}
