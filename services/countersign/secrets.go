package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// secretView is a secret or branch file as the commands show it: never its
// bytes.
type secretView struct {
	File        string            `json:"file"`
	Half        secrets.Half      `json:"half"`
	Generation  int               `json:"generation"`
	Service     string            `json:"service,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	Branches    []secrets.Purpose `json:"branches,omitempty"`
}

func (a *app) secretsCommand() *cobra.Command {
	return group("secrets", "Make the two secrets and hand out their branches",
		a.secretsNew(), a.secretsBranch(), a.secretsInspect())
}

func (a *app) secretsNew() *cobra.Command {
	var half, out string
	var generation int
	c := &cobra.Command{
		Use:   "new --half build|deploy --out FILE",
		Short: "Make a build-time or deploy-time secret",
		Long: `Make the build-time secret (kept by the secure build) or the deploy-time
secret (kept by the user admin). The two must not meet in one person's hands.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h := secrets.Half(half)
			if h != secrets.HalfBuild && h != secrets.HalfDeploy {
				return usageError{fmt.Errorf("--half %q is neither build nor deploy", half), cmd.CommandPath()}
			}
			if generation < 1 {
				return usageError{fmt.Errorf("--generation %d is below 1", generation), cmd.CommandPath()}
			}
			f := secrets.NewSecretFile(h, generation)
			defer f.Secret.Wipe()
			if err := f.Write(out); err != nil {
				return err
			}
			return a.showSecret(out)
		},
	}
	c.Flags().StringVar(&half, "half", "", "build or deploy")
	oneOf(c, "half", secrets.HalfBuild, secrets.HalfDeploy)
	c.Flags().StringVar(&out, "out", "", "new file for the secret (mode 0600)")
	c.Flags().IntVar(&generation, "generation", 1, "number of the pair of secrets")
	return require(c, "half", "out")
}

func (a *app) secretsBranch() *cobra.Command {
	var secret, service, genesis, out string
	c := &cobra.Command{
		Use:   "branch --secret FILE --service NAME --genesis FILE --out FILE",
		Short: "Hand out exactly the branches that one service needs",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			g, _, err := readGenesis(genesis)
			if err != nil {
				return err
			}
			f, err := secrets.ReadSecretFile(secret)
			if err != nil {
				return adviseSecret(err, secret, "name a secret: countersign secrets new makes one")
			}
			defer f.Secret.Wipe()
			branch, err := f.Split(service, g.Roles)
			if err != nil {
				return advise(err, "give --service with one of them: the policy roles are those of %s", genesis)
			}
			if err := branch.Write(out); err != nil {
				return err
			}
			return a.showSecret(out)
		},
	}
	c.Flags().StringVar(&secret, "secret", "", "secret file")
	c.Flags().StringVar(&service, "service", "", "proposer, operator, signing or a policy role")
	oneOf(c, "service", secrets.Services(message.PolicyRoles())...)
	c.Flags().StringVar(&genesis, "genesis", "", "genesis document, which lists the roles")
	c.Flags().StringVar(&out, "out", "", "new file for the branches (mode 0600)")
	return require(c, "secret", "service", "genesis", "out")
}

func (a *app) secretsInspect() *cobra.Command {
	return &cobra.Command{
		Use:               "inspect FILE",
		Short:             "Say what a secret or branch file is, without telling a secret",
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE:              func(_ *cobra.Command, args []string) error { return a.showSecret(args[0]) },
	}
}

func (a *app) showSecret(path string) error {
	v, err := inspect(path)
	if err != nil {
		return adviseSecret(err, path, "name a file of countersign secrets new or countersign secrets branch")
	}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "file         %s\nhalf         %s\ngeneration   %d\n", v.File, v.Half, v.Generation)
		if v.Service == "" {
			fmt.Fprintf(w, "fingerprint  %s\n", v.Fingerprint)
			return
		}
		fmt.Fprintf(w, "service      %s\n", v.Service)
		for _, p := range v.Branches {
			fmt.Fprintf(w, "branch       %s\n", p)
		}
	})
}

func inspect(path string) (secretView, error) {
	if f, err := secrets.ReadSecretFile(path); err == nil {
		defer f.Secret.Wipe()
		fingerprint, err := secrets.Fingerprint(f.Secret)
		return secretView{File: path, Half: f.Half, Generation: f.Generation, Fingerprint: fingerprint}, err
	}
	f, err := secrets.ReadBranchFile(path)
	if err != nil {
		return secretView{}, err
	}
	v := secretView{File: path, Half: f.Half, Generation: f.Generation, Service: f.Service}
	for p, b := range f.Branches {
		v.Branches = append(v.Branches, p)
		b.Wipe()
	}
	slices.Sort(v.Branches)
	return v, nil
}

func adviseSecret(err error, path, next string) error {
	if errors.Is(err, secrets.ErrPermissions) {
		next = "run: chmod 600 " + path
	}
	return advise(err, "%s", next)
}
