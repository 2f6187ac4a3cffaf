package secrets

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// ErrNoWebhookKey says that the branch files were made before there were
// webhooks: `countersign secrets branch` hands out new ones.
var ErrNoWebhookKey = errors.New("no webhook branch: hand out new branch files (countersign secrets branch)")

// WebhookSecret derives the secret of one webhook from the key of the purpose
// webhook, which is already salted by the deployment id:
//
//	HKDF-SHA256(key, no salt, info = Context(LabelWebhook, id)), 32 bytes
func WebhookSecret(key *Secret, id string) (*Secret, error) {
	if key.Len() != Size {
		return nil, fmt.Errorf("webhook secret: key: %w", ErrSize)
	}
	if id == "" {
		return nil, errors.New("webhook secret: no id")
	}
	return Derive(key, nil, message.Context(message.LabelWebhook, []byte(id)))
}

// WebhookSecrets returns the secrets of one webhook, newest generation first.
// During a rotation there are two, and a message is signed with both.
func (k *Keyring) WebhookSecrets(id string) ([]*Secret, error) {
	var out []*Secret
	for _, generation := range k.Generations() {
		key := k.keys[generation][PurposeWebhook]
		if key == nil {
			continue
		}
		s, err := WebhookSecret(key, id)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, ErrNoWebhookKey
	}
	return out, nil
}

// FormatWebhook is a webhook's secret as its receiver is given it (Standard
// Webhooks): "whsec_" and standard base64.
func FormatWebhook(s *Secret) *Secret {
	return NewSecret([]byte("whsec_" + base64.StdEncoding.EncodeToString(s.Bytes())))
}
