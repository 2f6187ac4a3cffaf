package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/policy/trial"
)

// casesView is what policy test says.
type casesView struct {
	Cases  []trial.Outcome `json:"cases"`
	Failed int             `json:"failed"`
	// Undecided are the rules that decide no case.
	Undecided []string `json:"undecided,omitempty"`
}

func (a *app) policyTest() *cobra.Command {
	var path string
	var lists []string
	var complete bool
	c := &cobra.Command{
		Use:   "test FILE --cases FILE",
		Short: "Try a policy document on a file of cases",
		Long: `Try a policy document on a file of cases: requests of made-up wallets at a given
time, after a given history, each with what is to come of it. It ends with 1 if a
case comes out otherwise, with --complete also if a rule decides no case.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := runCases(cmd.Context(), args[0], path, lists)
			if err != nil {
				return err
			}
			if err := a.show(v, v.human); err != nil {
				return err
			}
			if v.Failed > 0 || (complete && len(v.Undecided) > 0) {
				return ended{exitError, "not as expected"}
			}
			return nil
		},
	}
	c.Flags().StringVar(&path, "cases", "", "file of cases (docs/policy-commands.md)")
	c.Flags().BoolVar(&complete, "complete", false, "end with 1 if a rule decides no case")
	listFlag(c, &lists)
	return require(c, "cases")
}

// readCases reads a file of cases, and the lists that it names beside it.
func readCases(d *draft, path string) (*trial.Cases, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading cases: %w", err)
	}
	cases, err := trial.ParseCases(raw)
	if err != nil {
		return nil, advise(fmt.Errorf("%s: %w", path, err), "docs/policy-commands.md says how cases are written")
	}
	for _, name := range cases.Lists {
		if err := d.add([]string{filepath.Join(filepath.Dir(path), name)}); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

func runCases(ctx context.Context, path, casesPath string, lists []string) (casesView, error) {
	v := casesView{Cases: []trial.Outcome{}}
	d, err := readDraft(path, lists)
	if err != nil {
		return v, err
	}
	cases, err := readCases(&d, casesPath)
	if err != nil {
		return v, err
	}
	if err := d.sound(); err != nil {
		return v, err
	}
	for _, c := range cases.Cases {
		o := trial.Run(ctx, d.doc, d.files, cases, c)
		if !o.Passed {
			v.Failed++
		}
		v.Cases = append(v.Cases, o)
	}
	v.Undecided = trial.Undecided(d.doc, v.Cases)
	return v, nil
}

func (v casesView) human(w io.Writer) {
	for _, o := range v.Cases {
		if o.Passed {
			fmt.Fprintf(w, "ok    %-5s  %s\n", o.Decision.Verdict, o.Name)
			continue
		}
		fmt.Fprintf(w, "FAIL  %-5s  %s\n", o.Decision.Verdict, o.Name)
		for _, fault := range o.Faults {
			fmt.Fprintf(w, "      %s\n", fault)
		}
		writeDecision(indented{w}, o.Decision, false)
	}
	fmt.Fprintf(w, "%d cases, %d failed\n", len(v.Cases), v.Failed)
	for _, rule := range v.Undecided {
		fmt.Fprintf(w, "no case is decided by rule %s\n", rule)
	}
}

// indented writes lines further to the right.
type indented struct{ io.Writer }

// Write puts spaces before each line of p, which ends with one.
func (w indented) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if _, err := fmt.Fprintf(w.Writer, "      %s", line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
