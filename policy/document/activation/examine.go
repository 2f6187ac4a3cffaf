package activation

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
)

// ErrInactive says that no document is active which another could replace.
var ErrInactive = errors.New("no policy document is active")

// ErrOld says that a document's version is not above the newest one's.
var ErrOld = errors.New("policy document is not newer than the one in force")

// ErrExpired says that a document has expired.
var ErrExpired = errors.New("policy document has expired")

// ErrAway says that it cannot be told now.
var ErrAway = errors.New("the files of its lists cannot be read now")

// Examine says why a document would not be activated if it were published now;
// nil if it would. It changes nothing. ErrAway and ErrInactive are no fault of
// the document's.
func (h *Holder) Examine(ctx context.Context, bundle message.PolicyBundle) error {
	if h.Active() == nil {
		return ErrInactive
	}
	p := h.snapshot()
	version, err := document.VersionOf(bundle.Document)
	if err != nil {
		return err
	}
	// This comes first, for an older document rests on other admins.
	if version <= p.newest().Version {
		return fmt.Errorf("version %d after version %d: %w", version, p.newest().Version, ErrOld)
	}
	next, err := document.VerifySuccessor(bundle, p.next, h.genesis, h.deployment)
	if err != nil {
		return err
	}
	if next.Expired(h.now()) {
		return ErrExpired
	}
	h.refresh.Lock()
	defer h.refresh.Unlock()
	if err := h.equip(ctx, next); err != nil {
		if errors.Is(err, queue.ErrNoNotice) || errors.Is(err, errNoFiles) {
			return err
		}
		return errors.Join(ErrAway, err)
	}
	if h.check != nil {
		return h.check(next)
	}
	return nil
}
