package countersigned

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/wallet"
)

// Outcome is what carrying out a request made. It is not to leave the service
// before it was committed: Wallet, Account or Policy, where set, in the same
// transaction as the result.
type Outcome struct {
	Status  message.Status
	Output  jsontext.Value
	Wallet  *wallet.Record
	Account *wallet.Record
	Policy  []byte // an encoded message.PolicyBundle
}

// WalletOutput is the output of wallet.create.
type WalletOutput struct {
	Wallet string `json:"wallet"`
	Owner  string `json:"owner"`
}

// AccountOutput is the output of account.create.
type AccountOutput struct {
	Wallet    string        `json:"wallet"`
	Account   string        `json:"account"`
	Chain     string        `json:"chain"`
	Curve     string        `json:"curve"`
	Path      string        `json:"path"`
	PublicKey message.Bytes `json:"public_key"`
	Address   string        `json:"address"`
}

// Errors of CarryOut beside those of Request and of package wallet.
var (
	// ErrChanged says that a stored record is not the one that was approved.
	ErrChanged = errors.New("stored record is not the approved one")
	// ErrStore says that the record could not be read just now.
	ErrStore = errors.New("record could not be read")
)

// CarryOut opens the shares and the one key that the request was approved for,
// does what was approved, and wipes both. It works once for each Request; an
// error leaves nothing behind, and the request is to be verified again.
func (r *Request) CarryOut(ctx context.Context) (Outcome, error) {
	if err := r.use(); err != nil {
		return Outcome{}, err
	}
	out, err := r.carryOut(ctx)
	if err != nil {
		r.v.records.forget(r.meaning.Wallet, r.meaning.Account)
		return Outcome{}, fmt.Errorf("carrying out %s: %w", r.id, err)
	}
	return out, nil
}

