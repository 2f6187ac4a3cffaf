package countersigned

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/trust/attestation"
)

// Why an announcement is refused. None of them is believed to be more than a
// word for the log.
var (
	ErrEpoch    = errors.New("announcement is for none of this instance's live epochs")
	ErrRole     = errors.New("announcement names a role that the genesis does not have")
	ErrOrigin   = errors.New("message is of another version, deployment or generation")
	ErrHello    = errors.New("announcement answers another hello")
	ErrTimes    = errors.New("times are not acceptable")
	ErrIdentity = errors.New("identity signature is by no key that the policy document names for the role")
	ErrKeyTaken = errors.New("key was announced before")
	ErrTooMany  = errors.New("too many keys of this role in this epoch")
)

// Announcement verifies a policy instance's announcement and, if it is one for
// a live epoch of this instance, keeps its key until it expires. Giving the
// same bytes again changes nothing: a key is never revived or prolonged.
func (v *Verifier) Announcement(ctx context.Context, compact []byte) error {
	// What is peeked at chooses the keys to verify with, nothing else.
	var claimed message.Announcement
	if err := message.Peek(compact, &claimed); err != nil {
		return fmt.Errorf("announcement: %w", err)
	}
	e := v.liveEpoch(claimed.Epoch)
	if e == nil {
		return fmt.Errorf("announcement of %q: %w", claimed.Role, ErrEpoch)
	}
	sum := message.Sum(compact)
	if e.has(sum) {
		return nil
	}
	a, err := v.verifyAnnouncement(ctx, e, claimed.Role, compact)
	if err != nil {
		return fmt.Errorf("announcement of %q: %w", claimed.Role, err)
	}
	if err := v.admit(e, a, sum); err != nil {
		return fmt.Errorf("announcement of %q: %w", claimed.Role, err)
	}
	return nil
}

func (v *Verifier) liveEpoch(id message.EpochID) *epoch {
	for _, e := range v.live() {
		if e.id == id {
			return e
		}
	}
	return nil
}

func (e *epoch) has(sum message.Hash) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.taken[sum]
}

// verifyAnnouncement checks the MAC, which covers every field, under the one
// role's key; then that what it says fits this epoch; then who stands behind
// it.
func (v *Verifier) verifyAnnouncement(ctx context.Context, e *epoch, role string, compact []byte) (*message.Announcement, error) {
	if !slices.Contains(v.cfg.Genesis.Roles, role) {
		return nil, ErrRole
	}
	purpose := secrets.Announce(role)
	key, err := v.cfg.Keyring.Key(purpose, e.generation)
	if err != nil {
		return nil, err
	}
	a := &message.Announcement{}
	kid := secrets.KeyID(purpose, e.generation)
	if err := message.VerifyMAC(message.TypAnnouncement, kid, key.Bytes(), compact, a); err != nil {
		return nil, err
	}
	if err := v.checkAnnouncement(e, role, a.AnnouncementBody); err != nil {
		return nil, err
	}
	if err := v.checkIdentity(role, a); err != nil {
		return nil, err
	}
	nonce, err := attestation.AnnouncementNonce(a.AnnouncementBody)
	if err != nil {
		return nil, err
	}
	return a, v.cfg.Attester.Verify(ctx, a.Attestation, nonce)
}

func (v *Verifier) checkAnnouncement(e *epoch, role string, b message.AnnouncementBody) error {
	now := v.cfg.Now()
	switch {
	case b.Version != message.Version || b.Deployment != v.cfg.Deployment || b.Generation != e.generation:
		return ErrOrigin
	case b.Role != role:
		return ErrRole
	case b.Epoch != e.id:
		return ErrEpoch
	case b.Hello != e.hellos[role]:
		return ErrHello
	case !instanceName.MatchString(b.Instance):
		return errors.New("instance name is not usable")
	case !timely(now, b.Issued, b.Expires) || b.Issued.Before(e.issued.Add(-Skew)):
		return ErrTimes
	}
	return nil
}

func (v *Verifier) checkIdentity(role string, a *message.Announcement) error {
	input, err := a.IdentityInput()
	if err != nil {
		return err
	}
	active := v.cfg.Policy()
	if active == nil {
		return ErrNoPolicy
	}
	for _, jwk := range active.IdentityKeys(role) {
		if key, err := jwk.Ed25519(); err == nil && ed25519.Verify(key, input, a.Identity) {
			return nil
		}
	}
	return ErrIdentity
}

// admit opens the channel and keeps the key. A key belongs to one role, in
// all live epochs, and is announced once to each.
func (v *Verifier) admit(e *epoch, a *message.Announcement, sum message.Hash) error {
	key, err := a.PublicKey.Ed25519()
	if err != nil {
		return err
	}
	hash, err := hpkeshare.KeyHash(a.PublicKey)
	if err != nil {
		return err
	}
	m := &member{role: a.Role, instance: a.Instance, kid: a.PublicKey.Thumbprint(), key: key}
	m.expires = a.Expires.Time
	if e.expires.Before(m.expires) {
		m.expires = e.expires
	}
	m.ends = v.cfg.Elapsed() + m.expires.Sub(v.cfg.Now())
	info := hpkeshare.Info{
		Deployment: v.cfg.Deployment, Generation: a.Generation, Role: a.Role,
		Instance: a.Instance, Hello: a.Hello, PublicKey: hash,
	}
	// One admission at a time over all epochs, so that two roles cannot both
	// find a key free.
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.checkFree(e, m); err != nil {
		return err
	}
	return e.add(m, a.Encapsulation, info, sum)
}

// checkFree is called with v.mu held.
func (v *Verifier) checkFree(e *epoch, m *member) error {
	for _, other := range v.epochs {
		other.mu.RLock()
		known := other.members[m.kid]
		other.mu.RUnlock()
		if known != nil && (other == e || known.role != m.role) {
			return ErrKeyTaken
		}
	}
	return nil
}

func (e *epoch) add(m *member, encapsulation []byte, info hpkeshare.Info, sum message.Hash) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.private == nil {
		return ErrEpoch
	}
	if e.count[m.role] >= maxKeys {
		return ErrTooMany
	}
	channel, err := hpkeshare.Receive(e.private, encapsulation, info)
	if err != nil {
		return err
	}
	m.channel = channel
	e.members[m.kid], e.taken[sum] = m, true
	e.count[m.role]++
	return nil
}
