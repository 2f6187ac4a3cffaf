// Package document is the policy document: YAML that names users and their
// keys, approvers, services' identity keys, lists, assets, grants and rules,
// signed by a quorum of the policy admins in force: those of the genesis
// document, or those whom an earlier policy document named.
//
// It is a leaf: policy services, the signing service and the proposer all
// verify the document for themselves with this package, which trusts the
// genesis document alone and knows no database, no clock and no CEL: what rules
// mean is for package rules to say.
package document

import (
	"github.com/countersign/countersign/internal/message"
)

// Document is one version of the policy, as written in YAML. Lists deny by
// absence: no grant, no permission; no rule that allows, nothing.
type Document struct {
	// Version rises strictly; the highest verified one is active.
	Version int `yaml:"version"`
	// Deployment is the deployment id, in hex, that the document is for.
	Deployment string `yaml:"deployment"`
	// Expires is when the document stops counting: from then on nothing is
	// decided under it. It must be there.
	Expires Time `yaml:"expires"`
	// Admins, where given, are the policy admins from the next version on; they
	// sign this one too, beside those in force. Without it these stay, which must
	// then be the genesis document's: once others are named, all later documents
	// name them.
	Admins *Admins `yaml:"admins,omitempty"`
	// Services are the identity keys of the services, by role; a role may
	// have several while generations rotate. "signing" is one of them.
	Services  map[string][]message.JWK `yaml:"services"`
	Users     []User                   `yaml:"users"`
	Approvers []Approver               `yaml:"approvers"`
	// Groups name users and approvers together.
	Groups []Group `yaml:"groups,omitempty"`
	// Lists are address books and lists of accounts.
	Lists []List `yaml:"lists,omitempty"`
	// Assets give names and decimals to CAIP-19 ids.
	Assets []Asset `yaml:"assets,omitempty"`
	// Calls are the contract functions whose arguments rules may read.
	Calls  []Call  `yaml:"calls,omitempty"`
	Grants []Grant `yaml:"grants"`
	// Rules decide, each role by its own.
	Rules Rules `yaml:"rules"`
	// Thaw lists the ids of freeze requests that count no more.
	Thaw []string `yaml:"thaw,omitempty"`
	// ThawAll takes back all freezes of somebody, up to a time.
	ThawAll  []Thaw   `yaml:"thaw_all,omitempty"`
	Approval Approval `yaml:"approval"`
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

// Approval is the section of the approval service: whom rules ask that do not
// say whom.
type Approval struct {
	// Approvers are the ids of those whom such a rule asks, Quorum how many
	// different persons must agree. One rejection is final. Without approvers
	// (quorum 0) every rule that asks names its own.
	Approvers []string `yaml:"approvers"`
	Quorum    int      `yaml:"quorum"`
	// SelfApproval lets an approver vote on a request of the same person.
	SelfApproval bool `yaml:"self_approval"`
}

// Group is a named set of users and approvers, by their ids.
type Group struct {
	ID      string   `yaml:"id"`
	Members []string `yaml:"members"`
}

// List is a named set of accounts: an address book whose entries stand here,
// or a file that travels beside the document and is named by its digest.
type List struct {
	ID      string  `yaml:"id"`
	Entries Entries `yaml:"entries,omitempty"`
	File    *File   `yaml:"file,omitempty"`
}

// Entries are those of an address book. One without entries is written as [],
// and is not the same as none.
type Entries []Entry

// IsZero says whether there is no address book.
func (e Entries) IsZero() bool { return e == nil }

// Entry is one account (CAIP-10) of an address book. Since is when it was
// added, which rules can ask for.
type Entry struct {
	Account string `yaml:"account"`
	Label   string `yaml:"label,omitempty"`
	Since   Time   `yaml:"since,omitempty"`
}

// File names a list's file: SHA-256 of its bytes, in hex, and how many entries
// it has.
type File struct {
	SHA256  string `yaml:"sha256"`
	Entries int    `yaml:"entries"`
}

// Asset is a name for a CAIP-19 id, with the decimals of its whole unit, which
// are written even where they are 0.
type Asset struct {
	ID       string `yaml:"id"`
	Asset    string `yaml:"asset"`
	Decimals int    `yaml:"decimals"`
}

// Call is a contract function whose arguments rules may read: Function in the
// form name(type name,...), Contract (CAIP-10) or empty for every contract.
type Call struct {
	Contract string `yaml:"contract,omitempty"`
	Function string `yaml:"function"`
}

// Rules are those of each role. A role without a rule that allows denies.
type Rules struct {
	Authorization []Rule `yaml:"authorization"`
	Fraud         []Rule `yaml:"fraud"`
	Approval      []Rule `yaml:"approval"`
}

// Of returns the rules of a role.
func (r Rules) Of(role string) []Rule {
	switch role {
	case message.RoleAuthorization:
		return r.Authorization
	case message.RoleFraud:
		return r.Fraud
	case message.RoleApproval:
		return r.Approval
	}
	return nil
}

// Effect is what a rule does where its condition is true.
type Effect string

// The effects. Deny wins over ask, ask over allow; without any of them the
// request is denied.
const (
	EffectAllow Effect = "allow"
	EffectAsk   Effect = "ask" // of the approval role only: people must agree
	EffectDeny  Effect = "deny"
)

// Rule is one rule of a role: where When (CEL) is true, Effect. A condition that
// fails denies.
type Rule struct {
	ID     string `yaml:"id"`
	Effect Effect `yaml:"effect"`
	// Kinds that the rule is about; empty: all.
	Kinds []message.Kind `yaml:"kinds,omitempty"`
	When  string         `yaml:"when"`
	// Reason is shown where the rule denies or asks.
	Reason string `yaml:"reason,omitempty"`
	// UnknownCalls lets a rule that allows or asks cover transactions with
	// calls that are not understood; without it such a rule does not apply to
	// them.
	UnknownCalls bool `yaml:"unknown_calls,omitempty"`
	// Approvers and Quorum say of a rule that asks who must agree: ids of
	// approvers or groups, and how many different persons. Empty and 0: those
	// of the section approval.
	Approvers []string `yaml:"approvers,omitempty"`
	Quorum    int      `yaml:"quorum,omitempty"`
}

// Thaw takes back what somebody has frozen until a time. By is "approver:" with
// an approver's id or "admin:" with an admin's name; neither need be in the
// document any more.
type Thaw struct {
	By    string `yaml:"by"`
	Until Time   `yaml:"until"`
}
