package wallet

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// SeedTypeRaw is the seed type of SeedSize random bytes.
const SeedTypeRaw = "raw"

// NewSoftwareSource returns the seed source that draws from the operating
// system's generator (crypto/rand).
func NewSoftwareSource() SeedSource { return softwareSource{} }

type softwareSource struct{}

func (softwareSource) NewSeed(ctx context.Context, seedType string) (*secrets.Secret, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("making seed: %w", err)
	}
	if seedType != SeedTypeRaw {
		return nil, fmt.Errorf("making seed: seed type %q is not known", seedType)
	}
	b := scratch.Hold(make([]byte, SeedSize))
	defer clear(b)
	rand.Read(b) // never returns an error (crypto/rand)
	return secrets.NewSecret(b), nil
}
