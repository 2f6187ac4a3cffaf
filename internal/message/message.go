// Package message defines every message that Countersign's services, users,
// approvers and policy admins say to each other, its one encoding, and the
// strict JWS layer (RFC 7515) that carries the signed ones. It is the code
// side of docs/SPEC.md.
//
// The package trusts nobody: what it decodes is well-formed and, where a key
// was given, made by the holder of that key, and nothing more. It keeps no
// state, reads no clock and knows no database.
package message

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Origin opens every message of a service: which format, which deployment,
// which generation of secrets.
type Origin struct {
	Version    int  `json:"version"`
	Deployment Hash `json:"deployment"`
	Generation int  `json:"generation"`
}

// PolicyRef names one policy document: its version and the SHA-256 of its
// exact YAML bytes.
type PolicyRef struct {
	Version int  `json:"version"`
	Hash    Hash `json:"hash"`
}

// Hello is what a signing instance says to one role at the opening of an
// epoch: JWS HS256 under key hello/<role>.
type Hello struct {
	Origin
	Role        string    `json:"role"`
	Instance    string    `json:"instance"`
	Epoch       EpochID   `json:"epoch"`
	HPKEKey     Bytes     `json:"hpke_key"`
	Policy      PolicyRef `json:"policy"`
	Issued      Time      `json:"issued"`
	Expires     Time      `json:"expires"`
	Attestation Bytes     `json:"attestation"`
}

// AnnouncementBody is an announcement without the identity signature; its
// encoding, behind LabelIdentity, is what that signature covers.
type AnnouncementBody struct {
	Origin
	Role          string  `json:"role"`
	Instance      string  `json:"instance"`
	Epoch         EpochID `json:"epoch"`
	Hello         Hash    `json:"hello"`
	Encapsulation Bytes   `json:"encapsulation"`
	PublicKey     JWK     `json:"public_key"`
	Issued        Time    `json:"issued"`
	Expires       Time    `json:"expires"`
	Attestation   Bytes   `json:"attestation"`
}

// Announcement carries a policy instance's ephemeral public key to the signing
// instance of one epoch: JWS HS256 under key announce/<role>. Identity is the
// Ed25519 signature by identity/<role> over IdentityInput.
type Announcement struct {
	AnnouncementBody
	Identity Bytes `json:"identity"`
}

// IdentityInput returns the bytes that the identity signature covers.
func (b AnnouncementBody) IdentityInput() ([]byte, error) {
	body, err := Encode(b)
	if err != nil {
		return nil, err
	}
	return Context(LabelIdentity, body), nil
}

// Decision is what a role says about a request.
type Decision string

// The decisions that are signed.
const (
	Approve Decision = "approve"
	Reject  Decision = "reject"
	// Of a dry run: nobody takes these for one of the others.
	WouldApprove Decision = "would_approve"
	WouldAsk     Decision = "would_ask" // people
	WouldReject  Decision = "would_reject"
)

// Reason says why: a stable code and a sentence for people with the figures.
type Reason struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Digest is one value to be signed, with the algorithm that signs it.
type Digest struct {
	Algorithm string `json:"algorithm"`
	Value     Bytes  `json:"value"`
}

// AlgorithmSecp256k1 signs a 32-byte digest by deterministic ECDSA on
// secp256k1 (RFC 6979) with low S.
const AlgorithmSecp256k1 = "secp256k1"

// AlgorithmEd25519 signs the message itself (RFC 8032, pure).
const AlgorithmEd25519 = "ed25519"

// EpochShares names the sealed shares that stand beside an approval for one
// epoch: the hash of their encoding (see Shares).
type EpochShares struct {
	Epoch  EpochID `json:"epoch"`
	Shares Hash    `json:"shares"`
}

