package proposer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/transaction"
)

// WalletFilter selects wallets: those of Owner, those in IDs, or all.
type WalletFilter struct {
	Owner string
	IDs   []string
	Any   bool
}

// Wallets reads the public descriptors of wallets and accounts, exactly as
// stored; nothing that it returns is believed further than for display. A
// missing wallet is transaction.ErrNoRecord. Lists go newest first, on
// from the one with the id given.
type Wallets interface {
	WalletDescriptor(ctx context.Context, id string) ([]byte, error)
	AccountDescriptor(ctx context.Context, id string) ([]byte, error)
	ListWallets(ctx context.Context, f WalletFilter, after string, limit int) ([][]byte, error)
	ListAccounts(ctx context.Context, wallet, after string, limit int) ([][]byte, error)
}

// visible says which wallets a user may see: the own ones, and those that the
// active policy grants for any kind that works on a wallet.
func visible(active *document.Active, user string) WalletFilter {
	f := WalletFilter{Owner: user, IDs: []string{}}
	for _, g := range active.Grants {
		if !slices.Contains(g.Users, user) || !onWallets(g.Kinds) {
			continue
		}
		for _, w := range g.Wallets {
			switch w {
			case document.WalletsAny:
				f.Any = true
			case document.WalletsOwn:
			default:
				f.IDs = append(f.IDs, w)
			}
		}
	}
	return f
}

// onWallets says whether kinds has one that works on a wallet that exists: to
// be allowed to make wallets is no reason to see other people's.
func onWallets(kinds []message.Kind) bool {
	return slices.ContainsFunc(kinds, func(k message.Kind) bool { return k != message.KindWalletCreate })
}

func (f WalletFilter) matches(d message.WalletDescriptor) bool {
	return f.Any || d.Owner == f.Owner || slices.Contains(f.IDs, d.ID)
}

// wallet is GET /v1/wallets/{id}.
func (s *Server) wallet(w http.ResponseWriter, r *http.Request, user string) error {
	d, err := s.visibleWallet(r.Context(), r.PathValue("id"), user)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaType, walletView(d))
	return nil
}

// visibleWallet returns a wallet that the user may see. Any other is as absent
// as one that was never made.
func (s *Server) visibleWallet(ctx context.Context, id, user string) (message.WalletDescriptor, error) {
	var d message.WalletDescriptor
	if _, err := message.ParseHash(id); err != nil {
		return d, problem(CodeNotFound, "")
	}
	raw, err := s.wallets.WalletDescriptor(ctx, id)
	if errors.Is(err, transaction.ErrNoRecord) {
		return d, problem(CodeNotFound, "")
	}
	if err != nil {
		return d, unavailable(err)
	}
	if err := message.Decode(raw, &d); err != nil || d.ID != id {
		return d, fmt.Errorf("reading descriptor of wallet %s: %w", id, errors.Join(err, transaction.ErrDescriptor))
	}
	active := s.policy.Active()
	if active == nil || !visible(active, user).matches(d) {
		return d, problem(CodeNotFound, "")
	}
	return d, nil
}

// listWallets is GET /v1/wallets.
func (s *Server) listWallets(w http.ResponseWriter, r *http.Request, user string) error {
	limit, after, err := pageAfter(r)
	if err != nil {
		return err
	}
	active := s.policy.Active()
	if active == nil {
		return problem(CodeNotReady, "no policy document is active: none yet, or it has expired")
	}
	if after != "" { // a cursor must not tell whether another's wallet exists
		if _, err := s.visibleWallet(r.Context(), after, user); err != nil {
			return cursorProblem(err)
		}
	}
	filter := visible(active, user)
	raws, err := s.wallets.ListWallets(r.Context(), filter, after, limit+1)
	if err != nil {
		return unavailable(err)
	}
	page := api.Wallets{Wallets: []api.Wallet{}}
	more := len(raws) > limit
	for _, raw := range raws[:min(limit, len(raws))] {
		var d message.WalletDescriptor
		if err := message.Decode(raw, &d); err != nil {
			return fmt.Errorf("reading descriptor of a wallet: %w", err)
		}
		after = d.ID
		if filter.matches(d) {
			page.Wallets = append(page.Wallets, walletView(d))
		}
	}
	page.Next, err = next(more, after)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaType, page)
	return nil
}

