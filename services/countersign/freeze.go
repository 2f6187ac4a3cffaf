package main

import (
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
)

// freezeExpires is how long a freeze that nobody carries out stays open: it is
// wanted at once.
const freezeExpires = 10 * time.Minute

func (a *app) freezeCommand() *cobra.Command {
	var wallet, user, reason string
	c := &cobra.Command{
		Use:   "freeze (--wallet ID | --user ID) --reason TEXT [--key FILE]",
		Short: "Stop a wallet or a user at once",
		Long: `Stop every request of a wallet, or of a user, at once, open ones included. One
approver or one policy admin does it alone, with their own key; no account at the
proposer is needed. It ends when a policy document names the freeze under thaw,
which the quorum of policy admins signs.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (wallet == "") == (user == "") {
				return usageError{errors.New("exactly one of --wallet and --user is wanted"), cmd.CommandPath()}
			}
			c, err := a.connectFreezer()
			if err != nil {
				return err
			}
			s, err := freezeStatement(c, wallet, user, reason)
			if err != nil {
				return err
			}
			r, err := c.Submit(cmd.Context(), s, defaultWait)
			var refused *client.Problem
			if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
				return advise(err, "only approvers and policy admins of the active policy document may freeze; whose key is it? countersign key show FILE")
			}
			if errors.Is(err, client.ErrStatement) {
				return err
			}
			if err != nil {
				return advise(err, "nothing is frozen as far as is known: try again, or at another proposer (--proposer URL)")
			}
			return a.showRequest(r, true)
		},
	}
	c.Flags().StringVar(&wallet, "wallet", "", "id of the wallet to stop")
	c.Flags().StringVar(&user, "user", "", "id of the user to stop, as in the policy document")
	c.Flags().StringVar(&reason, "reason", "", "why, for those who are stopped by it")
	a.userFlags(c)
	return require(c, "reason")
}

// connectFreezer returns a client that shows no credential beside the key's own
// signature: the approver's key of the profile, or the one that is given.
func (a *app) connectFreezer() (*client.Client, error) {
	p, err := a.profile.load()
	if err != nil {
		return nil, err
	}
	cfg, err := clientConfig(p)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	if key, err = readEd25519(p.ApproverKey); err != nil {
		return nil, err
	}
	cfg.Key = key
	c, err := client.New(cfg)
	return c, adviseURL(err, "--proposer")
}

func freezeStatement(c *client.Client, wallet, user, reason string) (message.Statement, error) {
	s, err := c.NewStatement(message.KindWalletFreeze, wallet, "", message.WalletFreeze{Reason: reason}, freezeExpires)
	if user != "" {
		s, err = c.NewStatement(message.KindUserFreeze, "", "", message.UserFreeze{User: user, Reason: reason}, freezeExpires)
	}
	if err != nil {
		return s, fmt.Errorf("freeze: %w", err)
	}
	return s, nil
}
