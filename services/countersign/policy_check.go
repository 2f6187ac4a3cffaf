package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// checkFlags are the flags of policy check.
type checkFlags struct {
	genesis string
	lists   []string
	strict  bool
	at      string
}

// checkView is what policy check says.
type checkView struct {
	Version   int            `json:"version"`
	Hash      message.Hash   `json:"hash"`
	Expires   string         `json:"expires"`
	Users     int            `json:"users"`
	Approvers int            `json:"approvers"`
	Rules     map[string]int `json:"rules"`
	// Unchecked says what could not be looked at.
	Unchecked []string      `json:"unchecked,omitempty"`
	Faults    []string      `json:"faults,omitempty"`
	Warnings  []warningView `json:"warnings,omitempty"`
	// Next says what the command was not given, and what it was given in vain.
	Next string `json:"next,omitempty"`
}

// warningView is something that is most likely not meant.
type warningView struct {
	Role   string `json:"role,omitempty"`
	Rule   string `json:"rule,omitempty"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (a *app) policySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of policy documents",
		Long: `Print the JSON schema of policy documents, for editors that check YAML while it
is written. What a schema cannot say, such as the types of rules, is said by
countersign policy check.`,
		Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.out.Write(document.Schema()); err != nil {
				return fmt.Errorf("writing output: %w", err)
			}
			return nil
		},
	}
}

func (a *app) policyCheck() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check FILE [--genesis FILE] [--list FILE...]",
		Short: "Report every fault of a policy document, and what is most likely not meant",
		Long: `Report every fault of a policy document: its form, what it says, the types of
its rules. Warnings are about what is most likely not meant, such as a rule that
no request can reach, or that allows everything.

It ends with 1 after a fault, with --strict after a warning too.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := f.check(args[0])
			if err != nil {
				return err
			}
			if err := a.show(v, v.human); err != nil {
				return err
			}
			return v.ended(f.strict)
		},
	}
	c.Flags().StringVar(&f.genesis, "genesis", "", "genesis document of the deployment; without it the deployment's id and roles are taken for granted")
	c.Flags().BoolVar(&f.strict, "strict", false, "end with 1 after a warning too")
	c.Flags().StringVar(&f.at, "at", "", "look at the document as of this time (RFC 3339; default: now)")
	listFlag(c, &f.lists)
	return c
}

func (f checkFlags) check(path string) (v checkView, err error) {
	d, err := readDraft(path, f.lists)
	if err != nil {
		return v, err
	}
	now, err := moment(f.at)
	if err != nil {
		return v, err
	}
	v = d.view()
	var deployment trial.Deployment
	if f.genesis == "" {
		v.Unchecked = []string{"deployment", "the services that the deployment requires"}
	} else if deployment.Genesis, deployment.ID, err = readGenesis(f.genesis); err != nil {
		return v, err
	}
	report := trial.Check(d.doc, d.files, deployment, now)
	for _, fault := range report.Faults {
		v.Faults = append(v.Faults, fault.Error())
	}
	for _, w := range report.Warnings {
		v.Warnings = append(v.Warnings, warningView(w))
	}
	if v.Next = d.missingList(); v.Next == "" {
		v.Next = strings.Join(d.unnamed(), "; ")
	}
	return v, nil
}

// moment reads a time; none is now.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, advise(fmt.Errorf("%q is not a time", text), "write it as RFC 3339: 2027-01-31T09:30:00Z")
	}
	return at.UTC(), nil
}

func (d *draft) view() checkView {
	v := checkView{
		Version: d.doc.Version, Hash: d.hash(), Expires: d.doc.Expires.Format(time.RFC3339),
		Users: len(d.doc.Users), Approvers: len(d.doc.Approvers), Rules: map[string]int{},
	}
	for _, role := range message.PolicyRoles() {
		v.Rules[role] = len(d.doc.Rules.Of(role))
	}
	return v
}

func (v checkView) human(w io.Writer) {
	fmt.Fprintf(w, "version     %d\nhash        %s\nexpires     %s\nusers       %d\napprovers   %d\n",
		v.Version, v.Hash, v.Expires, v.Users, v.Approvers)
	fmt.Fprint(w, "rules      ")
	for _, role := range message.PolicyRoles() {
		fmt.Fprintf(w, " %d %s", v.Rules[role], role)
	}
	fmt.Fprintln(w)
	for _, what := range v.Unchecked {
		fmt.Fprintf(w, "unchecked   %s: give --genesis\n", what)
	}
	for _, fault := range v.Faults {
		fmt.Fprintf(w, "FAULT       %s\n", fault)
	}
	for _, warning := range v.Warnings {
		fmt.Fprintf(w, "warning     %s%s (%s)\n", where(warning), warning.Detail, warning.Code)
	}
	fmt.Fprintf(w, "result      %s, %s\n", number(len(v.Faults), "fault"), number(len(v.Warnings), "warning"))
	if v.Next != "" {
		fmt.Fprintf(w, "next        %s\n", v.Next)
	}
}

// number is a number of things in words.
func number(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func where(w warningView) string {
	switch {
	case w.Role == "":
		return ""
	case w.Rule == "":
		return w.Role + ": "
	}
	return w.Role + ", rule " + w.Rule + ": "
}

// ended is the exit code, after everything was shown.
func (v checkView) ended(strict bool) error {
	if len(v.Faults) > 0 || (strict && len(v.Warnings) > 0) {
		return ended{exitError, "faulty"}
	}
	return nil
}