// listAccounts is GET /v1/wallets/{id}/accounts.
func (s *Server) listAccounts(w http.ResponseWriter, r *http.Request, user string) error {
	limit, after, err := pageAfter(r)
	if err != nil {
		return err
	}
	wallet, err := s.visibleWallet(r.Context(), r.PathValue("id"), user)
	if err != nil {
		return err
	}
	if after != "" { // nor another's account
		if err := s.accountOf(r.Context(), after, wallet.ID); err != nil {
			return cursorProblem(err)
		}
	}
	raws, err := s.wallets.ListAccounts(r.Context(), wallet.ID, after, limit+1)
	if err != nil {
		return unavailable(err)
	}
	page := api.Accounts{Accounts: []api.Account{}}
	more := len(raws) > limit
	for _, raw := range raws[:min(limit, len(raws))] {
		var d message.AccountDescriptor
		if err := message.Decode(raw, &d); err != nil || d.Wallet != wallet.ID {
			return fmt.Errorf("reading descriptor of an account of wallet %s: %w", wallet.ID, errors.Join(err, transaction.ErrDescriptor))
		}
		after = d.ID
		page.Accounts = append(page.Accounts, accountView(d))
	}
	page.Next, err = next(more, after)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, mediaType, page)
	return nil
}

// accountOf checks that a wallet has an account.
func (s *Server) accountOf(ctx context.Context, id, wallet string) error {
	raw, err := s.wallets.AccountDescriptor(ctx, id)
	if errors.Is(err, transaction.ErrNoRecord) {
		return problem(CodeNotFound, "")
	}
	if err != nil {
		return unavailable(err)
	}
	var d message.AccountDescriptor
	if err := message.Decode(raw, &d); err != nil {
		return fmt.Errorf("reading descriptor of account %s: %w", id, err)
	}
	if d.Wallet != wallet {
		return problem(CodeNotFound, "")
	}
	return nil
}

// cursorProblem answers a cursor that names nothing of the list.
func cursorProblem(err error) error {
	if isNotFound(err) {
		return errCursor
	}
	return err
}

// pageAfter reads limit and cursor of a list whose cursor is an id.
func pageAfter(r *http.Request) (limit int, after string, err error) {
	q := r.URL.Query()
	if limit, err = pageSize(q); err != nil {
		return 0, "", err
	}
	var h message.Hash
	key, err := cursor(q, len(h))
	if err != nil || key == nil {
		return limit, "", err
	}
	copy(h[:], key)
	return limit, h.String(), nil
}

// next is the cursor that goes on after an id, "" on the last page.
func next(more bool, after string) (string, error) {
	if !more {
		return "", nil
	}
	h, err := message.ParseHash(after)
	if err != nil {
		return "", fmt.Errorf("reading id %q of a descriptor: %w", after, err)
	}
	return cursorOf(h[:]), nil
}

func walletView(d message.WalletDescriptor) api.Wallet {
	return api.Wallet{
		ID: d.ID, Owner: d.Owner, Roles: orEmpty(d.Roles), Generation: d.Generation, SeedType: d.SeedType, Source: d.Source,
	}
}

func accountView(d message.AccountDescriptor) api.Account {
	return api.Account{
		ID: d.ID, Wallet: d.Wallet, Owner: d.Owner, Roles: orEmpty(d.Roles), Generation: d.Generation,
		Chain: d.Chain, Curve: d.Curve, Path: d.Path, PublicKey: d.PublicKey, Address: d.Address,
	}
}
