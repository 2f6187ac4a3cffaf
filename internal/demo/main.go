// Command demo shows Countersign at work on this machine: it starts the five
// processes with `countersign dev`, makes a wallet, lets transfers be signed,
// rejected and approved, and then attacks the deployment as the superuser of
// its database. It ends with a table of what happened and leaves nothing
// running.
//
// It uses the deployment as anybody outside could: through the client, the
// command line and, for the attacks, the database. It is no part of the
// product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/countersign/countersign/internal/deployment"
)

// demoTimeout is far more than the demo needs: what hangs is ended and shown
// as a failure.
const demoTimeout = 3 * time.Minute

func main() {
	bin := flag.String("bin", "bin", "folder of the built binaries")
	keep := flag.Bool("keep", false, "keep the deployment's folder, with the services' logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	err := run(ctx, *bin, *keep)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, keep bool) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := deployment.TempDir("countersign-demo-")
	if err != nil {
		return err
	}
	defer func() {
		// Logs are what explains a failure.
		if keep || err != nil {
			fmt.Printf("the deployment's folder is kept: %s\n", dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	d, err := deployment.Start(ctx, bin, filepath.Join(dir, "deployment"))
	if err != nil {
		return err
	}
	s, err := newStage(ctx, d)
	if err == nil {
		err = s.play(ctx)
	}
	s.close()
	if err := errors.Join(err, d.Stop()); err != nil {
		return err
	}
	s.rows.add("everything stopped", "nothing is left running", 0)
	s.rows.print(os.Stdout)
	return s.rows.failure()
}
