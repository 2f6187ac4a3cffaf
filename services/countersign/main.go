// Command countersign is the command line of users, approvers, policy admins
// and operators, and the launcher of a development deployment.
//
// It trusts the person who runs it and the key files that this person names.
// What a server tells it, it checks where it can: it computes the digests of
// a request itself before an approver signs them. Like the services it leaves no
// core file, and others of the same user cannot look into its memory.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/secrets/hygiene"
)

func main() {
	if _, err := hygiene.Harden(); err != nil { // memory that cannot be locked is no fault here
		fmt.Fprintf(os.Stderr, "error: %v\nnext:  run it where the kernel allows prctl and setrlimit: it handles private keys\n", err)
		os.Exit(exitError)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
