package boot

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/secrets"
)

// Database returns how the deployment's service logs in: as its own role,
// with the password that its newest branches give.
func (d *Deployment) Database(cfg config.Database) (database.Config, error) {
	pool, err := config.CertPool(cfg.CA)
	if err != nil {
		return database.Config{}, fmt.Errorf("database.ca: %w", err)
	}
	key, err := d.Keyring.Key(secrets.Database(d.Service), d.Keyring.Generation())
	if err != nil {
		return database.Config{}, err
	}
	return database.Config{
		Addr: strings.Join(cfg.Addresses, ","), Name: cfg.Name,
		User: database.Role(d.Service), Password: secrets.DatabasePassword(key),
		RootCAs: pool, ServerName: cfg.ServerName,
	}, nil
}
