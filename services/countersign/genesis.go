package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
)

// genesisView is a genesis document as the commands show it.
type genesisView struct {
	Deployment message.Hash    `json:"deployment"`
	Genesis    message.Genesis `json:"genesis"`
}

// genesisFlags are the flags of genesis new.
type genesisFlags struct {
	name, out   string
	admins      []string
	threshold   int
	roles       []string
	roots       []string
	development bool
}

func (a *app) genesisCommand() *cobra.Command {
	return group("genesis", "Make and show the document that a deployment begins with", a.genesisNew(), a.genesisShow())
}

func (a *app) genesisNew() *cobra.Command {
	var f genesisFlags
	c := &cobra.Command{
		Use:   "new --name NAME --admin NAME=FILE... --threshold N --out FILE",
		Short: "Make a genesis document; its hash is the deployment id",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, admin := range f.admins {
				if !strings.Contains(admin, "=") {
					return usageError{fmt.Errorf("--admin %q is not NAME=FILE", admin), cmd.CommandPath()}
				}
			}
			b, err := f.document()
			if err != nil {
				return err
			}
			if err := writeNew(f.out, b, 0o644); err != nil {
				return fmt.Errorf("writing genesis: %w", err)
			}
			return a.showGenesis(f.out)
		},
	}
	c.Flags().StringVar(&f.name, "name", "", "name of the deployment")
	c.Flags().StringVar(&f.out, "out", "", "new file for the document")
	c.Flags().StringArrayVar(&f.admins, "admin", nil, "a policy admin, NAME=FILE with the public key (JWK or PEM); give it several times")
	c.Flags().IntVar(&f.threshold, "threshold", 0, "how many admins must sign a policy document (strict: at least 2)")
	c.Flags().StringSliceVar(&f.roles, "roles", message.PolicyRoles(), "required policy roles, in order")
	oneOf(c, "roles", message.PolicyRoles()...)
	c.Flags().StringSliceVar(&f.roots, "attestation-root", nil, "roots that attestations must chain to")
	c.Flags().BoolVar(&f.development, "development", false, "a deployment for development, which strict services refuse")
	return require(c, "name", "admin", "threshold", "out")
}

func (f genesisFlags) document() ([]byte, error) {
	g := message.Genesis{
		Version: message.Version, Name: f.name, Mode: message.ModeStrict, Nonce: make(message.Bytes, 16),
		Threshold: f.threshold, Roles: f.roles, AttestationRoots: f.roots,
	}
	if f.development {
		g.Mode = message.ModeDevelopment
	}
	if g.AttestationRoots == nil {
		g.AttestationRoots = []string{}
	}
	rand.Read(g.Nonce) // never returns an error (crypto/rand)
	for _, admin := range f.admins {
		name, file, _ := strings.Cut(admin, "=")
		key, err := readPublic(file)
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w", name, err)
		}
		g.Admins = append(g.Admins, message.Admin{Name: name, Key: key})
	}
	if err := g.Validate(); err != nil {
		return nil, advise(fmt.Errorf("genesis: %w", err), "correct the flags; nothing was written: countersign genesis new --help")
	}
	return message.Encode(g)
}

func (a *app) genesisShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show FILE",
		Short:             "Show a genesis document and its deployment id",
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE:              func(_ *cobra.Command, args []string) error { return a.showGenesis(args[0]) },
	}
}

func (a *app) showGenesis(path string) error {
	g, id, err := readGenesis(path)
	if err != nil {
		return err
	}
	return a.show(genesisView{id, g}, func(w io.Writer) {
		fmt.Fprintf(w, "deployment  %s\nname        %s\nmode        %s\nroles       %s\n",
			id, g.Name, g.Mode, strings.Join(g.Roles, ", "))
		fmt.Fprintf(w, "policy      %d of %d admins must sign\n", g.Threshold, len(g.Admins))
		for _, admin := range g.Admins {
			fmt.Fprintf(w, "  %-9s %s\n", admin.Name, admin.Key.Thumbprint())
		}
	})
}

func readGenesis(path string) (message.Genesis, message.Hash, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return message.Genesis{}, message.Hash{}, advise(err, "make one with: countersign genesis new --help")
	}
	if err != nil {
		return message.Genesis{}, message.Hash{}, err
	}
	g, id, err := message.ParseGenesis(b)
	if err != nil {
		return g, id, advise(fmt.Errorf("%s: %w", path, err), "take the document as it was made: every byte counts")
	}
	return g, id, nil
}
