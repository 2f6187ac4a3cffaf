// Command fraud is the policy service that looks for fraud, by rules over lists,
// limits at once and over time, and signals such as an address that resembles a
// known one.
package main

import (
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/role"
)

func main() {
	role.Main(message.RoleFraud, func() policy.Decider { return fraud.New(&clock.Watch{Now: node.Now}) })
}
