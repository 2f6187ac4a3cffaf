package main

import (
	"github.com/spf13/cobra"
)

// fileFlags want the path of a file, and folderFlags that of a folder, whatever
// command they are of. Nothing else is completed by what lies in the current
// folder: a file's name is no id.
var (
	fileFlags = []string{
		"ca", "cases", "cert", "config", "descriptor", "genesis", "key", "list", "out", "password-file", "policy",
		"predecessor", "profile", "request", "secret", "signature", "token-file", "verifiers",
	}
	folderFlags = []string{"bin", "dir"}
)

// completePaths says of a command, and of all below it, where a shell completes
// the names of files and folders.
func completePaths(c *cobra.Command) {
	for _, name := range fileFlags {
		completeFlag(c, name, cobra.ShellCompDirectiveDefault)
	}
	for _, name := range folderFlags {
		completeFlag(c, name, cobra.ShellCompDirectiveFilterDirs)
	}
	for _, sub := range c.Commands() {
		completePaths(sub)
	}
}

// completeFlag says how the value of a flag is completed, where the command has it.
func completeFlag(c *cobra.Command, name string, how cobra.ShellCompDirective, values ...cobra.Completion) {
	if c.Flags().Lookup(name) == nil && c.PersistentFlags().Lookup(name) == nil {
		return
	}
	if err := c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, how)); err != nil {
		panic(err) // the flag is there, and has none yet: the tree of commands is wrong
	}
}

// oneOf says which values a flag has.
func oneOf[T ~string](c *cobra.Command, name string, values ...T) {
	var all []cobra.Completion
	for _, v := range values {
		all = append(all, cobra.Completion(v))
	}
	completeFlag(c, name, cobra.ShellCompDirectiveNoFileComp, all...)
}

// oneFile completes the argument of a command that takes a file.
func oneFile(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// strict makes errors of what the library's own commands, help and completion,
// show their help for: a command or a shell that there is not.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, showHelp
		case "completion":
			c.Args = noCommand
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
			for _, shell := range c.Commands() {
				shell.Args = exactly(0)
			}
		}
	}
}

func showHelp(c *cobra.Command, args []string) error {
	about, left, err := c.Root().Find(args)
	if err != nil {
		return usageError{err, c.Root().Name()}
	}
	if err := noCommand(about, left); err != nil {
		return err
	}
	about.InitDefaultHelpFlag()
	about.InitDefaultVersionFlag()
	return about.Help()
}
