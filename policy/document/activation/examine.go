package activation

import (
	"context"
	"errors"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// ErrInactive says that no document is active which another could replace.
var ErrInactive = errors.New("no policy document is active")

// ErrExpired says that a document has expired.
var ErrExpired = errors.New("policy document has expired")

// ErrAway says that it cannot be told now.
var ErrAway = errors.New("the files of its lists cannot be read now")

// Examine says why a document would not be activated if it were published now;
// nil if it would. It changes nothing. ErrAway and ErrInactive are no fault of
// the document's.
func (h *Holder) Examine(ctx context.Context, bundle message.PolicyBundle) error {
	active := h.Active()
	if active == nil {
		return ErrInactive
	}
	next, err := active.Successor(bundle, h.genesis, h.deployment)
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
