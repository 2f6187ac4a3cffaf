package document

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// Errors of VerifyBundle that callers tell apart.
var (
	// ErrQuorum says that too few different admins have signed.
	ErrQuorum = errors.New("too few policy admins have signed the document")
	// ErrSigner says that a signature is by nobody known, or by one admin for
	// the second time.
	ErrSigner = errors.New("signature is not by a further policy admin")
	// ErrDeployment says that a document or signature is for another
	// deployment.
	ErrDeployment = errors.New("policy document is for another deployment")
)

// Sign returns one admin's signature of the exact YAML bytes, as a compact
// JWS. It refuses what does not parse or names another deployment.
func Sign(raw []byte, deployment message.Hash, admin ed25519.PrivateKey) (string, error) {
	d, err := Parse(raw)
	if err != nil {
		return "", err
	}
	if d.Deployment != deployment.String() {
		return "", fmt.Errorf("signing policy: %w", ErrDeployment)
	}
	public, err := message.NewJWK(admin.Public())
	if err != nil {
		return "", fmt.Errorf("signing policy: %w", err)
	}
	compact, err := message.SignEd25519(message.TypPolicySignature, public.Thumbprint(), admin,
		signatureOf(d, raw, deployment))
	return string(compact), err
}

// signatureOf is what every admin signs: deployment, version and the SHA-256
// of the exact bytes.
func signatureOf(d *Document, raw []byte, deployment message.Hash) message.PolicySignature {
	return message.PolicySignature{
		Version: message.Version, Deployment: deployment,
		Policy: message.PolicyRef{Version: d.Version, Hash: message.Sum(raw)},
	}
}

// VerifyBundle reads a document on its way and returns it if it is valid, for
// this deployment, and signed by the quorum of the genesis document's admins.
// Every signature must be good and by a different admin: one that is not
// spoils the bundle. It knows nothing of versions seen before.
func VerifyBundle(bundle message.PolicyBundle, genesis message.Genesis, deployment message.Hash) (*Active, error) {
	d, err := Parse(bundle.Document)
	if err != nil {
		return nil, err
	}
	if d.Deployment != deployment.String() {
		return nil, ErrDeployment
	}
	want := signatureOf(d, bundle.Document, deployment)
	if err := verifyQuorum(bundle.Signatures, want, genesis); err != nil {
		return nil, fmt.Errorf("policy version %d: %w", d.Version, err)
	}
	if err := d.Validate(genesis); err != nil {
		return nil, fmt.Errorf("policy version %d: %w", d.Version, err)
	}
	return &Active{Document: d, Ref: want.Policy, Bundle: bundle}, nil
}

func verifyQuorum(signatures []string, want message.PolicySignature, genesis message.Genesis) error {
	signed := map[string]bool{}
	for i, compact := range signatures {
		admin, err := verifySignature(compact, want, genesis)
		if err != nil {
			return fmt.Errorf("signature %d: %w", i+1, err)
		}
		if signed[admin] {
			return fmt.Errorf("signature %d: by admin %s again: %w", i+1, admin, ErrSigner)
		}
		signed[admin] = true
	}
	if genesis.Threshold < 1 || len(signed) < genesis.Threshold {
		return fmt.Errorf("%d of at least %d: %w", len(signed), genesis.Threshold, ErrQuorum)
	}
	return nil
}

func verifySignature(compact string, want message.PolicySignature, genesis message.Genesis) (string, error) {
	kid, err := message.KeyID(message.TypPolicySignature, []byte(compact))
	if err != nil {
		return "", err
	}
	for _, admin := range genesis.Admins {
		if admin.Key.Thumbprint() != kid {
			continue
		}
		key, err := admin.Key.Ed25519()
		if err != nil {
			return "", fmt.Errorf("admin %s: %w", admin.Name, err)
		}
		var got message.PolicySignature
		if err := message.VerifyEd25519(message.TypPolicySignature, kid, key, []byte(compact), &got); err != nil {
			return "", fmt.Errorf("admin %s: %w", admin.Name, err)
		}
		if got != want {
			return "", fmt.Errorf("admin %s has signed another document, version or deployment: %w", admin.Name, ErrSigner)
		}
		return admin.Name, nil
	}
	return "", fmt.Errorf("key %s: %w", kid, ErrSigner)
}