// Approval is one role's signed decision on one request: JWS EdDSA under the
// instance's ephemeral key, whose thumbprint is the kid.
type Approval struct {
	Origin
	Role       string        `json:"role"`
	Instance   string        `json:"instance"`
	Request    string        `json:"request"`
	Envelope   Hash          `json:"envelope"`
	Kind       Kind          `json:"kind"`
	Wallet     string        `json:"wallet"`
	Account    string        `json:"account"`
	Descriptor Hash          `json:"descriptor"`
	Digests    []Digest      `json:"digests"`
	Decision   Decision      `json:"decision"`
	Reasons    []Reason      `json:"reasons"`
	Policy     PolicyRef     `json:"policy"`
	Evidence   []Hash        `json:"evidence"`
	Issued     Time          `json:"issued"`
	Expires    Time          `json:"expires"`
	Epochs     []EpochShares `json:"epochs"`
}

// SealedShare is one role's share of one key, sealed for one epoch.
type SealedShare struct {
	Scope      Scope  `json:"scope"`
	ID         string `json:"id"`
	Generation int    `json:"generation"`
	Sealed     Bytes  `json:"sealed"`
}

// Shares are the sealed shares of one approval for one epoch. They are not
// signed themselves; the approval names Hash.
type Shares struct {
	Epoch  EpochID       `json:"epoch"`
	Shares []SealedShare `json:"shares"`
}

// Hash returns the value that an approval carries for these shares.
func (s Shares) Hash() (Hash, error) {
	b, err := Encode(s)
	if err != nil {
		return Hash{}, err
	}
	return Sum(Context(LabelShares, b)), nil
}

// Attachment is what stands beside an approval on the queue: its shares per
// epoch, and the evidence (votes, as compact JWS) whose hashes it names.
type Attachment struct {
	Shares   []Shares `json:"shares"`
	Evidence []string `json:"evidence"`
}

// Scope is what a stored key is for.
type Scope string

// The two scopes: a wallet's seed, and one account's key.
const (
	ScopeSeed    Scope = "seed"
	ScopeAccount Scope = "account"
)

// Vote is one person's decision on one waiting request: JWS EdDSA under the
// approver's key, whose thumbprint is the kid.
type Vote struct {
	Version    int      `json:"version"`
	Deployment Hash     `json:"deployment"`
	Request    string   `json:"request"`
	Envelope   Hash     `json:"envelope"`
	Digests    []Digest `json:"digests"`
	Decision   Decision `json:"decision"`
	Approver   string   `json:"approver"`
	Policy     Hash     `json:"policy"`
	Expires    Time     `json:"expires"`
}

// PolicySignature is one policy admin's signature of one policy document: JWS
// EdDSA under the admin's key, whose thumbprint is the kid.
type PolicySignature struct {
	Version    int       `json:"version"`
	Deployment Hash      `json:"deployment"`
	Policy     PolicyRef `json:"policy"`
}

// PolicyBundle is a policy document on its way: the exact YAML bytes and the
// admins' signatures as compact JWS.
type PolicyBundle struct {
	Document   Bytes    `json:"document"`
	Signatures []string `json:"signatures"`
}

// Status is where a request stands.
type Status string

// The statuses of a request. Signed, done, rejected, expired, failed and
// cancelled are ends, each of them a result.
const (
	StatusPending   Status = "pending"
	StatusWaiting   Status = "waiting"
	StatusSigned    Status = "signed"
	StatusDone      Status = "done"
	StatusRejected  Status = "rejected"
	StatusExpired   Status = "expired"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
)

// RoleReason is a reason with the role that gave it; the signing service
// gives its own under the role "signing".
type RoleReason struct {
	Role string `json:"role"`
	Reason
}

// Result is the signing service's last word on a request: JWS EdDSA under
// identity/signing, whose thumbprint is the kid. Output is the kind's own
// object and null where there is none. Approvals are the SHA-256 values of the
// approvals' compact JWS that the result rests on.
type Result struct {
	Origin
	Request   string         `json:"request"`
	Envelope  Hash           `json:"envelope"`
	Status    Status         `json:"status"`
	Reasons   []RoleReason   `json:"reasons"`
	Output    jsontext.Value `json:"output"`
	Approvals []Hash         `json:"approvals"`
	Time      Time           `json:"time"`
}

