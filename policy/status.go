package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// What Ready finds missing, beside history.ErrBroken and history.ErrEmpty.
var (
	ErrNoPolicy = errors.New("no policy document is active")
	ErrOld      = errOldPolicy
	ErrNotNamed = errors.New("the active policy document does not name this role's identity key")
	ErrNoKeys   = errors.New("keys are not exchanged: this instance has announced its key to no live epoch")
	ErrUnread   = errors.New("the role's records cannot be read")
)

// Ready returns nil if the service can decide: a policy is active and names
// this role's identity key, the role's records are whole, and at least one
// signing instance's epoch is live. Otherwise it returns all that is missing.
func (s *Service) Ready(ctx context.Context) error {
	return errors.Join(s.policyReady(), s.recordsReady(ctx), s.keysReady())
}

func (s *Service) policyReady() error {
	active := s.cfg.Policy.Active()
	if active == nil {
		return ErrNoPolicy
	}
	jwk, err := s.IdentityKey()
	if err != nil {
		return err
	}
	named := func(k message.JWK) bool { return k.Thumbprint() == jwk.Thumbprint() }
	if !slices.ContainsFunc(active.IdentityKeys(s.cfg.Role), named) {
		return ErrNotNamed
	}
	return nil
}

func (s *Service) recordsReady(ctx context.Context) error {
	err := s.memory.check(ctx, s.cfg.Policy.Active())
	if err != nil && !denies(err) {
		return fmt.Errorf("%w: %w", ErrUnread, err)
	}
	if active := s.cfg.Policy.Active(); err == nil && active != nil && !follows(s.memory.newestPolicy(), active.Ref) {
		return ErrOld
	}
	return err
}

func (s *Service) keysReady() error {
	if s.Epochs() == 0 {
		return ErrNoKeys
	}
	return nil
}

// Epochs returns how many live epochs this instance has announced its key to
// under the active policy.
func (s *Service) Epochs() int {
	active := s.cfg.Policy.Active()
	if active == nil {
		return 0
	}
	return len(s.links.live(s.cfg.Now(), active.Ref))
}

// Records returns how many entries of the role's chain this instance has
// verified, and whether it found the chain broken, without reading any. While a
// batch is decided it is what was so at an earlier call: nobody waits for it.
func (s *Service) Records() (entries int64, broken bool) {
	if s.memory.mu.TryLock() {
		s.memory.seen.Store(&seen{entries: s.memory.chain.Head().Seq, broken: s.memory.chain.Broken() != nil})
		s.memory.mu.Unlock()
	}
	last := s.memory.seen.Load()
	if last == nil {
		return 0, false
	}
	return last.entries, last.broken
}

// seen is what Records said last.
type seen struct {
	entries int64
	broken  bool
}
