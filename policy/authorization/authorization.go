// Package authorization decides whether this user may ask for this with this
// wallet: the statement's own signature must be by a key of a user whom the
// policy document grants the kind on the wallet, and the document's rules for
// authorization must allow it.
//
// It trusts the policy document, the meaning that its own service computed and
// its role's own records, which it keeps only where rules look at them.
package authorization

import (
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ruled"
)

// New returns the role's decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(watch *clock.Watch) *ruled.Decider { return ruled.New(message.RoleAuthorization, watch) }