// Statement is what a user asks for: the request body itself. Its bytes are
// kept as sent; it is read by ParseStatement alone.
type Statement struct {
	ID       string         `json:"id"`
	Audience Hash           `json:"audience"`
	Kind     Kind           `json:"kind"`
	Wallet   string         `json:"wallet,omitempty"`
	Account  string         `json:"account,omitempty"`
	Payload  jsontext.Value `json:"payload"`
	Expires  Time           `json:"expires"`
	// DryRun asks what every role would decide: nothing is signed, released or
	// counted.
	DryRun bool `json:"dry_run,omitzero"`
}

// HTTPSignature is the user's HTTP message signature (RFC 9421) as sent, with
// the values of the covered components that the statement does not give.
type HTTPSignature struct {
	Input       string `json:"input"`
	Signature   string `json:"signature"`
	Authority   string `json:"authority"`
	ContentType string `json:"content_type"`
}

// Envelope is a request as it lies on the queue, written once by the proposer
// and believed by nobody beyond what the user's signature covers.
type Envelope struct {
	Version    int           `json:"version"`
	Deployment Hash          `json:"deployment"`
	Statement  Bytes         `json:"statement"`
	Signature  HTTPSignature `json:"signature"`
	Received   Time          `json:"received"`
}

// WalletDescriptor says publicly what a sealed seed is. Its exact stored bytes
// are the additional data of the seal. ID is Create in hex.
type WalletDescriptor struct {
	Version    int      `json:"version"`
	Deployment Hash     `json:"deployment"`
	ID         string   `json:"id"`
	Owner      string   `json:"owner"`
	Roles      []string `json:"roles"`
	Generation int      `json:"generation"`
	SeedType   string   `json:"seed_type"`
	Source     string   `json:"source"`
	Create     Hash     `json:"create"`
}

// AccountDescriptor says publicly what a sealed account key is.
type AccountDescriptor struct {
	Version    int      `json:"version"`
	Deployment Hash     `json:"deployment"`
	ID         string   `json:"id"`
	Owner      string   `json:"owner"`
	Roles      []string `json:"roles"`
	Generation int      `json:"generation"`
	SeedType   string   `json:"seed_type"`
	Source     string   `json:"source"`
	Create     Hash     `json:"create"`
	Wallet     string   `json:"wallet"`
	WalletHash Hash     `json:"wallet_hash"`
	Chain      string   `json:"chain"`
	Curve      string   `json:"curve"`
	Path       string   `json:"path"`
	PublicKey  Bytes    `json:"public_key"`
	Address    string   `json:"address"`
}

// WalletCreate is the payload of wallet.create.
type WalletCreate struct {
	Owner    string `json:"owner"`
	SeedType string `json:"seed_type"`
	Source   string `json:"source"`
	Label    string `json:"label"`
}

// AccountCreate is the payload of account.create.
type AccountCreate struct {
	Chain string `json:"chain"`
	Curve string `json:"curve"`
	Path  string `json:"path"`
	Label string `json:"label"`
}

// PolicyUpdate is the payload of policy.update: a signed document, which the
// quorum's signatures decide on.
type PolicyUpdate = PolicyBundle

// WalletFreeze is the payload of wallet.freeze; the statement names the wallet.
type WalletFreeze struct {
	Reason string `json:"reason"`
}

// UserFreeze is the payload of user.freeze: the user's id in the policy
// document.
type UserFreeze struct {
	User   string `json:"user"`
	Reason string `json:"reason"`
}

// DryRun is the output of a dry run: what each role would decide, in genesis
// order.
type DryRun struct {
	Decisions []RoleDecision `json:"decisions"`
}

// RoleDecision is what one role would decide, and why.
type RoleDecision struct {
	Role     string   `json:"role"`
	Decision Decision `json:"decision"`
	Reasons  []Reason `json:"reasons"`
}
