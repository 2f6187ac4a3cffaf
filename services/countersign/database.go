package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// databaseFlags are the flags of database init.
type databaseFlags struct {
	addresses    []string
	name, ca     string
	serverName   string
	owner        string
	passwordFile string
	genesis      string
	verifiers    string
}

func (a *app) databaseCommand() *cobra.Command {
	return group("database", "Prepare the database", a.databaseInit())
}

func (a *app) databaseInit() *cobra.Command {
	var f databaseFlags
	c := &cobra.Command{
		Use:   "init --address HOST:PORT --ca FILE --owner NAME --password-file FILE --genesis FILE --verifiers FILE",
		Short: "Apply roles, schema and grants; run it again after each upgrade",
		Long: `Apply the schema, one login role per service, and its grants. The roles'
passwords come as SCRAM verifiers, which the signing service writes:

    signing verifiers --config signing.yaml > verifiers.json

so that whoever runs this command sees no password.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			roles, err := f.init(cmd)
			if err != nil {
				return err
			}
			return a.show(map[string]any{"database": f.name, "roles": roles}, func(w io.Writer) {
				fmt.Fprintf(w, "database  %s is ready\nroles     %s\n", f.name, strings.Join(roles, ", "))
			})
		},
	}
	c.Flags().StringSliceVar(&f.addresses, "address", nil, "host:port of the server; several for a cluster")
	c.Flags().StringVar(&f.name, "name", "countersign", "name of the database")
	c.Flags().StringVar(&f.ca, "ca", "", "PEM certificates that the server's certificate chains to")
	c.Flags().StringVar(&f.serverName, "server-name", "", "name in the server's certificate (default: the host)")
	c.Flags().StringVar(&f.owner, "owner", "", "the database's owner, who may make roles")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "file with the owner's password (mode 0600)")
	c.Flags().StringVar(&f.genesis, "genesis", "", "genesis document, which lists the roles")
	c.Flags().StringVar(&f.verifiers, "verifiers", "", "SCRAM verifiers from: signing verifiers")
	return require(c, "address", "ca", "owner", "password-file", "genesis", "verifiers")
}

func (f databaseFlags) init(cmd *cobra.Command) ([]string, error) {
	g, _, err := readGenesis(f.genesis)
	if err != nil {
		return nil, err
	}
	verifiers, err := readVerifiers(f.verifiers)
	if err != nil {
		return nil, err
	}
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	db, err := database.Open(cfg)
	if err != nil {
		return nil, advise(err, "correct --address HOST:PORT, --name or --owner")
	}
	defer db.Close()
	if err := database.Init(cmd.Context(), db, g.Roles, verifiers); err != nil {
		return nil, advise(err, "check that %s may make roles, and that the verifiers are of this genesis", f.owner)
	}
	roles := make([]string, 0, len(verifiers))
	for service := range verifiers {
		roles = append(roles, database.Role(service))
	}
	slices.Sort(roles)
	return roles, nil
}

func (f databaseFlags) config() (database.Config, error) {
	pool, err := roots(f.ca)
	if err != nil {
		return database.Config{}, err
	}
	if err := config.CheckPrivate(f.passwordFile); err != nil {
		if errors.Is(err, config.ErrPermissions) {
			return database.Config{}, advise(err, "run: chmod 600 %s", f.passwordFile)
		}
		return database.Config{}, err
	}
	password, err := os.ReadFile(f.passwordFile)
	if err != nil {
		return database.Config{}, err
	}
	return database.Config{
		Addr: strings.Join(f.addresses, ","), Name: f.name, User: f.owner,
		Password: secrets.NewSecret(bytes.TrimSpace(password)), RootCAs: pool, ServerName: f.serverName,
	}, nil
}

func readVerifiers(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	var out map[string]string
	if err == nil && message.DecodeStrict(b, &out) != nil {
		err = fmt.Errorf("%s holds no verifiers", path)
	}
	return out, advise(err, "make it with: signing verifiers --config signing.yaml > %s", path)
}
