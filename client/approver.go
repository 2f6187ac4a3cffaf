package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/trust/httpsig"
)

// ApproverConfig says where the approval service is and who calls it.
type ApproverConfig struct {
	// BaseURL is https://host[:port], without a path.
	BaseURL string
	// Roots verify the server's certificate; nil: the system's.
	Roots *x509.CertPool
	// Key is the approver's key of the policy document; every call is signed
	// with it (RFC 9421).
	Key crypto.Signer
	// KeyID is the key's id in the policy; empty: its RFC 7638 thumbprint.
	KeyID string
	Now   func() time.Time // nil: time.Now
}

// Approver calls the approval service. It is safe for concurrent use.
//
// What the service says of a request is not to be believed: a program that
// votes decodes Approval.Envelope and computes digests and effects itself.
type Approver struct {
	caller
	key   crypto.Signer
	keyID string
}

// NewApprover checks the configuration and returns a client. It does not
// connect.
func NewApprover(cfg ApproverConfig) (*Approver, error) {
	if cfg.Key == nil {
		return nil, errors.New("approver client: the approver's key is missing")
	}
	c, err := newCaller(cfg.BaseURL, cfg.Roots, nil, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("approver client: %w", err)
	}
	keyID, err := keyIDOf(cfg.Key, cfg.KeyID)
	if err != nil {
		return nil, fmt.Errorf("approver client: %w", err)
	}
	return &Approver{caller: c, key: cfg.Key, keyID: keyID}, nil
}

// Approvals returns the requests that wait for people, oldest first.
func (a *Approver) Approvals(ctx context.Context) (api.List, error) {
	var list api.List
	err := a.read(ctx, api.Path, &list)
	return list, err
}

// Approval returns one request with everything that a vote on it must name.
func (a *Approver) Approval(ctx context.Context, id string) (api.Approval, error) {
	var one api.Approval
	if err := checkRequest(id); err != nil {
		return one, err
	}
	err := a.read(ctx, api.Path+"/"+id, &one)
	return one, err
}

// Vote sends a signed vote (compact JWS, see message.Vote) on a request. The
// same vote may be sent again.
func (a *Approver) Vote(ctx context.Context, id string, jws []byte) (api.Recorded, error) {
	var recorded api.Recorded
	if err := checkRequest(id); err != nil {
		return recorded, err
	}
	err := a.do(ctx, call{
		method: http.MethodPost, path: api.Path + "/" + id + "/votes", body: jws,
		header: map[string]string{"Content-Type": api.VoteMediaType},
	}, &recorded)
	return recorded, err
}

// read makes a signed reading call.
func (a *Approver) read(ctx context.Context, path string, v any) error {
	signed, err := httpsig.Sign(httpsig.Message{
		Method: http.MethodGet, Authority: a.base.Host, Path: path,
	}, httpsig.ReadProfile, a.key, a.keyID, a.now())
	if err != nil {
		return fmt.Errorf("signing the call: %w", err)
	}
	header := map[string]string{"Signature-Input": signed.SignatureInput, "Signature": signed.Signature}
	return a.do(ctx, call{method: http.MethodGet, path: path, header: header}, v)
}
