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
	"github.com/countersign/countersign/policy/document"
)

// Decider is the authorization role's decider. It is safe for concurrent use.
type Decider struct{}

// New returns the decider.
func New() Decider { return Decider{} }

// Decide verifies the statement's signature and the grant.
func (Decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	if _, reason := document.VerifyUser(r.Policy, r.Envelope, r.Meaning, r.Now); reason != nil {
		return policy.Decision{Verdict: policy.Reject, Reasons: []message.Reason{*reason}}, nil
	}
	return policy.Decision{Verdict: policy.Approve}, nil
}
