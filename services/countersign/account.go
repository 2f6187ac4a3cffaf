package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
)

func (a *app) accountCommand() *cobra.Command {
	return a.userFlags(group("account", "Make and list the accounts of a wallet", a.accountCreate(), a.accountList()))
}

func (a *app) accountCreate() *cobra.Command {
	var wallet string
	var p message.AccountCreate
	var f submitFlags
	c := &cobra.Command{
		Use:   "create --wallet ID",
		Short: "Derive and seal the key of one account",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.connect(true)
			if err != nil {
				return err
			}
			return a.submit(cmd.Context(), c, submission{kind: message.KindAccountCreate, wallet: wallet, payload: p}, f)
		},
	}
	c.Flags().StringVar(&wallet, "wallet", "", "wallet id")
	c.Flags().StringVar(&p.Chain, "chain", "eip155:1", "chain, as a CAIP-2 id")
	c.Flags().StringVar(&p.Curve, "curve", "secp256k1", "curve of the key")
	oneOf(c, "curve", transaction.CurveSecp256k1)
	c.Flags().StringVar(&p.Path, "path", "m/44'/60'/0'/0/0", "derivation path (BIP-32)")
	c.Flags().StringVar(&p.Label, "label", "", "a name for people, which stays in the request alone")
	f.add(c)
	return require(c, "wallet")
}

func (a *app) accountList() *cobra.Command {
	var wallet, cursor string
	var limit int
	c := &cobra.Command{
		Use:   "list --wallet ID",
		Short: "List the accounts of a wallet",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			page, err := c.Accounts(cmd.Context(), wallet, limit, cursor)
			if err != nil {
				return err
			}
			return a.show(page, func(w io.Writer) {
				for _, v := range page.Accounts {
					fmt.Fprintf(w, "%s  %s  %s  %s\n", v.ID, v.Chain, v.Path, v.Address)
				}
				showNext(w, page.Next)
			})
		},
	}
	c.Flags().StringVar(&wallet, "wallet", "", "wallet id")
	pageFlag(c, &limit)
	c.Flags().StringVar(&cursor, "cursor", "", "go on from here")
	return require(c, "wallet")
}
