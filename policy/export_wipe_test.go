package policy

import (
	"crypto/rand"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
)

// Links are the epochs that an instance has announced its key to.
type Links struct{ inside *links }

// NewLinks returns none.
func NewLinks() Links { return Links{newLinks()} }

// Add adds an epoch with its channel, which ends at the deadline.
func (l Links) Add(c *hpkeshare.Channel, deadline time.Time) {
	e := &link{channel: c, deadline: deadline}
	rand.Read(e.epoch[:])
	l.inside.add(e)
}

// Sweep drops the epochs that are over.
func (l Links) Sweep(now time.Time) { l.inside.sweep(now) }

// Close drops all.
func (l Links) Close() { l.inside.close() }

// SealAll seals what an approved request releases for epochs with the given
// channels.
func SealAll(role string, keyring *secrets.Keyring, envelope message.Hash, releases []transaction.Release, channels ...*hpkeshare.Channel) error {
	s := &Service{cfg: Config{Role: role, Keyring: keyring}}
	it := &item{request: Request{EnvelopeHash: envelope, Meaning: transaction.Meaning{Releases: releases}}}
	var epochs []*link
	for _, c := range channels {
		epochs = append(epochs, &link{channel: c})
	}
	_, err := s.sealAll(it, true, epochs)
	return err
}
