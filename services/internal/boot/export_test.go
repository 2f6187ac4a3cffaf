package boot

import (
	"context"
	"io"
)

// What the tests reach into.
var (
	PercentFor          = percentFor
	CollectByWhatIsLive = collectByWhatIsLive
)

// MostPercent is what a service with little live has.
const MostPercent = mostPercent

// Run is what Main does with a service's arguments.
func Run(ctx context.Context, service string, commands []Command, args []string, stdout, stderr io.Writer) int {
	return run(ctx, program{service, commands}, args, stdout, stderr)
}
