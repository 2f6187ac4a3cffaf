package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// explainFlags are the flags of policy explain.
type explainFlags struct {
	lists      []string
	cases      string
	request    string
	descriptor string
	user       string
	at         string
	config     string
}

// explainView is what policy explain says.
type explainView struct {
	Request  string         `json:"request"`
	At       string         `json:"at"`
	Does     []string       `json:"does"`
	Decision trial.Decision `json:"decision"`
}

func (a *app) policyExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain FILE --request NAME|FILE|ID",
		Short: "Say what each rule comes to for one request, and why",
		Long: `Say of one request what every rule of every role comes to, with the values that
it read. The request is one of

    --request NAME --cases FILE                a case of a file of cases
    --request FILE --descriptor FILE --user ID a statement, with what account list
                                               --json prints of its account (of
                                               account.create: wallet show --json
                                               of its wallet)
    --request ID --config FILE                 a recorded request, for operators`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.fit(); err != nil {
				return usageError{err, cmd.CommandPath()}
			}
			v, err := f.explain(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(v, v.human)
		},
	}
	c.Flags().StringVar(&f.request, "request", "", "name of a case, file of a statement, or id of a recorded request")
	c.Flags().StringVar(&f.cases, "cases", "", "file of cases")
	c.Flags().StringVar(&f.descriptor, "descriptor", "", "file with what account list --json, or wallet show --json, prints of the statement's account or wallet, or with its descriptor")
	c.Flags().StringVar(&f.user, "user", "", "id of the user who asks (of a statement)")
	c.Flags().StringVar(&f.at, "at", "", "when the user asks (RFC 3339; of a statement; default: now)")
	c.Flags().StringVar(&f.config, "config", "", "the operator's configuration file")
	listFlag(c, &f.lists)
	return require(c, "request")
}

// fit refuses flags that would change nothing: a case and a recorded request say
// themselves who asks, when, and on what.
func (f explainFlags) fit() error {
	source := ""
	switch {
	case f.cases != "" && f.config != "":
		return errors.New("--cases and --config name two requests: give one")
	case f.cases != "":
		source = "--cases"
	case f.config != "":
		source = "--config"
	default:
		return nil
	}
	var faults []error
	for _, own := range [][2]string{{"--user", f.user}, {"--at", f.at}, {"--descriptor", f.descriptor}} {
		if own[1] != "" {
			faults = append(faults, fmt.Errorf("%s does not go with %s, whose request has its own", own[0], source))
		}
	}
	return errors.Join(faults...)
}

func (f explainFlags) explain(ctx context.Context, path string) (v explainView, err error) {
	d, err := readDraft(path, f.lists)
	if err != nil {
		return v, err
	}
	switch {
	case f.cases != "":
		return f.explainCase(ctx, d)
	case f.config != "":
		return f.explainRecorded(ctx, d)
	case f.user != "":
		return f.explainStatement(ctx, d)
	}
	return v, advise(errors.New("where the request comes from is not said"),
		"give --cases FILE, or --config FILE, or --user ID with --descriptor FILE (wallet.create has none)")
}

func (f explainFlags) explainCase(ctx context.Context, d draft) (v explainView, err error) {
	cases, err := readCases(&d, f.cases)
	if err != nil {
		return v, err
	}
	if err := d.sound(); err != nil {
		return v, err
	}
	i := slices.IndexFunc(cases.Cases, func(c trial.Case) bool { return c.Name == f.request })
	if i < 0 {
		return v, advise(fmt.Errorf("%s has no case %q", f.cases, f.request), "list them: countersign policy test %s --cases %s", d.path, f.cases)
	}
	c := cases.Cases[i]
	decision, filing, err := trial.Decide(ctx, d.doc, d.files, cases, c)
	if err != nil {
		return v, advise(fmt.Errorf("case %q: %w", c.Name, err), "correct the case; docs/policy-commands.md says how cases are written")
	}
	return explained(filing, decision, c.User, c.At.Time), nil
}

// explainStatement tries a statement out as if a user had signed it.
func (f explainFlags) explainStatement(ctx context.Context, d draft) (v explainView, err error) {
	if err := d.sound(); err != nil {
		return v, err
	}
	at, err := moment(f.at)
	if err != nil {
		return v, err
	}
	statement, err := os.ReadFile(f.request)
	if err != nil {
		return v, fmt.Errorf("reading statement: %w", err)
	}
	if !slices.ContainsFunc(d.doc.Users, func(u document.User) bool { return u.ID == f.user }) {
		return v, advise(fmt.Errorf("the document has no user %q", f.user), "give --user with an id of the document's users")
	}
	descriptor, err := f.readDescriptor(d.doc.Deployment, statement)
	if err != nil {
		return v, err
	}
	sandbox, err := trial.NewSandbox(d.doc, d.files)
	if err != nil {
		return v, err
	}
	if sandbox.Required, err = requiredRoles(descriptor); err != nil {
		return v, advise(err, adviceDescriptor)
	}
	filing, err := sandbox.Sign(ctx, statement, oneDescriptor(descriptor), f.user, at)
	if err != nil {
		return v, advise(fmt.Errorf("statement %s: %w", f.request, err),
			"the statement must be one for the document's deployment, and the descriptor that of its account (of account.create: of its wallet)")
	}
	decision, err := trial.NewBench(sandbox.Active, at).Explain(ctx, filing, at)
	if err != nil {
		return v, err
	}
	return explained(filing, decision, f.user, at), nil
}

func explained(f trial.Filing, d trial.Decision, user string, at time.Time) explainView {
	return explainView{
		Request: fmt.Sprintf("%s by %s", f.Meaning.Statement.Kind, user), At: at.UTC().Format(time.RFC3339),
		Does: describe(f.Meaning), Decision: d,
	}
}

func (v explainView) human(w io.Writer) {
	fmt.Fprintf(w, "request  %s at %s\n", v.Request, v.At)
	for _, line := range v.Does {
		fmt.Fprintf(w, "         %s\n", line)
	}
	fmt.Fprintf(w, "verdict  %s\n", v.Decision.Verdict)
	writeDecision(w, v.Decision, true)
}
