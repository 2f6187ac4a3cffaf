package transaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign/internal/message"
)

// Errors that Interpret's callers tell apart; each is final for the request
// but ErrNoRecord, which a record that arrives later mends.
var (
	// ErrPayload says that the payload is not what its kind asks for.
	ErrPayload = errors.New("invalid payload")
	// ErrNoRecord says that the wallet or account is not there.
	ErrNoRecord = errors.New("no such wallet or account")
	// ErrDescriptor says that a stored descriptor does not fit the statement.
	ErrDescriptor = errors.New("descriptor does not fit")
)

// Descriptors reads the exact stored bytes of descriptors. A missing one is
// ErrNoRecord. Nothing that it returns is trusted.
type Descriptors interface {
	WalletDescriptor(ctx context.Context, id string) ([]byte, error)
	AccountDescriptor(ctx context.Context, id string) ([]byte, error)
}

// Interpreter computes meanings for one deployment.
type Interpreter struct {
	Deployment message.Hash
	// Roles are the required roles of the genesis document, in its order.
	Roles []string
	// Generation is the newest generation of secrets, which new keys are
	// sealed under.
	Generation int
	// Chains by CAIP-2 namespace.
	Chains      map[string]Chain
	Descriptors Descriptors
	// Accounts, where set, remembers the decoded forms of account descriptors.
	Accounts *Accounts
}

// SeedTypeRaw is a seed of 64 random bytes; SourceSoftware is the seed source
// that draws from the operating system's generator.
const (
	SeedTypeRaw    = "raw"
	SourceSoftware = "software"
)

// The longest label and owner, in bytes.
const maxName = 128

// Parsed is a statement that Parse has read, with what its exact bytes hash
// to. The zero value means nothing.
type Parsed struct {
	statement message.Statement
	create    message.Hash
}

// Statement returns what was read.
func (p Parsed) Statement() message.Statement { return p.statement }

// Parse reads a statement's exact bytes for this deployment: see
// message.ParseStatement.
func (in Interpreter) Parse(raw []byte) (Parsed, error) {
	s, err := message.ParseStatement(raw, in.Deployment)
	if err != nil {
		return Parsed{}, err
	}
	return Parsed{s, message.Sum(raw)}, nil
}

