// Package api is the JSON of the proposer's HTTP API: what its answers look
// like. The proposer writes it, the Go client reads it, and
// proposer/openapi.json describes the same for everyone else.
//
// Nothing in it is evidence: the proposer's answers are for display. What the
// signing service said stands in Result.JWS, which a client that holds the
// signing service's identity key can verify for itself.
package api

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/problem"
)

// Request is one request as its owner sees it. For wallet.create and
// account.create, Wallet or Account is the id of what will be made: it is the
// statement's hash, so it is known at once. Both are empty where the kind is
// about neither. Decisions are those that are there already; an answer to a call
// that waited for a signature leaves them out, for then every role has approved.
// Payload is what was asked for, as the statement has it; lists leave it out, and
// so may answers to a POST of the request. It is also left out where the proposer
// cannot read the stored envelope; then Kind, Wallet and times are what the
// database says beside it, and Kind may be one that package message does not know.
type Request struct {
	ID        string         `json:"id"`
	Kind      message.Kind   `json:"kind"`
	Wallet    string         `json:"wallet,omitempty"`
	Account   string         `json:"account,omitempty"`
	Payload   jsontext.Value `json:"payload,omitempty"`
	Status    message.Status `json:"status"`
	Submitted message.Time   `json:"submitted"`
	Expires   message.Time   `json:"expires"`
	Decisions []Decision     `json:"decisions"`
	Waiting   []Waiting      `json:"waiting"`
	Result    *Result        `json:"result"`
}

// Ended says whether the request has its result.
func (r Request) Ended() bool { return r.Result != nil }

// Decision is the newest decision of one role.
type Decision struct {
	Role     string           `json:"role"`
	Decision message.Decision `json:"decision"`
	Reasons  []message.Reason `json:"reasons"`
	Time     message.Time     `json:"time"`
}

// Waiting says which role waits for people, and its note for them.
type Waiting struct {
	Role string `json:"role"`
	Note string `json:"note"`
}

// Result is a request's end. JWS is the signing service's signed result, from
// which the other members are taken.
type Result struct {
	Status  message.Status       `json:"status"`
	Reasons []message.RoleReason `json:"reasons"`
	Output  jsontext.Value       `json:"output"`
	Time    message.Time         `json:"time"`
	JWS     string               `json:"jws"`
}

// Requests is one page of requests, newest first. Next is the cursor of the
// next page and empty on the last one.
type Requests struct {
	Requests []Request `json:"requests"`
	Next     string    `json:"next"`
}

// Wallet is the public side of a wallet.
type Wallet struct {
	ID         string   `json:"id"`
	Owner      string   `json:"owner"`
	Roles      []string `json:"roles"`
	Generation int      `json:"generation"`
	SeedType   string   `json:"seed_type"`
	Source     string   `json:"source"`
}

// Wallets is one page of wallets, newest first. Next is the cursor of the next page
// and empty on the last one.
type Wallets struct {
	Wallets []Wallet `json:"wallets"`
	Next    string   `json:"next"`
}

// Account is the public side of an account. PublicKey is in unpadded
// base64url: 33 bytes compressed for secp256k1, 32 for ed25519. Chain is a
// CAIP-2 id.
type Account struct {
	ID         string        `json:"id"`
	Wallet     string        `json:"wallet"`
	Owner      string        `json:"owner"`
	Roles      []string      `json:"roles"`
	Generation int           `json:"generation"`
	Chain      string        `json:"chain"`
	Curve      string        `json:"curve"`
	Path       string        `json:"path"`
	PublicKey  message.Bytes `json:"public_key"`
	Address    string        `json:"address"`
}

// Accounts is one page of accounts, newest first. Next is the cursor of the next page
// and empty on the last one.
type Accounts struct {
	Accounts []Account `json:"accounts"`
	Next     string    `json:"next"`
}

// Health is the answer of /healthz and /readyz when all is well.
type Health struct {
	Status string `json:"status"`
}

// Problem is an error answer; see package problem.
type Problem = problem.Problem

// What a Problem is called.
const (
	ProblemType      = problem.TypePrefix
	ProblemMediaType = problem.MediaType
)

// EventMediaType is the media type of a stream of events (HTML Living Standard
// section 9.2).
const EventMediaType = "text/event-stream"

// EventRequest is the name of the event that carries a Request.
const EventRequest = "request"
