package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
	"github.com/countersign/countersign/policy/trial/trialpg"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet/descriptorpg"
)

// defaultSince is how far back a simulation reaches unless told otherwise: 30
// days.
const defaultSince = 720 * time.Hour

// simulateFlags are the flags of policy simulate.
type simulateFlags struct {
	config string
	lists  []string
	since  time.Duration
	until  string
}

func (a *app) policySimulate() *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate FILE --config FILE [--since 720h] [--until TIME]",
		Short: "Decide recorded requests again under a draft, and say what would change",
		Long: `Decide the recorded requests of a period again, in their order, under a draft of
the policy document, and say which decisions would change. What was approved
before counts as it did, for as long as the draft's rules look back. Nothing is
written.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.since <= 0 {
				return usageError{errors.New("--since must be above 0"), cmd.CommandPath()}
			}
			s, err := f.simulate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(s, func(w io.Writer) { writeSimulation(w, s) })
		},
	}
	c.Flags().StringVar(&f.config, "config", "", "the operator's configuration file")
	c.Flags().DurationVar(&f.since, "since", defaultSince, "how long before its end the period begins")
	c.Flags().StringVar(&f.until, "until", "", "end of the period (RFC 3339; default: now)")
	listFlag(c, &f.lists)
	return require(c, "config")
}

func (f simulateFlags) simulate(ctx context.Context, path string) (s trial.Simulation, err error) {
	until, err := moment(f.until)
	if err != nil {
		return s, err
	}
	d, err := readDraft(path, f.lists)
	if err != nil {
		return s, err
	}
	past, err := openPast(f.config, d)
	if err != nil {
		return s, err
	}
	defer past.close()
	since := until.Add(-f.since)
	simulator := trial.NewSimulator(past.active, past.interpreter, since, until)
	s, err = simulator.Run(ctx, past.store.Recorded(ctx, simulator.Begin(), until))
	return s, adviseDatabase(err)
}

func adviseDatabase(err error) error {
	if errors.Is(err, trial.ErrExpired) {
		return advise(err, "write a later expires into the draft")
	}
	return advise(err, "check that the database is reachable and prepared by this release: countersign database init --help")
}

// past is what a draft is tried on: a deployment's recorded requests.
type past struct {
	active      *document.Active
	interpreter transaction.Interpreter
	store       *trialpg.Store
	close       func()
}

// openOperator reads the operator's configuration, and what it names.
func openOperator(path string) (cfg config.Operator, d *boot.Deployment, err error) {
	const next = "correct the operator's configuration or what it names; an example with every key explained: deploy/config/operator.yaml"
	if err = config.Load(path, &cfg); err != nil {
		return cfg, nil, advise(err, next)
	}
	d, err = boot.Open(secrets.ServiceOperator, cfg.Service)
	return cfg, d, advise(err, next)
}

// openPast logs in to the database as the operator, with a draft that is one for
// this deployment.
func openPast(path string, d draft) (p past, err error) {
	cfg, deployment, err := openOperator(path)
	if err != nil {
		return p, err
	}
	report := trial.Check(d.doc, d.files, trial.Deployment{Genesis: deployment.Genesis, ID: deployment.ID}, d.doc.Expires.Add(-1))
	if err := errors.Join(report.Faults...); err != nil {
		return p, advise(err, "%s", d.mend())
	}
	p.active = &document.Active{Document: d.doc}
	if err := p.active.Attach(d.files); err != nil {
		return p, err
	}
	dbConfig, err := deployment.Database(cfg.Database)
	if err != nil {
		return p, err
	}
	db, err := database.Open(dbConfig)
	if err != nil {
		return p, adviseDatabase(err)
	}
	p.close = func() { _ = db.Close() }
	p.store = trialpg.New(db)
	p.interpreter = trial.Interpreter(deployment.ID, deployment.Genesis.Roles, descriptorpg.New(db))
	return p, nil
}

// explainRecorded decides one recorded request under the document, at the time
// when it was submitted, after what was approved in the time before that the
// document's rules look back on.
func (f explainFlags) explainRecorded(ctx context.Context, d draft) (v explainView, err error) {
	past, err := openPast(f.config, d)
	if err != nil {
		return v, err
	}
	defer past.close()
	r, err := past.store.One(ctx, f.request)
	if errors.Is(err, trialpg.ErrNoRequest) {
		return v, advise(err, "list them: countersign request list")
	}
	if err != nil {
		return v, adviseDatabase(err)
	}
	simulator := trial.NewSimulator(past.active, past.interpreter, r.Submitted, r.Submitted)
	decision, filing, err := simulator.Explain(ctx, past.store.Recorded(ctx, simulator.Begin(), r.Submitted), r)
	if err != nil {
		return v, adviseDatabase(err)
	}
	return explained(filing, decision, orNobody(decision.User), r.Submitted), nil
}

func writeSimulation(w io.Writer, s trial.Simulation) {
	for _, c := range s.Changes {
		fmt.Fprintf(w, "%s  %s  %s by %s: %s to %s%s\n", c.Submitted.Format(time.RFC3339), c.Request, c.Kind, orNobody(c.User), c.From, c.To, ruleList(c.Rules))
		for _, why := range c.Why {
			fmt.Fprintf(w, "    %s: %s: %s\n", why.Role, why.Code, why.Detail)
		}
	}
	fmt.Fprintf(w, "period      %s to %s\n", s.Since.Format(time.RFC3339), s.Until.Format(time.RFC3339))
	fmt.Fprintf(w, "before      %d requests since %s were looked at\n", s.Earlier, s.EarlierSince.Format(time.RFC3339))
	fmt.Fprintf(w, "requests    %d compared; %d were not decided by rules; %d cannot be read\n", s.Decided, s.Undecided, s.Unreadable)
	fmt.Fprintf(w, "draft       %s\n", counted(s.Verdicts, trial.Allow, trial.Ask, trial.Deny))
	fmt.Fprintf(w, "changes     %d", len(s.Changes))
	for _, move := range slices.Sorted(maps.Keys(s.Moves)) {
		fmt.Fprintf(w, "; %d from %s", s.Moves[move], move)
	}
	fmt.Fprintln(w)
}

func orNobody(user string) string {
	if user == "" {
		return "somebody unknown"
	}
	return user
}

func counted(counts map[trial.Verdict]int, verdicts ...trial.Verdict) string {
	var out []string
	for _, v := range verdicts {
		out = append(out, fmt.Sprintf("%d %s", counts[v], v))
	}
	return strings.Join(out, ", ")
}
