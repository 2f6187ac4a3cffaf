// Package transaction says what a request means. Every service that decides
// on a request, and the signing service before it signs, interprets the
// user's statement here for itself: which wallet and account it is about,
// what it would move, which digests would be signed, and which stored keys it
// opens. What another service computed is never taken over.
//
// The package trusts nothing that it is given. It knows no HTTP, no SQL and no
// policy; it reads stored descriptors through an interface and treats them as
// claims that the seals will prove or break.
package transaction

import (
	"math/big"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
)

// Move is value that leaves or reaches an account, not always one of ours: a
// contract may pay on another's word. Asset is a CAIP-19 id, with a token's own
// id behind it where tokens differ (eip155:1/erc721:0x.../7). From and To are CAIP-10 ids (To is empty where the destination cannot be
// told), Amount is in base units and never negative.
type Move struct {
	Asset  string
	From   string
	To     string
	Amount *big.Int
}

// Allowance is the right to move up to Amount of Asset later, given to
// Spender (CAIP-10). Without a limit it is 2^256-1; 0 takes it back, or less.
// An asset without a token's id is the whole contract (eip155:1/erc721:0x...).
type Allowance struct {
	Asset   string
	Owner   string
	Spender string
	Amount  *big.Int
}

// UnknownCall is a call whose effects are not understood, or typed data of which
// that is so: rules deny it by default. To is empty for a contract creation and
// for typed data without a contract. Selector has 4 bytes or fewer; of typed
// data it is the beginning of the type hash.
type UnknownCall struct {
	To       string
	Selector []byte
	Value    *big.Int
	Size     int
}

// Effects is all that a request does if it is carried out.
type Effects struct {
	Moves      []Move
	Allowances []Allowance
	Unknown    []UnknownCall
	// Fee is the most that the sender can pay beyond the moves, in base units
	// of FeeAsset; nil where there is none.
	Fee      *big.Int
	FeeAsset string
	// Message is the text or bytes of a message to be signed; nil otherwise.
	Message []byte
	// Details are what is written in the transaction beside its effects.
	Details *Details
}

// MaxEffects is the most effects that are understood of one request. More are
// an unknown call, and nobody keeps them: what each names is remembered for ever.
const MaxEffects = 256

// Count is how many moves, allowances and unknown calls there are.
func (e Effects) Count() int { return len(e.Moves) + len(e.Allowances) + len(e.Unknown) }

// Details are what is written in a transaction or in typed data, for rules and
// people to look at: effects say what it does.
type Details struct {
	// Form is "legacy", "eip2930", "eip1559", "eip191" or "eip712".
	Form string
	// Chain is CAIP-2; From and To are CAIP-10, To empty for a contract creation
	// and for what is no transaction.
	Chain, From, To string
	Value           *big.Int // nil where there is none
	Nonce           *uint64
	GasLimit        uint64
	// FeePerGas and PriorityFeePerGas are the highest, in base units of the
	// native asset; nil where there is none.
	FeePerGas, PriorityFeePerGas *big.Int
	Data                         []byte
	Creates                      bool // a contract
	// Calls are all calls that the transaction is known to make, the outermost
	// first, the ones that are not understood included.
	Calls []Call
	// Typed is set for typed data (EIP-712).
	Typed *Typed
}

// Call is one call of a contract. Function is its name with the types of its
// arguments where it is known, Depth how many calls it is inside of.
type Call struct {
	To         string // CAIP-10
	Selector   []byte // 4 bytes or fewer
	Function   string
	Value      *big.Int
	Data       []byte // selector included
	Depth      int
	Delegate   bool // carried out with the caller's own assets
	Understood bool
}

// Typed is typed data: its primary type and domain. ChainID is nil and Contract
// (CAIP-10, or 0x address without chain) empty where the domain names none.
type Typed struct {
	PrimaryType   string
	Name, Version string
	ChainID       *big.Int
	Contract      string
	// Message is the message in JSON, in one spelling whatever was sent:
	// integers are decimal strings, addresses and bytes lower-case hex, members
	// stand in the order of the type.
	Message []byte
}

// Transaction is a payload decoded by its chain.
type Transaction interface {
	// Effects says what the transaction does.
	Effects() Effects
	// Digests are the values to be signed, in the order that Assemble takes
	// the signatures in.
	Digests() []message.Digest
}

// Chain understands the payloads of one family of chains (a CAIP-2
// namespace, such as eip155). Implementations are stateless and safe for
// concurrent use.
type Chain interface {
	// Decode reads a payload strictly: decode, re-encode, compare. The
	// account gives the chain id and the sender.
	Decode(kind message.Kind, payload jsontext.Value, account message.AccountDescriptor) (Transaction, error)
	// Assemble puts the signatures (65 bytes r||s||recovery id for secp256k1,
	// 64 for Ed25519) into the transaction and returns the kind's output
	// object, after verifying that each is by the account's key and has low S.
	Assemble(tx Transaction, account message.AccountDescriptor, signatures [][]byte) (jsontext.Value, error)
	// CheckAccount returns an error if there can be no account on this chain
	// (a CAIP-2 id of the namespace) with a key on this curve.
	CheckAccount(chainID, curve string) error
	// Address returns the account's address for a public key on a curve, and
	// an error if the chain does not use the curve. The key is 33 bytes
	// compressed for secp256k1, 32 bytes for Ed25519.
	Address(chainID, curve string, publicKey []byte) (string, error)
}

// Release is one share that an approval of the request gives to the signing
// service: the share for one scope and id, of the generation that the key is
// or will be sealed under.
type Release struct {
	Scope      message.Scope
	ID         string
	Generation int
}

// Meaning is what a statement means, computed alike by every service from the
// same bytes.
type Meaning struct {
	Statement message.Statement
	// Create is the SHA-256 of the statement's exact bytes, which is the id of
	// what it creates, if anything.
	Create message.Hash
	// Wallet and Account are the ids of what the request is about, also of
	// what it creates.
	Wallet  string
	Account string
	// Descriptor is the hash that approvals carry, and DescriptorBytes what
	// it is the hash of: of wallet.create the descriptor to be stored; of
	// account.create the stored wallet descriptor; else the stored account
	// descriptor.
	Descriptor      message.Hash
	DescriptorBytes []byte
	// WalletDescriptor and AccountDescriptor are the decoded forms, where
	// there are any.
	WalletDescriptor  *message.WalletDescriptor
	AccountDescriptor *message.AccountDescriptor
	// WalletCreate, AccountCreate, Transaction, PolicyUpdate and Freeze are the
	// decoded payload: one of them is set.
	WalletCreate  *message.WalletCreate
	AccountCreate *message.AccountCreate
	Transaction   Transaction
	PolicyUpdate  *message.PolicyUpdate
	Freeze        *Freeze
	Chain         Chain
	Digests       []message.Digest
	Effects       Effects
	Releases      []Release // none of a dry run
}
