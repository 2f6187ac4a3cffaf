package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
)

// keyView is a public key as the commands show it.
type keyView struct {
	File       string      `json:"file"`
	Thumbprint string      `json:"thumbprint"`
	JWK        message.JWK `json:"jwk"`
}

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Make and show keys of users, approvers and policy admins", a.keyNew(), a.keyShow())
}

func (a *app) keyNew() *cobra.Command {
	var out, kind string
	c := &cobra.Command{
		Use:   "new --out FILE",
		Short: "Make a private key and show its public half",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			key, err := newKey(kind)
			if err != nil {
				return err
			}
			if err := writeKey(out, key); err != nil {
				return fmt.Errorf("writing key: %w", err)
			}
			return a.showKey(out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "new file for the private key (PKCS #8 PEM, mode 0600)")
	c.Flags().StringVar(&kind, "type", keyEd25519, "ed25519, or p256 (users' keys only)")
	oneOf(c, "type", keyEd25519, keyP256)
	return require(c, "out")
}

func (a *app) keyShow() *cobra.Command {
	var bare bool
	c := &cobra.Command{
		Use:               "show FILE",
		Short:             "Show the public half of a key file, for a genesis or policy document",
		Args:              exactly(1),
		ValidArgsFunction: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			if bare {
				return a.showJWK(args[0])
			}
			return a.showKey(args[0])
		},
	}
	c.Flags().BoolVar(&bare, "jwk", false, "write the JWK alone, for countersign genesis new --admin NAME=FILE")
	return c
}

// showJWK writes the public key's JWK and nothing else.
func (a *app) showJWK(path string) error {
	_, text, err := publicText(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", text)
	return err
}

func publicText(path string) (message.JWK, []byte, error) {
	jwk, err := readPublic(path)
	if err != nil {
		return jwk, nil, fmt.Errorf("reading key: %w", err)
	}
	text, err := message.Encode(jwk)
	return jwk, text, err
}

func (a *app) showKey(path string) error {
	jwk, text, err := publicText(path)
	if err != nil {
		return err
	}
	v := keyView{File: path, Thumbprint: jwk.Thumbprint(), JWK: jwk}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "file        %s\nthumbprint  %s\npublic      %s\n", v.File, v.Thumbprint, text)
	})
}