// carryOut reads the record first: reading may take long, and what was
// verified must still hold when the key is opened.
func (r *Request) carryOut(ctx context.Context) (Outcome, error) {
	if r.opensNothing() {
		return r.administer(ctx)
	}
	record, err := r.record(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if err := r.fresh(); err != nil {
		return Outcome{}, err
	}
	opened, err := r.openShares()
	defer opened.wipe()
	if err != nil {
		return Outcome{}, err
	}
	switch {
	case r.meaning.WalletCreate != nil:
		return r.createWallet(ctx, opened)
	case r.meaning.AccountCreate != nil:
		return r.createAccount(opened, record)
	}
	return r.sign(opened, record)
}

// record reads the record whose descriptor was approved.
func (r *Request) record(ctx context.Context) (record wallet.Record, err error) {
	switch {
	case r.meaning.WalletCreate != nil:
		return wallet.Record{}, nil
	case r.meaning.AccountCreate != nil:
		record, err = r.v.records.wallet(ctx, r.meaning.Wallet)
	case r.meaning.Transaction != nil:
		record, err = r.v.records.account(ctx, r.meaning.Account)
	default:
		return wallet.Record{}, errors.New("request asks for nothing that is known")
	}
	switch {
	case errors.Is(err, transaction.ErrNoRecord):
		return wallet.Record{}, fmt.Errorf("%w: %w", ErrChanged, err)
	case err != nil:
		return wallet.Record{}, fmt.Errorf("%w: %w", ErrStore, err)
	case !bytes.Equal(record.Descriptor, r.meaning.DescriptorBytes):
		return wallet.Record{}, ErrChanged
	}
	return record, nil
}

// shares are the opened shares of all roles and the service's own, by release.
type shares []share

type share struct {
	release transaction.Release
	sealing wallet.Sealing
	own     *secrets.Secret
	roles   wallet.Shares
}

func (s shares) wipe() {
	for _, x := range s {
		x.own.Wipe()
		for _, role := range x.roles {
			role.Wipe()
		}
	}
}

// of returns what opens or seals one key. Interpret's releases are in a fixed
// order, but it is looked up by what it is.
func (s shares) of(scope message.Scope, id string) (share, error) {
	for _, x := range s {
		if x.release.Scope == scope && x.release.ID == id {
			return x, nil
		}
	}
	return share{}, fmt.Errorf("no share was released for scope %s", scope)
}

// openShares returns what was opened also when it fails, so that the caller
// wipes it.
func (r *Request) openShares() (shares, error) {
	var out shares
	for i, release := range r.meaning.Releases {
		x := share{release: release, roles: wallet.Shares{}, sealing: wallet.Sealing{
			Deployment: r.v.cfg.Deployment, Roles: r.v.cfg.Genesis.Roles,
			Scope: release.Scope, ID: release.ID, Generation: release.Generation,
		}}
		out = append(out, x)
		key, ok := r.v.own[release.Generation]
		if !ok {
			return out, fmt.Errorf("no wallet key of generation %d", release.Generation)
		}
		own, err := wallet.NewShare(key, release.Scope, release.ID)
		if err != nil {
			return out, err
		}
		out[i].own = own
		for _, a := range r.approvals {
			if x.roles[a.role], err = r.openShare(a, i, release); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// openShare holds the epoch while it uses the channel: an epoch that ends
// waits for it, and one that has ended opens nothing.
func (r *Request) openShare(a approval, i int, release transaction.Release) (*secrets.Secret, error) {
	a.seat.epoch.mu.RLock()
	defer a.seat.epoch.mu.RUnlock()
	opened, err := a.seat.member.channel.Open(hpkeshare.ShareContext{
		Request: r.id, Envelope: r.envelope, Role: a.role,
		Scope: release.Scope, ID: release.ID, Generation: release.Generation,
	}, a.shares[i].Sealed)
	if errors.Is(err, hpkeshare.ErrWiped) {
		return nil, ErrStale
	}
	return opened, err
}

// createWallet draws the seed and seals it. The seed exists here and, if the
// result is committed, sealed; who comes second loses it unseen.
func (r *Request) createWallet(ctx context.Context, opened shares) (Outcome, error) {
	x, err := opened.of(message.ScopeSeed, r.meaning.Wallet)
	if err != nil {
		return Outcome{}, err
	}
	seed, err := r.v.cfg.Seeds.NewSeed(ctx, r.meaning.WalletCreate.SeedType)
	if err != nil {
		return Outcome{}, fmt.Errorf("making seed: %w", err)
	}
	defer seed.Wipe()
	sealed, err := wallet.Seal(x.sealing, x.own, x.roles, r.meaning.DescriptorBytes, seed)
	if err != nil {
		return Outcome{}, fmt.Errorf("sealing seed: %w", err)
	}
	output, err := message.Encode(WalletOutput{Wallet: r.meaning.Wallet, Owner: r.meaning.WalletCreate.Owner})
	if err != nil {
		return Outcome{}, err
	}
	record := &wallet.Record{ID: r.meaning.Wallet, Descriptor: r.meaning.DescriptorBytes, Ciphertext: sealed}
	return Outcome{Status: message.StatusDone, Output: output, Wallet: record}, nil
}

// createAccount opens the seed, derives the one key and seals it by itself.
func (r *Request) createAccount(opened shares, record wallet.Record) (Outcome, error) {
	forSeed, err := opened.of(message.ScopeSeed, r.meaning.Wallet)
	if err != nil {
		return Outcome{}, err
	}
	forAccount, err := opened.of(message.ScopeAccount, r.meaning.Account)
	if err != nil {
		return Outcome{}, err
	}
	seed, err := wallet.OpenSeed(forSeed.sealing, forSeed.own, forSeed.roles, record.Descriptor, record.Ciphertext)
	if err != nil {
		return Outcome{}, fmt.Errorf("opening seed: %w", err)
	}
	defer seed.Wipe()
	key, err := seed.Derive(r.meaning.AccountCreate.Curve, r.meaning.AccountCreate.Path)
	if err != nil {
		return Outcome{}, fmt.Errorf("deriving account key: %w", err)
	}
	defer key.Wipe()
	return r.sealAccount(forAccount, key)
}

func (r *Request) sealAccount(x share, key *wallet.Key) (Outcome, error) {
	d, err := r.accountDescriptor(x.release.Generation, key.PublicKey())
	if err != nil {
		return Outcome{}, err
	}
	raw, err := message.Encode(d)
	if err != nil {
		return Outcome{}, err
	}
	sealed, err := key.Seal(x.sealing, x.own, x.roles, raw)
	if err != nil {
		return Outcome{}, fmt.Errorf("sealing account key: %w", err)
	}
	output, err := message.Encode(AccountOutput{
		Wallet: d.Wallet, Account: d.ID, Chain: d.Chain, Curve: d.Curve, Path: d.Path,
		PublicKey: d.PublicKey, Address: d.Address,
	})
	if err != nil {
		return Outcome{}, err
	}
	record := &wallet.Record{ID: d.ID, Wallet: d.Wallet, Descriptor: raw, Ciphertext: sealed}
	return Outcome{Status: message.StatusDone, Output: output, Account: record}, nil
}

func (r *Request) accountDescriptor(generation int, public []byte) (message.AccountDescriptor, error) {
	p, w := r.meaning.AccountCreate, r.meaning.WalletDescriptor
	address, err := r.meaning.Chain.Address(p.Chain, p.Curve, public)
	if err != nil {
		return message.AccountDescriptor{}, fmt.Errorf("address of the new account: %w", err)
	}
	return message.AccountDescriptor{
		Version: message.Version, Deployment: r.v.cfg.Deployment, ID: r.meaning.Account,
		Owner: w.Owner, Roles: r.v.cfg.Genesis.Roles, Generation: generation,
		SeedType: w.SeedType, Source: w.Source, Create: r.meaning.Create,
		Wallet: r.meaning.Wallet, WalletHash: r.meaning.Descriptor,
		Chain: p.Chain, Curve: p.Curve, Path: p.Path, PublicKey: public, Address: address,
	}, nil
}

// sign signs the digests that this service computed itself, which are those
// that every approval carries.
func (r *Request) sign(opened shares, record wallet.Record) (Outcome, error) {
	x, err := opened.of(message.ScopeAccount, r.meaning.Account)
	if err != nil {
		return Outcome{}, err
	}
	d := *r.meaning.AccountDescriptor
	key, err := wallet.OpenKey(x.sealing, x.own, x.roles, d, record.Descriptor, record.Ciphertext)
	if err != nil {
		return Outcome{}, fmt.Errorf("opening account key: %w", err)
	}
	defer key.Wipe()
	var signatures [][]byte
	for _, digest := range r.meaning.Digests {
		signature, err := key.Sign(digest)
		if err != nil {
			return Outcome{}, fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, signature)
	}
	// Assemble verifies each signature under the descriptor's public key, which
	// proves the opened key as well.
	output, err := r.meaning.Chain.Assemble(r.meaning.Transaction, d, signatures)
	if err != nil {
		return Outcome{}, fmt.Errorf("assembling: %w", errors.Join(err, key.Check()))
	}
	return Outcome{Status: message.StatusSigned, Output: output}, nil
}
