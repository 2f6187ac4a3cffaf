package client

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// ErrResult says that a result is not what the signing service signed.
var ErrResult = errors.New("result is not signed by the signing service")

// ErrOther says that the service was asked about one request and answered
// about another.
var ErrOther = errors.New("the answer is about another request")

// checkSubmitted holds the answer to a statement against its bytes.
func (c *Client) checkSubmitted(r api.Request, s Signed) error {
	if err := c.check(r, s.id); err != nil {
		return err
	}
	return checkCreated(r, s.body)
}

// checkCreated holds what a statement made, if it has, against the statement:
// the id of a wallet or account is the hash of the bytes that asked for it. So
// a result that was signed for another statement under the same id is noticed.
func checkCreated(r api.Request, body []byte) error {
	if r.Result == nil || r.Result.Status != message.StatusDone {
		return nil
	}
	var s message.Statement
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("%w: its statement cannot be read", ErrOther)
	}
	if !fits(s, message.Sum(body), r.Result.Output) {
		return fmt.Errorf("%w: it made something else", ErrOther)
	}
	return nil
}

// output is the output of whatever is done without a signature.
type output struct {
	message.DryRun
	Wallet  string       `json:"wallet"`
	Account string       `json:"account"`
	Freeze  string       `json:"freeze"`
	Hash    message.Hash `json:"hash"`
}

// fits says whether an output can be that of a statement, whose hash is sum.
func fits(s message.Statement, sum message.Hash, raw jsontext.Value) bool {
	var out output
	if json.Unmarshal(raw, &out) != nil || s.DryRun != (len(out.Decisions) > 0) {
		return false
	}
	switch {
	case s.DryRun:
		return true
	case s.Kind == message.KindWalletFreeze, s.Kind == message.KindUserFreeze:
		return out.Freeze == s.ID
	case s.Kind == message.KindPolicyUpdate:
		var update message.PolicyUpdate
		return message.DecodeStrict(s.Payload, &update) == nil && out.Hash == message.Sum(update.Document)
	case s.Kind == message.KindAccountCreate:
		return out.Account == sum.String()
	}
	return s.Kind == message.KindWalletCreate && out.Account == "" && out.Wallet == sum.String()
}

// check holds an answer against the id that was asked about.
func (c *Client) check(r api.Request, id string) error {
	if r.ID != id {
		return fmt.Errorf("request %s: %w", id, ErrOther)
	}
	return c.checkResult(r)
}

// checkResult verifies a request's result, where the client was given keys.
func (c *Client) checkResult(r api.Request) error {
	if r.Result == nil || len(c.resultKeys) == 0 {
		return nil
	}
	if _, err := VerifyResult(r, c.deployment, c.resultKeys); err != nil {
		return fmt.Errorf("request %s: %w", r.ID, err)
	}
	return nil
}

// VerifyResult verifies the signed result of a request under the signing
// service's identity keys, and that the request shows what was signed. It
// returns ErrResult, wrapped, for anything else.
func VerifyResult(r api.Request, deployment message.Hash, keys []message.JWK) (message.Result, error) {
	var out message.Result
	if r.Result == nil {
		return out, fmt.Errorf("%w: there is no result yet", ErrResult)
	}
	jws := []byte(r.Result.JWS)
	kid, err := message.KeyID(message.TypResult, jws)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrResult, err)
	}
	for _, key := range keys {
		if key.Thumbprint() != kid {
			continue
		}
		public, err := key.Ed25519()
		if err != nil {
			return out, fmt.Errorf("%w: %w", ErrResult, err)
		}
		if err := message.VerifyEd25519(message.TypResult, kid, public, jws, &out); err != nil {
			return message.Result{}, fmt.Errorf("%w: %w", ErrResult, err)
		}
		return out, compareResult(r, out, deployment)
	}
	return out, fmt.Errorf("%w: its key is not known", ErrResult)
}

func compareResult(shown api.Request, signed message.Result, deployment message.Hash) error {
	same := signed.Deployment == deployment && signed.Request == shown.ID && signed.Status == shown.Status &&
		signed.Status == shown.Result.Status && sameOutput(signed, *shown.Result)
	if !same {
		return fmt.Errorf("%w: it is of another request, or says something else", ErrResult)
	}
	return nil
}

func sameOutput(signed message.Result, shown api.Result) bool {
	output := signed.Output
	if output == nil {
		output = []byte("null")
	}
	return string(output) == string(shown.Output)
}
