package trial

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/transaction/ethereum"
	"github.com/countersign/countersign/trust/httpsig"
)

// Defaults of cases.
const (
	defaultOpen  = time.Hour
	defaultChain = "eip155:1"
	// authority is where the made-up statements were sent to.
	authority = "trial.invalid"
	path      = "m/44'/60'/0'/0/0"
)

// Sandbox makes up wallets, accounts and signatures of a document's users. The
// users of its document have keys of its own in place of theirs, and nothing
// else differs.
type Sandbox struct {
	Active *document.Active
	// Required are the roles that descriptors name.
	Required   []string
	deployment message.Hash
	names      names
	statements int               // how many were made
	made       map[string][]byte // descriptors, by id
}

var _ transaction.Descriptors = (*Sandbox)(nil)

// NewSandbox returns the sandbox of a document, with its lists' files.
func NewSandbox(doc *document.Document, files map[string]*document.ListFile) (*Sandbox, error) {
	deployment, err := message.ParseHash(doc.Deployment)
	if err != nil {
		return nil, fmt.Errorf("deployment: %w", err)
	}
	changed := *doc
	changed.Users = nil
	for _, user := range doc.Users {
		jwk, err := message.NewJWK(standIn(user.ID).Public())
		if err != nil {
			return nil, fmt.Errorf("key of user %s: %w", user.ID, err)
		}
		user.Keys = []message.JWK{jwk}
		changed.Users = append(changed.Users, user)
	}
	active := &document.Active{Document: &changed, Ref: message.PolicyRef{Version: doc.Version}}
	if err := active.Attach(files); err != nil {
		return nil, err
	}
	return &Sandbox{Active: active, Required: roles, deployment: deployment, names: names{doc: doc}, made: map[string][]byte{}}, nil
}

// standIn is a user's key in a sandbox. Everybody knows it.
func standIn(user string) ed25519.PrivateKey {
	seed := message.Sum([]byte("countersign trial user " + user))
	return ed25519.NewKeyFromSeed(seed[:])
}

// File makes the request that a user would send at a time.
func (s *Sandbox) File(ctx context.Context, r Request, nonce uint64, at time.Time) (Filing, error) {
	payload, err := s.payload(r, nonce)
	if err != nil {
		return Filing{}, err
	}
	statement := message.Statement{Audience: s.deployment, Kind: r.Kind, Payload: payload}
	if statement.ID, err = s.id(at); err != nil {
		return Filing{}, err
	}
	statement.Expires = message.At(at.Add(open(r.Open)))
	if err := s.about(&statement, r); err != nil {
		return Filing{}, err
	}
	raw, err := message.Encode(statement)
	if err != nil {
		return Filing{}, err
	}
	return s.Sign(ctx, raw, s, r.User, at)
}

// about makes up the wallet and the account that a statement is about.
func (s *Sandbox) about(statement *message.Statement, r Request) error {
	if r.Kind == message.KindWalletCreate {
		return nil
	}
	wallet := s.wallet(r)
	raw, err := message.Encode(wallet)
	if err != nil {
		return err
	}
	statement.Wallet, s.made[wallet.ID] = wallet.ID, raw
	if r.Kind == message.KindAccountCreate {
		return nil
	}
	account, err := s.account(r, wallet, message.Sum(raw))
	if err != nil {
		return err
	}
	statement.Account = account.ID
	s.made[account.ID], err = message.Encode(account)
	return err
}

// WalletDescriptor returns the descriptor of a wallet that was made up.
func (s *Sandbox) WalletDescriptor(_ context.Context, id string) ([]byte, error) { return s.find(id) }

// AccountDescriptor returns the descriptor of an account that was made up.
func (s *Sandbox) AccountDescriptor(_ context.Context, id string) ([]byte, error) { return s.find(id) }

func (s *Sandbox) find(id string) ([]byte, error) {
	if b, ok := s.made[id]; ok {
		return b, nil
	}
	return nil, transaction.ErrNoRecord
}

// Sign makes a request of a statement's bytes, signed by a user of the sandbox at
// a time.
func (s *Sandbox) Sign(ctx context.Context, statement []byte, descriptors transaction.Descriptors, user string, at time.Time) (Filing, error) {
	env, err := s.envelope(statement, user, at)
	if err != nil {
		return Filing{}, err
	}
	return Interpret(ctx, Interpreter(s.deployment, s.Required, descriptors), env)
}

// Interpreter interprets the requests of a deployment with these required roles.
func Interpreter(deployment message.Hash, required []string, descriptors transaction.Descriptors) transaction.Interpreter {
	return transaction.Interpreter{
		Deployment: deployment, Roles: required, Generation: 1, Descriptors: descriptors,
		Chains: map[string]transaction.Chain{ethereum.Namespace: ethereum.New()},
	}
}

