package countersigned

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

// Errors of a Request.
var (
	// ErrUnverified says that the value was not made by Verify.
	ErrUnverified = errors.New("request was not verified")
	// ErrNotRecorded says that the intent was not recorded before.
	ErrNotRecorded = errors.New("intent was not recorded")
	// ErrUsed says that the value was used before.
	ErrUsed = errors.New("verified request was used before")
	// ErrStale says that what was verified does not hold any more: an
	// approval, its epoch or the policy has ended. The request is to be
	// verified again.
	ErrStale = errors.New("approvals do not hold any more")
)

// The states of a Request, in order. A value that Verify did not make is in
// the first one for ever.
const (
	unverified = iota
	verified
	recorded
	used
)

// Request is a verified, countersigned request: the one value that opens a
// key. It works once, in this order: Intent, whose bytes the caller commits;
// then CarryOut. The zero value does nothing.
//
// It holds no secret: the shares are opened in CarryOut and wiped there.
type Request struct {
	state     atomic.Uint32
	v         *Verifier
	id        string
	envelope  message.Hash
	meaning   transaction.Meaning
	active    *document.Active
	approvals []approval
}

// request is called at the end of examine only.
func (x *examination) request(approvals []approval) *Request {
	r := &Request{
		v: x.v, id: x.ID, envelope: x.hash,
		meaning: x.meaning, active: x.active, approvals: approvals,
	}
	r.state.Store(verified)
	return r
}

// ID returns the request's id.
func (r *Request) ID() string { return r.id }

// Kind returns what is asked for.
func (r *Request) Kind() message.Kind { return r.meaning.Statement.Kind }

// Envelope returns the SHA-256 of the envelope that was approved.
func (r *Request) Envelope() message.Hash { return r.envelope }

// Approvals returns the SHA-256 values of the approvals, in genesis order.
func (r *Request) Approvals() []message.Hash { return hashes(r.approvals) }

// Intent is what is committed before a key is opened.
type Intent struct {
	message.Origin
	Instance   string            `json:"instance"`
	Request    string            `json:"request"`
	Envelope   message.Hash      `json:"envelope"`
	Kind       message.Kind      `json:"kind"`
	Wallet     string            `json:"wallet"`
	Account    string            `json:"account"`
	Descriptor message.Hash      `json:"descriptor"`
	Digests    []message.Digest  `json:"digests"`
	Policy     message.PolicyRef `json:"policy"`
	Approvals  []message.Hash    `json:"approvals"`
	Time       message.Time      `json:"time"`
	// DryRun says that nothing is signed.
	DryRun bool `json:"dry_run,omitzero"`
}

// Intent returns the intent's encoding. The caller writes it and its audit
// entry in one transaction, and calls CarryOut only after that committed.
func (r *Request) Intent() ([]byte, error) {
	if r.state.Load() == unverified {
		return nil, ErrUnverified
	}
	m := r.meaning
	b, err := message.Encode(Intent{
		Origin: message.Origin{
			Version: message.Version, Deployment: r.v.cfg.Deployment, Generation: r.v.cfg.Keyring.Generation(),
		},
		Instance: r.v.cfg.Instance, Request: r.id, Envelope: r.envelope,
		Kind: m.Statement.Kind, Wallet: m.Wallet, Account: m.Account, Descriptor: m.Descriptor,
		Digests: m.Digests, Policy: r.active.Ref, Approvals: hashes(r.approvals),
		Time: message.At(r.v.cfg.Now()), DryRun: m.Statement.DryRun,
	})
	if err != nil {
		return nil, err
	}
	if !r.state.CompareAndSwap(verified, recorded) {
		return nil, ErrUsed
	}
	return b, nil
}

// use lets exactly one caller pass, once.
func (r *Request) use() error {
	switch {
	case r.state.CompareAndSwap(recorded, used):
		return r.fresh()
	case r.state.Load() == unverified:
		return ErrUnverified
	case r.state.Load() == verified:
		return ErrNotRecorded
	}
	return ErrUsed
}

// fresh holds everything that ends by itself against this moment: between
// verification and signature a transaction was committed, which may have
// taken long.
func (r *Request) fresh() error {
	now := r.v.cfg.Now()
	active := r.v.cfg.Policy()
	if active == nil || active.Ref != r.active.Ref {
		return ErrStale
	}
	if !now.Before(r.meaning.Statement.Expires.Time) {
		return ErrStale
	}
	for _, a := range r.approvals {
		if !now.Before(a.expires) || !r.v.holds(a.seat) {
			return ErrStale
		}
	}
	return nil
}

func (v *Verifier) holds(s seat) bool {
	return slices.Contains(v.live(), s.epoch) && v.usable(s.member)
}
