package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/release"
)

// Exit codes. A request that ends without a signature is not an error of the
// command line but has a code of its own, so that scripts can tell.
const (
	exitError    = 1
	exitUsage    = 2
	exitRefused  = 3 // the request ended as rejected, expired, failed or cancelled
	exitNotEnded = 4 // the time to wait is over, the request is still open
)

// app is what all commands share.
type app struct {
	out     io.Writer
	errOut  io.Writer
	json    bool
	profile profileFlags
}

func execute(ctx context.Context, args []string, out, errOut io.Writer) int {
	a := &app{out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	strict(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.report(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "Sign with wallets that no single person controls",
		Long: `countersign talks to a Countersign deployment.

Start one on this machine with:   countersign dev --dir DIR
and use it from another terminal: export COUNTERSIGN_PROFILE=DIR/dev.json
                                  countersign wallet create --label first`,
		Version:       release.This().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "write one JSON document to standard output")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{err, cmd.CommandPath()}
	})
	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Use a deployment:"},
		&cobra.Group{ID: "approve", Title: "Approve:"},
		&cobra.Group{ID: "operate", Title: "Set up and operate:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("use", a.walletCommand(), a.accountCommand(), a.signCommand(), a.requestCommand())
	add("approve", a.approvalsCommand(), a.voteCommand(approving), a.voteCommand(rejecting), a.freezeCommand())
	add("operate", a.devCommand(), a.keyCommand(), a.genesisCommand(), a.secretsCommand(),
		a.databaseCommand(), a.policyCommand())
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	completePaths(root)
	return root
}

// usageError is a wrong command line.
type usageError struct {
	error
	command string
}

// ended carries an exit code where everything was shown already.
type ended struct {
	code   int
	status string
}

func (e ended) Error() string { return "request is " + e.status }

// report writes an error and returns the exit code for it.
func (a *app) report(err error) int {
	var end ended
	if errors.As(err, &end) {
		return end.code
	}
	code, next := exitError, nextStep(err)
	var usage usageError
	if errors.As(err, &usage) {
		code, next = exitUsage, "run: "+usage.command+" --help"
	}
	if a.json {
		_ = json.NewEncoder(a.errOut).Encode(map[string]string{"error": err.Error(), "next": next})
		return code
	}
	fmt.Fprintf(printable{a.errOut}, "error: %v\n", err)
	if next != "" {
		fmt.Fprintf(a.errOut, "next:  %s\n", next)
	}
	return code
}

// show writes v as JSON, or calls human.
func (a *app) show(v any, human func(w io.Writer)) error {
	if !a.json {
		human(printable{a.out})
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	return nil
}

// group is a command that only holds others; alone it shows its help.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noCommand, RunE: func(cmd *cobra.Command, _ []string) error {
		return cmd.Help()
	}}
	c.AddCommand(commands...)
	return c
}

func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q", args[0]), cmd.CommandPath()}
	}
	return nil
}

// exactly wants n arguments.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%d arguments given, %d wanted: %s", len(args), n, cmd.UseLine()), cmd.CommandPath()}
		}
		return nil
	}
}

// require marks flags without which a command means nothing.
func require(c *cobra.Command, flags ...string) *cobra.Command {
	inner := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range flags {
			if !cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s is missing", name), cmd.CommandPath()}
			}
		}
		if inner != nil {
			return inner(cmd, args)
		}
		return nil
	}
	return c
}