// Interpret tells what a request means, as every service does.
func Interpret(ctx context.Context, in transaction.Interpreter, env message.Envelope) (Filing, error) {
	raw, err := message.Encode(env)
	if err != nil {
		return Filing{}, err
	}
	m, err := in.Interpret(ctx, env.Statement)
	return Filing{Envelope: env, Hash: message.Sum(raw), Meaning: m}, err
}

func (s *Sandbox) envelope(statement []byte, user string, at time.Time) (message.Envelope, error) {
	env := message.Envelope{Version: message.Version, Deployment: s.deployment, Statement: statement}
	env.Signature.Authority, env.Signature.ContentType = authority, "application/json"
	key := standIn(user)
	jwk, err := message.NewJWK(key.Public())
	if err != nil {
		return env, err
	}
	signed, err := httpsig.Sign(httpsig.Message{
		Method: document.RequestsMethod, Path: document.RequestsPath, Authority: authority,
		ContentType: env.Signature.ContentType, Body: statement,
	}, httpsig.StatementProfile, key, jwk.Thumbprint(), at)
	if err != nil {
		return env, fmt.Errorf("signing the statement: %w", err)
	}
	env.Signature.Input, env.Signature.Signature = signed.SignatureInput, signed.Signature
	return env, nil
}

func open(given time.Duration) time.Duration {
	if given == 0 {
		return defaultOpen
	}
	return given
}

// id is a UUIDv7 that is the same whenever the same cases are tried.
func (s *Sandbox) id(at time.Time) (string, error) {
	s.statements++
	sum := message.Sum(fmt.Append(nil, "countersign trial request ", s.statements))
	id := uuid.UUID(sum[:16])
	milliseconds := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(milliseconds >> (40 - 8*i))
	}
	id[6], id[8] = 0x70|id[6]&0x0f, 0x80|id[8]&0x3f
	return id.String(), message.CheckRequestID(id.String())
}

func (s *Sandbox) payload(r Request, nonce uint64) (jsontext.Value, error) {
	chain := or(r.Account.Chain, defaultChain)
	switch r.Kind {
	case message.KindWalletCreate:
		return encode(message.WalletCreate{
			Owner: r.owner(), SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Label: r.Wallet.ID,
		})
	case message.KindAccountCreate:
		return encode(message.AccountCreate{Chain: chain, Curve: transaction.CurveSecp256k1, Path: path, Label: r.Account.ID})
	case message.KindEthereumTransaction:
		return s.transaction(*r.Transaction, chain, nonce)
	case message.KindEthereumTypedData:
		return encode(map[string]jsontext.Value{"typed_data": jsontext.Value(r.TypedData)})
	case message.KindEthereumMessage:
		return encode(map[string]string{"text": *r.Message})
	}
	return nil, fmt.Errorf("kind %q cannot be tried", r.Kind)
}

func encode(v any) (jsontext.Value, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	return b, err
}

// owner of the wallet; where none is given it is the user's own.
func (r Request) owner() string { return or(r.Wallet.Owner, r.User) }

// wallet makes up the descriptor of a wallet.
func (s *Sandbox) wallet(r Request) message.WalletDescriptor {
	create, err := message.ParseHash(r.Wallet.ID)
	if err != nil { // it is a name
		create = message.Sum([]byte("countersign trial wallet " + r.Wallet.ID))
	}
	return message.WalletDescriptor{
		Version: message.Version, Deployment: s.deployment, ID: create.String(), Owner: r.owner(), Roles: roles,
		Generation: 1, SeedType: transaction.SeedTypeRaw, Source: transaction.SourceSoftware, Create: create,
	}
}

// account makes up the descriptor of an account with a key of its own.
func (s *Sandbox) account(r Request, wallet message.WalletDescriptor, hash message.Hash) (d message.AccountDescriptor, err error) {
	chain := or(r.Account.Chain, defaultChain)
	create, err := message.ParseHash(r.Account.ID)
	if err != nil { // it is a name
		create = message.Sum([]byte("countersign trial account " + wallet.ID + " " + r.Account.ID))
	}
	public, err := publicKey(create)
	if err != nil {
		return d, err
	}
	address, err := ethereum.New().Address(chain, transaction.CurveSecp256k1, public)
	if err != nil {
		return d, err
	}
	return message.AccountDescriptor{
		Version: message.Version, Deployment: s.deployment, ID: create.String(), Owner: wallet.Owner, Roles: roles,
		Generation: 1, SeedType: wallet.SeedType, Source: wallet.Source, Create: create,
		Wallet: wallet.ID, WalletHash: hash, Chain: chain, Curve: transaction.CurveSecp256k1, Path: path,
		PublicKey: public, Address: address,
	}, nil
}
