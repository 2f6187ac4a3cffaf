package secrets

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/hkdf"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
)

// Purpose is what one branch, and the key made from its two halves, is for.
type Purpose string

// The purposes that belong to no role.
const (
	PurposeWallet          Purpose = "wallet"
	PurposeAudit           Purpose = "audit"
	PurposeIdentitySigning Purpose = "identity/signing"
	// PurposeWebhook is the key that the proposer derives webhooks' secrets from.
	PurposeWebhook Purpose = "webhook"
)

// Hello is the purpose of the MAC key of the signing service's hellos to role.
func Hello(role string) Purpose { return Purpose("hello/" + role) }

// Announce is the purpose of the MAC key of role's announcements.
func Announce(role string) Purpose { return Purpose("announce/" + role) }

// Identity is the purpose of the Ed25519 identity key of a role, or of
// "signing".
func Identity(role string) Purpose { return Purpose("identity/" + role) }

// Share is the purpose of role's shares of wallet and account keys.
func Share(role string) Purpose { return Purpose("share/" + role) }

// Record is the purpose of the MAC key of role's own records.
func Record(role string) Purpose { return Purpose("record/" + role) }

// Database is the purpose of a service's database password.
func Database(service string) Purpose { return Purpose("database/" + service) }

// The services that are not policy roles. The operator is the command line
// when it stores policy documents.
const (
	ServiceSigning  = message.RoleSigning
	ServiceProposer = "proposer"
	ServiceOperator = "operator"
)

// Services lists every service of a deployment with the given policy roles.
func Services(roles []string) []string {
	return append([]string{ServiceProposer, ServiceOperator, ServiceSigning}, roles...)
}

// Purposes returns the purposes whose branches a service is handed, sorted. It
// is the table of DESIGN's section "Secrets" and the only place that says who
// holds what.
func Purposes(service string, roles []string) ([]Purpose, error) {
	var out []Purpose
	switch {
	case service == ServiceOperator:
		out = []Purpose{Database(service)}
	case service == ServiceProposer:
		out = []Purpose{Database(service), PurposeWebhook}
	case service == ServiceSigning:
		out = []Purpose{PurposeWallet, PurposeIdentitySigning, PurposeAudit}
		for _, r := range roles {
			out = append(out, Hello(r), Announce(r))
		}
		for _, s := range Services(roles) {
			out = append(out, Database(s))
		}
	case slices.Contains(roles, service):
		out = []Purpose{
			Hello(service), Announce(service), Identity(service),
			Share(service), Record(service), Database(service),
		}
	default:
		return nil, fmt.Errorf("unknown service %q: have %s", service, strings.Join(Services(roles), ", "))
	}
	slices.Sort(out)
	return out, nil
}

// optional are the purposes that a service can do without: files that were made
// before there was such a purpose still serve.
var optional = []Purpose{PurposeWebhook}

// ErrSize says that a secret or branch is not exactly Size bytes.
var ErrSize = errors.New("not exactly 32 bytes")

// Branch derives the branch of a secret for one purpose:
//
//	HKDF-SHA256(secret, salt = LabelBranch, info = purpose), 32 bytes
func Branch(secret *Secret, purpose Purpose) (*Secret, error) {
	if secret.Len() != Size {
		return nil, fmt.Errorf("branch %s: secret: %w", purpose, ErrSize)
	}
	return expand(secret.Bytes(), []byte(message.LabelBranch), []byte(purpose))
}

// Key derives the key for one purpose from the two halves' branches:
//
//	HKDF-SHA256(build || deploy, salt = deployment id, info = LabelKey + purpose), 32 bytes
//
// Both branches are exactly 32 bytes, so that no two pairs are one input.
func Key(build, deploy *Secret, deployment message.Hash, purpose Purpose) (*Secret, error) {
	if build.Len() != Size || deploy.Len() != Size {
		return nil, fmt.Errorf("key %s: branch: %w", purpose, ErrSize)
	}
	input := make([]byte, 0, 2*Size)
	input = append(append(input, build.Bytes()...), deploy.Bytes()...)
	scratch.Hold(input)
	defer clear(input)
	return expand(input, deployment[:], []byte(message.LabelKey+string(purpose)))
}

// Derive makes a further secret from a key: HKDF-SHA256 with the given salt
// and info, 32 bytes.
func Derive(key *Secret, salt, info []byte) (*Secret, error) {
	if key.Len() == 0 {
		return nil, fmt.Errorf("deriving: key: %w", ErrSize)
	}
	return expand(key.Bytes(), salt, info)
}

func expand(input, salt, info []byte) (*Secret, error) {
	// In two steps, so that what lies between can be cleared.
	between := scratch.Hold(hkdf.Extract(sha256.New, input, salt))
	defer clear(between)
	out := make([]byte, Size)
	if _, err := io.ReadFull(hkdf.Expand(sha256.New, between, info), out); err != nil {
		return nil, fmt.Errorf("HKDF: %w", err)
	}
	return own(out), nil
}

// IdentityKey is the Ed25519 key whose RFC 8032 seed is the 32-byte key of an
// identity purpose.
func IdentityKey(key *Secret) (ed25519.PrivateKey, error) {
	if key.Len() != ed25519.SeedSize {
		return nil, fmt.Errorf("identity key: %w", ErrSize)
	}
	return ed25519.NewKeyFromSeed(key.Bytes()), nil
}

// DatabasePassword is the password of a database purpose's key: unpadded
// base64url, 43 characters, 256 bits.
func DatabasePassword(key *Secret) *Secret {
	out := make([]byte, base64.RawURLEncoding.EncodedLen(key.Len()))
	base64.RawURLEncoding.Encode(out, key.Bytes())
	return own(out)
}