// Interpret computes what a statement's exact bytes mean. An error is a
// reason to reject, unless errors.Is(err, ErrNoRecord) or the error comes from
// the database.
func (in Interpreter) Interpret(ctx context.Context, raw []byte) (Meaning, error) {
	p, err := in.Parse(raw)
	if err != nil {
		return Meaning{}, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return in.Meaning(ctx, p)
}

// Meaning computes what a parsed statement means. Its errors are Interpret's.
func (in Interpreter) Meaning(ctx context.Context, p Parsed) (Meaning, error) {
	s := p.statement
	if s.Audience != in.Deployment || p.create.IsZero() {
		return Meaning{}, fmt.Errorf("%w: the statement was not parsed for this deployment", ErrPayload)
	}
	m := Meaning{Statement: s, Create: p.create, Wallet: s.Wallet, Account: s.Account}
	var err error
	switch s.Kind {
	case message.KindWalletCreate:
		err = in.walletCreate(&m)
	case message.KindAccountCreate:
		err = in.accountCreate(ctx, &m)
	case message.KindPolicyUpdate, message.KindWalletFreeze, message.KindUserFreeze:
		err = in.administration(ctx, &m)
	default:
		err = in.transaction(ctx, &m)
	}
	if s.DryRun {
		m.Releases = nil
	}
	return m, err
}

func (in Interpreter) walletCreate(m *Meaning) error {
	p := &message.WalletCreate{}
	if err := decodePayload(m.Statement, p); err != nil {
		return err
	}
	if p.SeedType != SeedTypeRaw || p.Source != SourceSoftware {
		return fmt.Errorf("%w: seed type %q from source %q is not known", ErrPayload, p.SeedType, p.Source)
	}
	if err := checkNames(p.Owner, p.Label); err != nil {
		return err
	}
	d := &message.WalletDescriptor{
		Version: message.Version, Deployment: in.Deployment, ID: m.Create.String(),
		Owner: p.Owner, Roles: in.Roles, Generation: in.Generation,
		SeedType: p.SeedType, Source: p.Source, Create: m.Create,
	}
	b, err := message.Encode(d)
	if err != nil {
		return err
	}
	m.WalletCreate, m.WalletDescriptor, m.Wallet = p, d, d.ID
	m.DescriptorBytes, m.Descriptor = b, message.Sum(b)
	m.Releases = []Release{{message.ScopeSeed, d.ID, d.Generation}}
	return nil
}

func (in Interpreter) accountCreate(ctx context.Context, m *Meaning) error {
	p := &message.AccountCreate{}
	if err := decodePayload(m.Statement, p); err != nil {
		return err
	}
	if err := checkNames("-", p.Label); err != nil {
		return err
	}
	chain, err := in.chain(p.Chain)
	if err != nil {
		return err
	}
	if err := chain.CheckAccount(p.Chain, p.Curve); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if err := checkAccountPath(p.Path, p.Curve); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	wallet, raw, err := in.wallet(ctx, m.Wallet)
	if err != nil {
		return err
	}
	m.AccountCreate, m.WalletDescriptor, m.Chain = p, wallet, chain
	m.Account = m.Create.String()
	m.DescriptorBytes, m.Descriptor = raw, message.Sum(raw)
	m.Releases = []Release{
		{message.ScopeSeed, m.Wallet, wallet.Generation},
		{message.ScopeAccount, m.Account, in.Generation},
	}
	return nil
}

func (in Interpreter) transaction(ctx context.Context, m *Meaning) error {
	account, raw, err := in.account(ctx, m.Account)
	if err != nil {
		return err
	}
	if account.Wallet != m.Wallet {
		return fmt.Errorf("%w: the account is not of this wallet", ErrDescriptor)
	}
	namespace, _, _ := strings.Cut(string(m.Statement.Kind), ".")
	chain, err := in.chain(account.Chain)
	if err != nil {
		return err
	}
	if want := kindNamespaces[namespace]; !strings.HasPrefix(account.Chain, want+":") || want == "" {
		return fmt.Errorf("%w: kind %s on chain %s", ErrPayload, m.Statement.Kind, account.Chain)
	}
	tx, err := chain.Decode(m.Statement.Kind, m.Statement.Payload, *account)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	m.AccountDescriptor, m.Chain, m.Transaction = account, chain, tx
	m.DescriptorBytes, m.Descriptor = raw, message.Sum(raw)
	m.Digests, m.Effects = tx.Digests(), tx.Effects()
	m.Releases = []Release{{message.ScopeAccount, m.Account, account.Generation}}
	return nil
}

// kindNamespaces maps the first part of a kind to its CAIP-2 namespace.
var kindNamespaces = map[string]string{"ethereum": "eip155"}

func (in Interpreter) chain(id string) (Chain, error) {
	namespace, reference, ok := strings.Cut(id, ":")
	chain := in.Chains[namespace]
	if !ok || reference == "" || chain == nil {
		return nil, fmt.Errorf("%w: chain %q is not known", ErrPayload, id)
	}
	return chain, nil
}

func (in Interpreter) wallet(ctx context.Context, id string) (*message.WalletDescriptor, []byte, error) {
	raw, err := in.Descriptors.WalletDescriptor(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("wallet %s: %w", id, err)
	}
	d := &message.WalletDescriptor{}
	if err := message.Decode(raw, d); err != nil {
		return nil, nil, fmt.Errorf("%w: wallet %s: %w", ErrDescriptor, id, err)
	}
	if d.Version != message.Version || d.Deployment != in.Deployment || d.ID != id ||
		d.Create.String() != id || !slices.Equal(d.Roles, in.Roles) {
		return nil, nil, fmt.Errorf("%w: wallet %s", ErrDescriptor, id)
	}
	return d, raw, nil
}

func (in Interpreter) account(ctx context.Context, id string) (*message.AccountDescriptor, []byte, error) {
	raw, err := in.Descriptors.AccountDescriptor(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("account %s: %w", id, err)
	}
	if d := in.Accounts.get(raw); d != nil && d.ID == id && in.fits(d) {
		return d, raw, nil
	}
	d := &message.AccountDescriptor{}
	if err := message.Decode(raw, d); err != nil {
		return nil, nil, fmt.Errorf("%w: account %s: %w", ErrDescriptor, id, err)
	}
	if d.ID != id || !in.fits(d) {
		return nil, nil, fmt.Errorf("%w: account %s", ErrDescriptor, id)
	}
	in.Accounts.put(raw, d)
	return d, raw, nil
}

// fits holds what an account descriptor says against this deployment.
func (in Interpreter) fits(d *message.AccountDescriptor) bool {
	return d.Version == message.Version && d.Deployment == in.Deployment &&
		d.Create.String() == d.ID && slices.Equal(d.Roles, in.Roles)
}

func decodePayload(s message.Statement, v any) error {
	if err := message.DecodeStrict(s.Payload, v); err != nil {
		return fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return nil
}

// checkNames keeps names short and printable: they are shown to approvers,
// and control or direction characters could make one look like another.
func checkNames(owner, label string) error {
	if owner == "" || len(owner) > maxName || len(label) > maxName {
		return fmt.Errorf("%w: owner must have 1 to %d bytes, label at most %d", ErrPayload, maxName, maxName)
	}
	for _, r := range owner + label {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: owner or label has a character that cannot be printed", ErrPayload)
		}
	}
	return nil
}

// checkAccountPath wants the first level hardened beside what CheckPath
// wants: a non-hardened child's key and its parent's public key and chain code
// give the parent's key, and the parent of the first level is the seed's own.
func checkAccountPath(path, curve string) error {
	if err := CheckPath(path, curve); err != nil {
		return err
	}
	if levels := strings.Split(path, "/"); !strings.HasSuffix(levels[1], "'") {
		return fmt.Errorf("%w: the first level is not hardened", ErrPath)
	}
	return nil
}
