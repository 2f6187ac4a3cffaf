package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/dev"
)

func (a *app) devCommand() *cobra.Command {
	var dir, bin string
	c := &cobra.Command{
		Use:   "dev --dir DIR",
		Short: "Run a whole deployment on this machine, for development only",
		Long: `Make a deployment in DIR, or start the one that is there: genesis, secrets,
keys, a private PostgreSQL and the five services. When all are ready, DIR/dev.json
says how to use it. Ctrl-C stops everything; the data stays in DIR. A folder that
holds anything else is left as it is.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			bin, err := binaries(bin)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(a.errOut, nil))
			err = dev.Run(cmd.Context(), dev.Options{
				Dir: dir, Bin: bin, Log: log,
				Ready: func(p dev.Profile) { a.showReady(dir, p) },
			})
			return adviseDev(err, dir, bin)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "folder of the deployment: a new or empty one, or that of an earlier run")
	c.Flags().StringVar(&bin, "bin", "", "folder of the service binaries (default: where countersign is)")
	return require(c, "dir")
}

// binaries is the folder of this program unless another is given.
func binaries(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the service binaries: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("finding the service binaries: %w", err)
	}
	return filepath.Dir(self), nil
}

func (a *app) showReady(dir string, p dev.Profile) {
	profile := filepath.Join(dir, "dev.json")
	_ = a.show(p, func(w io.Writer) {
		fmt.Fprintf(w, `
DEVELOPMENT deployment %s is ready: keep nothing of value in it.

  proposer  %s
  approvals %s
  logs      %s

In another terminal:

  export COUNTERSIGN_PROFILE=%s
  countersign wallet create --label first

Ctrl-C stops everything.
`, p.Deployment, p.Proposer, p.Console, p.Logs, profile)
	})
}

func adviseDev(err error, dir, bin string) error {
	switch {
	case errors.Is(err, dev.ErrRunning):
		return advise(err, "use that one, or choose another --dir")
	case errors.Is(err, dev.ErrForeign):
		return advise(err, "choose an empty or new --dir")
	case errors.Is(err, dev.ErrUnfinished):
		return advise(err, "it holds nothing yet: rm -r %s, and start again", dir)
	case errors.Is(err, cluster.ErrNoServer):
		return advise(err, "install PostgreSQL 15 or later (Debian: apt-get install postgresql)")
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return advise(err, "build the services into %s with: make build", bin)
	}
	return err
}
