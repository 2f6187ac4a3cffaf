package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/transaction"
)

const adviceDescriptor = "write what countersign account list --json --wallet ID prints (of account.create: wallet show --json ID) to a file, and give it: --descriptor FILE"

// readDescriptor reads the descriptor of what a statement is about: a new wallet
// has none yet.
func (f explainFlags) readDescriptor(deployment string, statement []byte) ([]byte, error) {
	var of message.Statement
	if err := json.Unmarshal(statement, &of); err != nil {
		return nil, advise(fmt.Errorf("statement %s: %w", f.request, err), "give the JSON that the program signs: --request FILE")
	}
	switch {
	case f.descriptor == "" && of.Wallet+of.Account == "":
		return []byte("{}"), nil
	case f.descriptor == "":
		return nil, advise(errors.New("--descriptor is missing"), adviceDescriptor)
	}
	raw, err := os.ReadFile(f.descriptor)
	if err != nil {
		return nil, fmt.Errorf("reading descriptor: %w", err)
	}
	descriptor, err := descriptorOf(bytes.TrimSpace(raw), deployment, of) // an editor's line end is no part of it
	if err != nil {
		return nil, advise(fmt.Errorf("descriptor %s: %w", f.descriptor, err), adviceDescriptor)
	}
	return descriptor, nil
}

// descriptorOf returns a descriptor as it stands, or makes one of what the commands
// show of an account or wallet, alone or on a page of them. What those leave out no
// rule reads: the one seed type and source that there are, and the hash of the
// wallet's descriptor.
func descriptorOf(raw []byte, deployment string, statement message.Statement) ([]byte, error) {
	var form map[string]jsontext.Value
	if err := json.Unmarshal(raw, &form); err != nil {
		return nil, err
	}
	hash, err := message.ParseHash(deployment)
	if err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	switch {
	case form["create"] != nil:
		return raw, nil
	case form["accounts"] != nil, form["address"] != nil:
		return accountDescriptor(raw, form["accounts"] != nil, hash, statement.Account)
	}
	return walletDescriptor(raw, form["wallets"] != nil, hash, statement.Wallet)
}

func accountDescriptor(raw []byte, isPage bool, deployment message.Hash, id string) ([]byte, error) {
	page := api.Accounts{Accounts: make([]api.Account, 1)}
	if err := decodeShown(raw, isPage, &page, &page.Accounts[0]); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(page.Accounts, func(a api.Account) bool { return a.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("it has no account %q, which the statement is about", id)
	}
	a := page.Accounts[i]
	create, err := message.ParseHash(a.ID)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	return message.Encode(message.AccountDescriptor{
		Version: message.Version, Deployment: deployment, ID: a.ID, Owner: a.Owner, Roles: a.Roles, Generation: a.Generation,
		SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Create: create, Wallet: a.Wallet,
		Chain: a.Chain, Curve: a.Curve, Path: a.Path, PublicKey: a.PublicKey, Address: a.Address,
	})
}

func walletDescriptor(raw []byte, isPage bool, deployment message.Hash, id string) ([]byte, error) {
	page := api.Wallets{Wallets: make([]api.Wallet, 1)}
	if err := decodeShown(raw, isPage, &page, &page.Wallets[0]); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(page.Wallets, func(w api.Wallet) bool { return w.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("it has no wallet %q, which the statement is about", id)
	}
	w := page.Wallets[i]
	create, err := message.ParseHash(w.ID)
	if err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	return message.Encode(message.WalletDescriptor{
		Version: message.Version, Deployment: deployment, ID: w.ID, Owner: w.Owner, Roles: w.Roles, Generation: w.Generation,
		SeedType: w.SeedType, Source: w.Source, Create: create,
	})
}

// decodeShown reads a page, or one entry of it.
func decodeShown(raw []byte, isPage bool, page, entry any) error {
	into := entry
	if isPage {
		into = page
	}
	return json.Unmarshal(raw, into, json.RejectUnknownMembers(true))
}
