package secrets

import (
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// NewShare returns the share that the holder of key has of the key of one
// stored record. A policy service's key is that for share/<role>, the signing
// service's own that for wallet:
//
//	HKDF-SHA256(key, no salt, info = Context(LabelShare, scope, id)), 32 bytes
//
// The key is already salted by the deployment id and made for one generation.
func NewShare(key *Secret, scope message.Scope, id string) (*Secret, error) {
	if key.Len() != Size {
		return nil, fmt.Errorf("share of %s %s: key: %w", scope, id, ErrSize)
	}
	if scope != message.ScopeSeed && scope != message.ScopeAccount {
		return nil, fmt.Errorf("share: scope %q is not known", scope)
	}
	if _, err := message.ParseHash(id); err != nil {
		return nil, fmt.Errorf("share: id: %w", err)
	}
	return Derive(key, nil, message.Context(message.LabelShare, []byte(scope), []byte(id)))
}
