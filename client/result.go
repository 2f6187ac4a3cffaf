package client

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// ErrResult says that a result is not what the signing service signed.
var ErrResult = errors.New("result is not signed by the signing service")

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
