package approval

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"slices"

	"github.com/countersign/countersign/trust/httpsig"
)

var errNoApprover = errors.New("the key is of no approver who may vote")

// authenticate verifies the approver's HTTP message signature over a reading
// request and returns the approver's id.
func (s *Server) authenticate(r *http.Request) (string, error) {
	active := s.cfg.Policy.Active()
	if active == nil {
		return "", problem(codeNotReady, "no policy document is active: none yet, or it has expired")
	}
	inputs, signatures := r.Header.Values("Signature-Input"), r.Header.Values("Signature")
	if len(inputs) != 1 || len(signatures) != 1 {
		return "", problem(codeUnauthenticated, "")
	}
	if len(s.cfg.Authorities) > 0 && !slices.Contains(s.cfg.Authorities, r.Host) {
		return "", &failure{Code: codeUnauthenticated, Cause: errors.New("request is for another authority")}
	}
	signed := httpsig.Message{Method: r.Method, Authority: r.Host, Path: r.URL.EscapedPath()}
	var caller string
	lookup := func(id string) (crypto.PublicKey, error) {
		if approver, key, ok := active.ApproverByKey(id); ok {
			caller = approver.ID
			return key, nil
		}
		return nil, errNoApprover
	}
	if _, err := httpsig.Verify(signed, httpsig.ReadProfile, inputs[0], signatures[0], s.cfg.Now(), lookup); err != nil {
		return "", &failure{Code: codeUnauthenticated, Cause: err}
	}
	return caller, nil
}

// callerKey is the context's key of the approver who makes a call.
type callerKey struct{}

func callerOf(ctx context.Context) string {
	id, _ := ctx.Value(callerKey{}).(string)
	return id
}
