// Command authorization is the policy service that says whether a user may
// ask for this with this wallet; it verifies the user's own signature.
package main

import (
	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/authorization"
	"github.com/countersign/countersign/services/internal/node"
	"github.com/countersign/countersign/services/internal/role"
)

func main() {
	role.Main(message.RoleAuthorization, func() policy.Decider { return authorization.New(&clock.Watch{Now: node.Now}) })
}
