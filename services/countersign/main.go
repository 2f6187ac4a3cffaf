// Command countersign is the command line of users, approvers, policy admins
// and operators, and the launcher of a development deployment.
//
// It trusts the person who runs it and the key files that this person names.
// What a server tells it, it checks where it can: it computes the digests of
// a request itself before an approver signs them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
