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
		signatureOf(d.Version, raw, deployment))
	return string(compact), err
}

// signatureOf is what every admin signs: deployment, version and the SHA-256
// of the exact bytes.
func signatureOf(version int, raw []byte, deployment message.Hash) message.PolicySignature {
	return message.PolicySignature{
		Version: message.Version, Deployment: deployment,
		Policy: message.PolicyRef{Version: version, Hash: message.Sum(raw)},
	}
}

// VerifyBundle is VerifySuccessor where the genesis document's admins are in
// force, as they are until a document names others.
func VerifyBundle(bundle message.PolicyBundle, genesis message.Genesis, deployment message.Hash) (*Active, error) {
	return VerifySuccessor(bundle, GenesisQuorum(genesis), genesis, deployment)
}

// VerifySuccessor reads a document on its way and returns it if it is valid,
// for this deployment, and signed by the admins in force, and, where it names
// new ones, by as many of those as will have to sign. Every signature must be
// good and by a different admin: one that is not spoils the bundle. It knows
// nothing of versions seen before and of no clock: see Active.Expired.
func VerifySuccessor(bundle message.PolicyBundle, inForce Quorum, genesis message.Genesis, deployment message.Hash) (*Active, error) {
	s, err := VerifySigned(bundle, inForce, genesis, deployment)
	if err != nil {
		return nil, err
	}
	return s.Read(genesis)
}

// Signed is a document whose signatures are good. It need not be one that this
// release can read: what an earlier one has decided under is history all the
// same, and the admins whom it names are in force.
type Signed struct {
	Ref message.PolicyRef
	// Expires is zero where the document does not say.
	Expires Time
	// Next are those who sign the next version.
	Next Quorum

	bundle message.PolicyBundle
}

// VerifySigned verifies the signatures of VerifySuccessor, and of the document
// only what they rest on.
func VerifySigned(bundle message.PolicyBundle, inForce Quorum, genesis message.Genesis, deployment message.Hash) (*Signed, error) {
	if len(bundle.Signatures) > maxSignatures {
		return nil, fmt.Errorf("%d signatures, at most %d: %w", len(bundle.Signatures), maxSignatures, ErrSigner)
	}
	h, err := readHeader(bundle.Document)
	if err != nil {
		return nil, err
	}
	if h.Deployment != deployment.String() {
		return nil, ErrDeployment
	}
	if err := h.check(inForce, genesis); err != nil {
		return nil, fmt.Errorf("policy version %d: %w", h.Version, err)
	}
	want := signatureOf(h.Version, bundle.Document, deployment)
	if err := verifyQuorums(bundle.Signatures, want, inForce, h.Admins); err != nil {
		return nil, fmt.Errorf("policy version %d: %w", h.Version, err)
	}
	return &Signed{Ref: want.Policy, Expires: h.Expires, Next: inForce.after(h.Admins), bundle: bundle}, nil
}

// Read parses and validates the whole document.
func (s *Signed) Read(genesis message.Genesis) (*Active, error) {
	d, err := Parse(s.bundle.Document)
	if err != nil {
		return nil, err
	}
	if err := d.Validate(genesis); err != nil {
		return nil, fmt.Errorf("policy version %d: %w", d.Version, err)
	}
	return &Active{Document: d, Ref: s.Ref, Bundle: s.bundle, next: s.Next}, nil
}

// verifyQuorums verifies every signature and counts: a quorum of the admins in
// force, and one of those who are introduced, which proves that their keys
// exist. Who is of both sets signs once and counts in each.
func verifyQuorums(signatures []string, want message.PolicySignature, inForce Quorum, introduced *Admins) error {
	known := inForce
	if introduced != nil {
		known.Admins = append(introduced.admins(), inForce.Admins...)
	}
	signed := map[string]bool{} // by thumbprint
	for i, compact := range signatures {
		kid, err := verifySignature(compact, want, known)
		if err != nil {
			return fmt.Errorf("signature %d: %w", i+1, err)
		}
		if signed[kid] {
			return fmt.Errorf("signature %d: by key %s again: %w", i+1, kid, ErrSigner)
		}
		signed[kid] = true
	}
	if n := inForce.count(signed); inForce.Threshold < 1 || n < inForce.Threshold {
		return fmt.Errorf("%d of at least %d: %w", n, inForce.Threshold, ErrQuorum)
	}
	if introduced == nil {
		return nil
	}
	if n := introduced.quorum().count(signed); introduced.Threshold < 1 || n < introduced.Threshold {
		return fmt.Errorf("%d of at least %d of the admins whom it names: %w", n, introduced.Threshold, ErrQuorum)
	}
	return nil
}

func verifySignature(compact string, want message.PolicySignature, known Quorum) (kid string, err error) {
	kid, err = message.KeyID(message.TypPolicySignature, []byte(compact))
	if err != nil {
		return "", err
	}
	admin, ok := known.find(kid)
	if !ok {
		return "", fmt.Errorf("key %s: %w", kid, ErrSigner)
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
	return kid, nil
}
