package main

import (
	"context"

	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/wallet/descriptorpg"
)

// wallets is descriptorpg's reader as the proposer asks for it.
type wallets struct{ *descriptorpg.Reader }

func (w wallets) ListWallets(ctx context.Context, f proposer.WalletFilter, after string, limit int) ([][]byte, error) {
	return descriptors(w.Reader.ListWallets(ctx, descriptorpg.Page{
		All: f.Any, Owner: f.Owner, IDs: f.IDs, After: after, Limit: limit,
	}))
}

// ListAccounts lists all accounts of one wallet: the proposer has made sure
// that the user may see the wallet.
func (w wallets) ListAccounts(ctx context.Context, wallet, after string, limit int) ([][]byte, error) {
	return descriptors(w.Reader.ListAccounts(ctx, wallet, descriptorpg.Page{All: true, After: after, Limit: limit}))
}

func descriptors(entries []descriptorpg.Entry, err error) ([][]byte, error) {
	var out [][]byte
	for _, e := range entries {
		out = append(out, e.Descriptor)
	}
	return out, err
}
