package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
)

func (a *app) policyUpdate() *cobra.Command {
	var signatures []string
	var f submitFlags
	c := &cobra.Command{
		Use:   "update FILE --signature FILE...",
		Short: "Ask for a signed policy document to be put in force",
		Long: `Send a policy document that enough admins have signed, as a request of yours.
It takes the way of every request and needs a grant of policy.update and rules
that allow it; what puts it in force are the admins' signatures. A document of
more than some 90 KB does not fit into a request, and one with new files of lists
needs these first: push such a document (countersign policy push).`,
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			bundle, err := readBundle(args[0], signatures)
			if err != nil {
				return err
			}
			c, _, err := a.connect(true)
			if err != nil {
				return err
			}
			return a.submit(cmd.Context(), c, submission{kind: message.KindPolicyUpdate, payload: bundle}, f)
		},
	}
	c.Flags().StringArrayVar(&signatures, "signature", nil, "an admin's signature file; give it once for each admin")
	f.addTimes(c)
	return a.userFlags(require(c, "signature"))
}

// readBundle reads a document and its signatures, and whether the document is
// one at all: the services tell what it is worth.
func readBundle(path string, signatures []string) (message.PolicyBundle, error) {
	raw, _, err := parsePolicy(path)
	if err != nil {
		return message.PolicyBundle{}, err
	}
	return readSignatures(raw, signatures)
}
