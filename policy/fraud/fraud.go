// Package fraud decides whether a request looks like loss, by the policy
// document's rules for fraud: deny lists, limits at once and over time, and
// signals such as an address that resembles a known one. What the signals found
// stands in the approval.
//
// It trusts the policy document, the effects that its own service computed and
// its role's own chain of records. It never lets a stranger use up a wallet's
// limits or learn what is left of them, and it never forgets an approval
// because its signature was not made: a request counts from the moment its
// approval was put on record, which is before anybody else can see it. Nor does
// it forget one because the wall clock was set: see package clock.
package fraud

import (
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/ruled"
)

// New returns the role's decider with an empty history. The watch judges how old
// approvals are; nil is the system's.
func New(watch *clock.Watch) *ruled.Decider { return ruled.New(message.RoleFraud, watch) }
