package document

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// ErrOld says that a document's version is not above the active one's.
var ErrOld = errors.New("policy document is not newer than the active one")

// Successor verifies a document that is to replace this one: signed by those
// who have to, valid, and of a higher version. Whether it has expired, and
// whether its rules compile, is not looked at.
func (a *Active) Successor(bundle message.PolicyBundle, genesis message.Genesis, deployment message.Hash) (*Active, error) {
	next, err := VerifySuccessor(bundle, a.next, genesis, deployment)
	if err != nil {
		return nil, err
	}
	if next.Version <= a.Version {
		return nil, fmt.Errorf("version %d after version %d: %w", next.Version, a.Version, ErrOld)
	}
	return next, nil
}
