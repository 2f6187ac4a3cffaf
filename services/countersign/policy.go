package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/trial"
)

// policyView is a policy document as the commands show it.
type policyView struct {
	Version    int          `json:"version"`
	Hash       message.Hash `json:"hash"`
	Users      int          `json:"users"`
	Approvers  int          `json:"approvers"`
	Signature  string       `json:"signature,omitempty"`
	Signatures int          `json:"signatures,omitempty"`
	Lists      int          `json:"lists,omitempty"` // files that were published or stood there
	// Faults are those of the rules for which services refuse what was signed.
	Faults []string `json:"faults,omitempty"`
}

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Check, try out, sign and publish the policy document",
		a.policySchema(), a.policyCheck(), a.policyExplain(), a.policyTest(), a.policySimulate(),
		a.policySign(), a.policyPush(), a.policyUpdate())
}

func (a *app) policySign() *cobra.Command {
	var genesis, key, out, before string
	c := &cobra.Command{
		Use:   "sign FILE --genesis FILE --key FILE --out FILE [--predecessor FILE]",
		Short: "Sign a policy document as one of the admins",
		Long: `Sign the exact bytes of a policy document as one policy admin. As many of the
admins in force must sign as their threshold says before services accept it:
those of the genesis document, or of the newest document that names others.
A document that names new admins must be signed by a quorum of these as well.

Faults of the rules are told, but the signature is made: a service of another
release may know what is unknown here. Check the document, with the files of its
lists, before: countersign policy check.`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			raw, v, err := readPolicy(args[0], genesis)
			if err != nil {
				return err
			}
			if v.Faults, err = ruleFaults(raw); err != nil {
				return err
			}
			if v.Signature, err = signDocument(raw, genesis, before, key); err != nil {
				return err
			}
			if err := writeNew(out, []byte(v.Signature+"\n"), 0o644); err != nil {
				return fmt.Errorf("writing signature: %w", err)
			}
			return a.show(v, func(w io.Writer) {
				v.human(w)
				fmt.Fprintf(w, "signature   %s\n", out)
				v.afterSigning(w, args[0], out)
			})
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis document of the deployment")
	c.Flags().StringVar(&key, "key", "", "the admin's private key file")
	c.Flags().StringVar(&out, "out", "", "new file for the signature")
	c.Flags().StringVar(&before, "predecessor", "", "the policy document in force, where this one replaces the admins whom that names")
	return require(c, "genesis", "key", "out")
}

// ruleFaults are what is wrong with a document's rules whatever its lists hold.
func ruleFaults(raw []byte) (out []string, err error) {
	doc, err := document.Parse(raw)
	if err != nil {
		return nil, err
	}
	for _, fault := range trial.Conditions(doc, nil) {
		out = append(out, fault.Error())
	}
	return out, nil
}

// afterSigning says what comes next: to publish the document, unless no service
// would take it.
func (v policyView) afterSigning(w io.Writer, path, signature string) {
	if len(v.Faults) == 0 {
		fmt.Fprintf(w, "next        countersign policy push %s --signature %s ... --config operator.yaml\n", path, signature)
		return
	}
	for _, fault := range v.Faults {
		fmt.Fprintf(w, "FAULT       %s\n", fault)
	}
	fmt.Fprintf(w, "next        mend the rules and sign again, for the services refuse this document: countersign policy check %s\n", path)
}

func (v policyView) human(w io.Writer) {
	fmt.Fprintf(w, "version     %d\nhash        %s\nusers       %d\napprovers   %d\n", v.Version, v.Hash, v.Users, v.Approvers)
	if v.Signatures > 0 {
		fmt.Fprintf(w, "signatures  %d\n", v.Signatures)
	}
	if v.Lists > 0 {
		fmt.Fprintf(w, "lists       %d\n", v.Lists)
	}
}

// readPolicy parses and checks a document; the bytes are those to be signed.
func readPolicy(path, genesisPath string) ([]byte, policyView, error) {
	g, deployment, err := readGenesis(genesisPath)
	if err != nil {
		return nil, policyView{}, err
	}
	raw, doc, err := parsePolicy(path)
	if err != nil {
		return nil, policyView{}, err
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

// parsePolicy reads a policy document, in its bytes and as what they say.
func parsePolicy(path string) ([]byte, *document.Document, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading policy document: %w", err)
	}
	doc, err := document.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, doc, nil
}

func signDocument(raw []byte, genesisPath, predecessor, keyPath string) (string, error) {
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
	admins, err := knownAdmins(g, raw, predecessor)
	if err != nil {
		return "", err
	}
	for _, admin := range admins {
		if admin.Key.Thumbprint() == public.Thumbprint() {
			return document.Sign(raw, deployment, key)
		}
	}
	return "", advise(errors.New("the key is no policy admin's"),
		"see who is: countersign genesis show %s, and the section admins of the document in force (--predecessor)", genesisPath)
}

// adviceNoAdmins is for a document that names no admins where it must.
const adviceNoAdmins = "write the section admins, with those of the document in force or with others, and have it signed again"

// knownAdmins are those of the genesis document, of the document, and of the one
// before it. Which of them are in force the services know.
func knownAdmins(g message.Genesis, raw []byte, predecessor string) ([]message.Admin, error) {
	doc, err := document.Parse(raw)
	if err != nil {
		return nil, err
	}
	documents := []*document.Document{doc}
	if predecessor != "" {
		_, before, err := parsePolicy(predecessor)
		if err != nil {
			return nil, err
		}
		if err := doc.CheckAdmins(before, g); err != nil {
			return nil, advise(fmt.Errorf("after %s: %w", predecessor, err), adviceNoAdmins)
		}
		documents = append(documents, before)
	}
	out := g.Admins
	for _, doc := range documents {
		if doc.Admins != nil {
			for _, admin := range doc.Admins.Keys {
				out = append(out, message.Admin(admin))
			}
		}
	}
	return out, nil
}
