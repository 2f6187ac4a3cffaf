package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/services/internal/boot"
)

// policyView is a policy document as the commands show it.
type policyView struct {
	Version    int          `json:"version"`
	Hash       message.Hash `json:"hash"`
	Users      int          `json:"users"`
	Approvers  int          `json:"approvers"`
	Signature  string       `json:"signature,omitempty"`
	Signatures int          `json:"signatures,omitempty"`
}

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Check, sign and publish the policy document", a.policyCheck(), a.policySign(), a.policyPush())
}

func (a *app) policyCheck() *cobra.Command {
	var genesis string
	c := &cobra.Command{
		Use:   "check FILE --genesis FILE",
		Short: "Report every fault of a policy document",
		Args:  exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, v, err := readPolicy(args[0], genesis)
			if err != nil {
				return err
			}
			return a.show(v, v.human)
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis document of the deployment")
	return require(c, "genesis")
}

func (a *app) policySign() *cobra.Command {
	var genesis, key, out string
	c := &cobra.Command{
		Use:   "sign FILE --genesis FILE --key FILE --out FILE",
		Short: "Sign a policy document as one of the admins",
		Long: `Sign the exact bytes of a policy document as one policy admin. As many admins
as the genesis asks for must sign before services accept it.`,
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			raw, v, err := readPolicy(args[0], genesis)
			if err != nil {
				return err
			}
			if v.Signature, err = signDocument(raw, genesis, key); err != nil {
				return err
			}
			if err := writeNew(out, []byte(v.Signature+"\n"), 0o644); err != nil {
				return fmt.Errorf("writing signature: %w", err)
			}
			return a.show(v, func(w io.Writer) {
				v.human(w)
				fmt.Fprintf(w, "signature   %s\nnext        countersign policy push %s --signature %s ... --config operator.yaml\n", out, args[0], out)
			})
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis document of the deployment")
	c.Flags().StringVar(&key, "key", "", "the admin's private key file")
	c.Flags().StringVar(&out, "out", "", "new file for the signature")
	return require(c, "genesis", "key", "out")
}

func (a *app) policyPush() *cobra.Command {
	var path string
	var signatures []string
	c := &cobra.Command{
		Use:   "push FILE --signature FILE... --config FILE",
		Short: "Publish a policy document that enough admins have signed",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var cfg config.Operator
			if err := config.Load(path, &cfg); err != nil {
				return err
			}
			v, err := push(cmd.Context(), cfg, args[0], signatures)
			if err != nil {
				return err
			}
			return a.show(v, v.human)
		},
	}
	c.Flags().StringArrayVar(&signatures, "signature", nil, "an admin's signature file; give it once for each admin")
	c.Flags().StringVar(&path, "config", "", "the operator's configuration file")
	return require(c, "signature", "config")
}

func (v policyView) human(w io.Writer) {
	fmt.Fprintf(w, "version     %d\nhash        %s\nusers       %d\napprovers   %d\n", v.Version, v.Hash, v.Users, v.Approvers)
	if v.Signatures > 0 {
		fmt.Fprintf(w, "signatures  %d\n", v.Signatures)
	}
}

// readPolicy parses and checks a document; the bytes are those to be signed.
func readPolicy(path, genesisPath string) ([]byte, policyView, error) {
	g, deployment, err := readGenesis(genesisPath)
	if err != nil {
		return nil, policyView{}, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, policyView{}, err
	}
	doc, err := document.Parse(raw)
	if err != nil {
		return nil, policyView{}, fmt.Errorf("%s: %w", path, err)
	}
	if doc.Deployment != deployment.String() {
		return nil, policyView{}, advise(fmt.Errorf("%s is for deployment %s", path, doc.Deployment),
			"write deployment: %s", deployment)
	}
	if err := doc.Validate(g); err != nil {
		return nil, policyView{}, advise(fmt.Errorf("%s: %w", path, err), "mend the document; nothing was signed or published")
	}
	return raw, policyView{
		Version: doc.Version, Hash: message.Sum(raw), Users: len(doc.Users), Approvers: len(doc.Approvers),
	}, nil
}

func signDocument(raw []byte, genesisPath, keyPath string) (string, error) {
	g, deployment, err := readGenesis(genesisPath)
	if err != nil {
		return "", err
	}
	key, err := readEd25519(keyPath)
	if err != nil {
		return "", err
	}
	public, err := message.NewJWK(key.Public())
	if err != nil {
		return "", err
	}
	for _, admin := range g.Admins {
		if admin.Key.Thumbprint() == public.Thumbprint() {
			return document.Sign(raw, deployment, key)
		}
	}
	return "", advise(errors.New("the key is no policy admin's"), "see who is: countersign genesis show %s", genesisPath)
}

func push(ctx context.Context, cfg config.Operator, path string, signatureFiles []string) (policyView, error) {
	d, err := boot.Open(secrets.ServiceOperator, cfg.Service)
	if err != nil {
		return policyView{}, err
	}
	raw, v, err := readPolicy(path, cfg.Genesis)
	if err != nil {
		return v, err
	}
	bundle := message.PolicyBundle{Document: raw}
	for _, file := range signatureFiles {
		b, err := os.ReadFile(file)
		if err != nil {
			return v, err
		}
		bundle.Signatures = append(bundle.Signatures, strings.TrimSpace(string(b)))
	}
	// What the services would refuse is not published.
	if _, err := document.VerifyBundle(bundle, d.Genesis, d.ID); err != nil {
		return v, advise(err, "collect signatures of %d different admins over exactly these bytes: countersign policy sign %s", d.Genesis.Threshold, path)
	}
	v.Signatures = len(bundle.Signatures)
	return v, publish(ctx, d, cfg, bundle)
}

func publish(ctx context.Context, d *boot.Deployment, cfg config.Operator, bundle message.PolicyBundle) error {
	body, err := message.Encode(bundle)
	if err != nil {
		return err
	}
	dbConfig, err := d.Database(cfg.Database)
	if err != nil {
		return err
	}
	db, err := database.Open(dbConfig)
	if err != nil {
		return err
	}
	defer db.Close()
	err = queue.New(db, dbConfig, d.Log).Publish(ctx, queue.Notice{
		Topic: queue.TopicPolicy, Key: message.Sum(body).String(), Sender: secrets.ServiceOperator, Body: body,
	})
	return advise(err, "check that the database is reachable and prepared: countersign database init --help")
}
