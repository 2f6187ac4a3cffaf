package hpkeshare_test

import (
	"errors"
	"testing"

	"github.com/countersign/countersign/internal/scratch/scratchtest"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
)

// TestChannelIsWiped: nothing is left of a channel's secret, of the keys of
// shares and of opened shares, whether they opened or not.
func TestChannelIsWiped(t *testing.T) {
	share := secrets.Generate()
	scratchtest.WantNone(t, func() {
		policy, signing := pair(t, info)
		defer policy.Wipe()
		defer signing.Wipe()
		sealed, err := policy.Seal(context, share)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := signing.Open(context, sealed)
		if err != nil {
			t.Fatal(err)
		}
		opened.Wipe()
		sealed[0] ^= 1
		if _, err := signing.Open(context, sealed); !errors.Is(err, hpkeshare.ErrSealed) {
			t.Errorf("got %v, want ErrSealed", err)
		}
	}, "hpkeshare.newChannel", "hpkeshare.(*Channel).aead", "hpkeshare.(*Channel).Open")
}
