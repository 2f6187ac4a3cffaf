// Package api is the JSON of the approval service's HTTP API: what approvers'
// programs read and send. The approval service writes it, the Go client reads
// it.
//
//	GET  /v1/approvals             List; signed
//	GET  /v1/approvals/{id}        Approval; signed
//	POST /v1/approvals/{id}/votes  body: the vote as compact JWS (application/jose); Recorded
//
// A signed request carries an HTTP message signature (RFC 9421) by an
// approver's key under httpsig.ReadProfile. Errors are RFC 9457 problems.
//
// Nothing in it is evidence. Before an approver signs a vote, the approver's
// own program decodes the envelope and computes digests and effects itself.
package api

import (
	"strings"

	"github.com/countersign/countersign/internal/message"
)

// VoteMediaType is the media type of a vote (RFC 7515 section 9.2.1).
const VoteMediaType = "application/jose"

// Path is where the API begins.
const Path = "/v1/approvals"

// List is all requests that wait for people, oldest first.
type List struct {
	Approvals []Summary `json:"approvals"`
	// More says that there are more than are listed.
	More bool `json:"more"`
}

// Summary is one request that waits for people. Wallet and Account are the
// ids that the statement names.
type Summary struct {
	ID        string       `json:"id"`
	Kind      message.Kind `json:"kind"`
	Wallet    string       `json:"wallet"`
	Account   string       `json:"account"`
	Submitted message.Time `json:"submitted"`
	Expires   message.Time `json:"expires"`
	// Approvals of Quorum persons have agreed, of the rule that lacks most.
	Approvals int `json:"approvals"`
	Quorum    int `json:"quorum"`
}

// Ask is one rule of the policy that asks people, and how many of them have
// agreed. All rules that ask must be answered.
type Ask struct {
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Approvers are the ids of those who may agree.
	Approvers []string `json:"approvers"`
	Approvals int      `json:"approvals"`
	Quorum    int      `json:"quorum"`
}

// Approval is one request with everything that a vote on it must name.
// Envelope and Descriptor are exact bytes: a program that shows the request
// computes EnvelopeHash, Digests and Effects from them itself.
type Approval struct {
	ID string `json:"id"`
	// You is the id of the approver whose key has signed the call: a vote
	// names it.
	You          string           `json:"you"`
	Deployment   message.Hash     `json:"deployment"`
	Envelope     message.Bytes    `json:"envelope"`
	EnvelopeHash message.Hash     `json:"envelope_hash"`
	Descriptor   message.Bytes    `json:"descriptor"`
	Kind         message.Kind     `json:"kind"`
	Wallet       string           `json:"wallet"`
	Account      string           `json:"account"`
	User         string           `json:"user"`
	Digests      []message.Digest `json:"digests"`
	Effects      Effects          `json:"effects"`
	// Needed says why people must agree: the rules that ask, and after them the
	// evidence of signals (see Approval.Signals). Asks says which rules ask whom.
	// Both are empty if people need not.
	Needed    []message.Reason  `json:"needed"`
	Asks      []Ask             `json:"asks"`
	Policy    message.PolicyRef `json:"policy"`
	Submitted message.Time      `json:"submitted"`
	Expires   message.Time      `json:"expires"`
	Votes     []Vote            `json:"votes"`
	// Approvals of Quorum persons have agreed, of the rule that lacks most.
	Approvals int  `json:"approvals"`
	Quorum    int  `json:"quorum"`
	Rejected  bool `json:"rejected"`
	// Open says that a vote may still change something.
	Open bool `json:"open"`
}

// SignalCode is how the code of each reason begins that is the evidence of a
// signal; the signal's name follows.
const SignalCode = "signal_"

// Signals are those of the reasons why people must agree that are the evidence of
// signals: what the destination resembles, or how unusual the amount is.
func (a Approval) Signals() []message.Reason {
	out := []message.Reason{}
	for _, r := range a.Needed {
		if strings.HasPrefix(r.Code, SignalCode) {
			out = append(out, r)
		}
	}
	return out
}

// Vote is a vote that was recorded. Counts says whether it counts under the
// active policy.
type Vote struct {
	Approver string           `json:"approver"`
	Decision message.Decision `json:"decision"`
	Expires  message.Time     `json:"expires"`
	Counts   bool             `json:"counts"`
}

// Effects is transaction.Effects with amounts in base units as decimal
// strings.
type Effects struct {
	Moves      []Move        `json:"moves"`
	Allowances []Allowance   `json:"allowances"`
	Unknown    []UnknownCall `json:"unknown"`
	Fee        string        `json:"fee,omitempty"`
	FeeAsset   string        `json:"fee_asset,omitempty"`
	// Message is present for a message to be signed; it may be empty then.
	Message *message.Bytes `json:"message,omitempty"`
}

// Move is value that leaves or reaches an account.
type Move struct {
	Asset  string `json:"asset"`
	From   string `json:"from"`
	To     string `json:"to"`
	Amount string `json:"amount"`
}

// Allowance is the right, given to the spender, to move an asset later.
type Allowance struct {
	Asset   string `json:"asset"`
	Owner   string `json:"owner"`
	Spender string `json:"spender"`
	Amount  string `json:"amount"`
}

// UnknownCall is a call whose effects are not understood.
type UnknownCall struct {
	To       string        `json:"to"`
	Selector message.Bytes `json:"selector"`
	Value    string        `json:"value"`
	Size     int           `json:"size"`
}

// Recorded is the answer to a vote that is on record now.
type Recorded struct {
	ID       string           `json:"id"`
	Approver string           `json:"approver"`
	Decision message.Decision `json:"decision"`
	// Approvals of Quorum persons have agreed, of the rule that lacks most.
	Approvals int  `json:"approvals"`
	Quorum    int  `json:"quorum"`
	Rejected  bool `json:"rejected"`
}
