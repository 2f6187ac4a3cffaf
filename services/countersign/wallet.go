package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

func (a *app) walletCommand() *cobra.Command {
	return a.userFlags(group("wallet", "Make, list and show wallets", a.walletCreate(), a.walletList(), a.walletShow()))
}

func (a *app) walletCreate() *cobra.Command {
	var label, owner string
	var f submitFlags
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a wallet: a seed that nobody ever sees",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, p, err := a.connect(true)
			if err != nil {
				return err
			}
			if owner == "" {
				owner = p.User
			}
			if owner == "" {
				return advise(errors.New("no owner is named"), "give --owner with your user id in the policy")
			}
			return a.submit(cmd.Context(), c, submission{kind: message.KindWalletCreate, payload: message.WalletCreate{
				Owner: owner, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: label,
			}}, f)
		},
	}
	c.Flags().StringVar(&label, "label", "", "a name for people, which stays in the request alone")
	c.Flags().StringVar(&owner, "owner", "", "the owner's user id (default: the profile's user)")
	f.add(c)
	return c
}

func (a *app) walletList() *cobra.Command {
	var limit int
	var cursor string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the wallets that you may see",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			page, err := c.Wallets(cmd.Context(), limit, cursor)
			if err != nil {
				return err
			}
			return a.show(page, func(w io.Writer) {
				for _, v := range page.Wallets {
					fmt.Fprintf(w, "%s  %s\n", v.ID, v.Owner)
				}
				showNext(w, page.Next)
			})
		},
	}
	pageFlag(c, &limit)
	c.Flags().StringVar(&cursor, "cursor", "", "go on from here")
	return c
}

func (a *app) walletShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a wallet",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			v, err := c.Wallet(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) {
				fmt.Fprintf(w, "wallet      %s\nowner       %s\nroles       %v\ngeneration  %d\nseed        %s, from %s\n",
					v.ID, v.Owner, v.Roles, v.Generation, v.SeedType, v.Source)
			})
		},
	}
}
