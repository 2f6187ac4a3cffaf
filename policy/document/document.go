// Package document is the policy document: YAML that names users and their
// keys, approvers, services' identity keys, grants and limits, signed by a
// quorum of the genesis document's policy admins.
//
// It is a leaf: policy services, the signing service and the proposer all
// verify the document for themselves with this package, which trusts the
// genesis document alone and knows no database and no clock.
package document

import (
	"github.com/countersign/countersign/internal/message"
)

// Document is one version of the policy, as written in YAML. Lists deny by
// absence: no grant, no permission; no limit, no transfer.
type Document struct {
	// Version rises strictly; the highest verified one is active.
	Version int `yaml:"version"`
	// Deployment is the deployment id, in hex, that the document is for.
	Deployment string `yaml:"deployment"`
	// Services are the identity keys of the services, by role; a role may
	// have several while generations rotate. "signing" is one of them.
	Services  map[string][]message.JWK `yaml:"services"`
	Users     []User                   `yaml:"users"`
	Approvers []Approver               `yaml:"approvers"`
	Grants    []Grant                  `yaml:"grants"`
	Fraud     Fraud                    `yaml:"fraud"`
	Approval  Approval                 `yaml:"approval"`
	// Webhooks are told how requests end.
	Webhooks []Webhook `yaml:"webhooks,omitempty"`
}

// User is a person or an application that may submit requests.
type User struct {
	ID string `yaml:"id"`
	// Issuer and Subject identify the user's access tokens (JWT iss and sub).
	Issuer  string `yaml:"issuer,omitempty"`
	Subject string `yaml:"subject,omitempty"`
	// Certificates are SHA-256 fingerprints, in hex, of TLS client
	// certificates that let the user in.
	Certificates []string `yaml:"certificates,omitempty"`
	// Keys sign the user's statements: Ed25519 or P-256.
	Keys []message.JWK `yaml:"keys"`
}

// Approver is a person who votes. User, if set, is the same person's user id,
// so that a policy can forbid approving one's own request. Two approvers with
// one user are one person and count once; see Active.Person.
type Approver struct {
	ID   string        `yaml:"id"`
	User string        `yaml:"user,omitempty"`
	Keys []message.JWK `yaml:"keys"` // Ed25519
}

// Wallet patterns of a grant.
const (
	WalletsOwn = "own" // wallets whose descriptor names the user as owner
	WalletsAny = "any"
)

// Grant lets users ask for kinds on wallets: "own", "any", or wallet ids. For
// wallet.create, "own" means that the payload names the user as owner.
type Grant struct {
	Users   []string       `yaml:"users"`
	Kinds   []message.Kind `yaml:"kinds"`
	Wallets []string       `yaml:"wallets"`
}

// Fraud is the section of the fraud service.
type Fraud struct {
	// Deny lists CAIP-10 accounts (of eip155 in lower case) that nothing may
	// move to, be allowed to or be called at.
	Deny []string `yaml:"deny"`
	// Limits per wallet and asset. An asset without a limit is denied.
	Limits []Limit `yaml:"limits"`
	// Messages says whether plain messages (EIP-191) may be signed.
	Messages bool `yaml:"messages"`
}

// Limit bounds what one wallet may move, or allow, of one asset. Wallet is an
// id or "any", which means each wallet by itself. Where both an id and "any"
// are given for an asset, both hold: the lower one wins. Amounts are base
// units.
type Limit struct {
	Wallet         string `yaml:"wallet"`
	Asset          string `yaml:"asset"`
	PerTransaction Amount `yaml:"per_transaction"`
	Per24Hours     Amount `yaml:"per_24_hours"`
}

// Approval is the section of the approval service.
type Approval struct {
	// Above lists, per asset, the amount (base units, per transaction, fee
	// included for the native asset) above which people must agree. An asset
	// that is not listed always needs people, and so does an unknown call.
	Above []Threshold `yaml:"above"`
	// Approvers are the ids of those who may vote, Quorum how many different
	// persons must agree. One rejection is final. Without approvers (quorum 0)
	// whatever needs people is rejected.
	Approvers []string `yaml:"approvers"`
	Quorum    int      `yaml:"quorum"`
	// SelfApproval lets an approver vote on a request of the same person.
	SelfApproval bool `yaml:"self_approval"`
	// Always lists kinds that need people whatever the amount.
	Always []message.Kind `yaml:"always,omitempty"`
}

// Threshold is an amount of an asset.
type Threshold struct {
	Asset  string `yaml:"asset"`
	Amount Amount `yaml:"amount"`
}
