// Package authorization decides whether this user may ask for this with this
// wallet: the statement's own signature must be by a key of a user whom the
// policy document grants the kind on the wallet.
//
// It trusts the policy document and the meaning that its own service computed.
// It keeps no state and never looks at amounts: that is fraud's and approval's
// work.
package authorization

import (
	"context"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
)

// Decider is the authorization role's decider. It is safe for concurrent use.
type Decider struct{}

// New returns the decider.
func New() Decider { return Decider{} }

// Prepare does all the work; nothing of it needs any state.
func (Decider) Prepare(r policy.Request) { _, _ = r.User() }

// Decide verifies the statement's signature and the grant.
func (Decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	if _, reason := r.User(); reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	return policy.Decision{Verdict: policy.Approve}, nil
}
