package signing

import (
	"fmt"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/secrets"
)

// Verifiers returns a SCRAM-SHA-256 verifier of the database password of every
// service of a deployment with the given policy roles, by service: what
// `countersign database init` needs to provision the logins without seeing a
// password. Salts are random, so that each call gives others.
func Verifiers(keyring *secrets.Keyring, roles []string) (map[string]string, error) {
	out := map[string]string{}
	for _, service := range secrets.Services(roles) {
		key, err := keyring.Key(secrets.Database(service), keyring.Generation())
		if err != nil {
			return nil, fmt.Errorf("verifier of %s: %w", service, err)
		}
		password := secrets.DatabasePassword(key)
		out[service] = database.Verifier(password)
		password.Wipe()
	}
	return out, nil
}
