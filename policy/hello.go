package policy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/trust/attestation"
)

// What a hello may say of its own times, by this service's clock.
const (
	maxHelloLifetime = 10 * time.Minute
	maxSkew          = 30 * time.Second
)

// helloPoll is how often hellos are read without being woken.
const helloPoll = 2 * time.Second

// Why a hello is refused.
var (
	errNotOurs  = errors.New("hello to another role")
	errOrigin   = errors.New("hello of another version, deployment, generation or role")
	errLifetime = errors.New("hello is expired, not yet valid, or valid for too long")
	errPolicy   = errors.New("hello names another policy document of the active version")
)

// follow answers new hellos until ctx ends.
func (s *Service) follow(ctx context.Context) error {
	ticker := time.NewTicker(helloPoll)
	defer ticker.Stop()
	changed := s.cfg.Queue.Changed(queue.TopicHello)
	seen := map[message.Hash]bool{}
	for {
		var err error
		if seen, err = s.greet(ctx, seen); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("reading hellos failed", "role", s.cfg.Role, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-s.links.wake:
		case <-ticker.C:
		}
	}
}

// greet reads the live hellos once, announces to those that are new, and
// drops the epochs that are over. seen are the notices that were looked at:
// true for those that need no second look, false for those that were refused
// for their times, which a clock that is set right may mend. It returns those
// that are still there.
func (s *Service) greet(ctx context.Context, seen map[message.Hash]bool) (map[message.Hash]bool, error) {
	s.links.sweep(s.cfg.Now())
	if s.cfg.Policy.Active() == nil {
		return seen, nil // before version 1 there is no announcement
	}
	notices, err := s.cfg.Queue.Notices(ctx, queue.TopicHello)
	if err != nil {
		return seen, fmt.Errorf("reading hellos: %w", err)
	}
	still := map[message.Hash]bool{}
	for _, n := range notices {
		sum := message.Sum(n.Body)
		done, known := seen[sum]
		if !done {
			if done, err = s.answer(ctx, n.Body, sum, known); err != nil {
				s.cfg.Log.Error("announcing failed", "role", s.cfg.Role, "error", err)
				continue // tried again
			}
		}
		still[sum] = done
	}
	return still, nil
}

// answer verifies one hello and, if it is good, announces this instance's key
// to it. An error means that it should be tried again; a hello that is refused
// is logged, once, and done with unless its times were the fault.
func (s *Service) answer(ctx context.Context, compact []byte, sum message.Hash, known bool) (done bool, err error) {
	h, err := s.verifyHello(ctx, compact)
	if errors.Is(err, errNotOurs) {
		return true, nil
	}
	if err != nil {
		if !known {
			s.cfg.Log.Warn("hello refused", "role", s.cfg.Role, "error", err)
		}
		return !errors.Is(err, errLifetime), nil
	}
	return true, s.announce(ctx, h, sum)
}

// announce makes sure that this instance's key is announced to an epoch.
func (s *Service) announce(ctx context.Context, h message.Hello, sum message.Hash) (err error) {
	e := s.links.get(h.Epoch)
	if e == nil {
		if !s.links.room(&link{policy: h.Policy, expires: h.Expires.Time}) {
			s.cfg.Log.Warn("too many live epochs, hello not answered", "role", s.cfg.Role, "epoch", h.Epoch.String())
			return nil // all that are kept are of more use, and live longer
		}
		s.refreshFor(ctx, h.Policy)
		if e, err = s.link(ctx, h, sum); err != nil {
			return err
		}
	}
	if e.published {
		return nil
	}
	return s.publish(ctx, e)
}

// verifyHello believes a hello only under the key hello/<role>.
func (s *Service) verifyHello(ctx context.Context, compact []byte) (message.Hello, error) {
	var h message.Hello
	kid, err := message.KeyID(message.TypHello, compact)
	if err != nil {
		return h, err
	}
	generation, ok := s.helloGeneration(kid)
	if !ok {
		return h, errNotOurs
	}
	key, err := s.cfg.Keyring.Key(secrets.Hello(s.cfg.Role), generation)
	if err != nil {
		return h, err
	}
	if err := message.VerifyMAC(message.TypHello, kid, key.Bytes(), compact, &h); err != nil {
		return h, err
	}
	if h.Origin != s.origin(generation) || h.Role != s.cfg.Role || h.Epoch == (message.EpochID{}) {
		return h, errOrigin
	}
	if err := s.checkTimes(h); err != nil {
		return h, err
	}
	if active := s.cfg.Policy.Active(); active != nil && active.Ref.Version == h.Policy.Version && active.Ref != h.Policy {
		return h, errPolicy
	}
	nonce, err := attestation.HelloNonce(h)
	if err != nil {
		return h, err
	}
	if err := s.cfg.Attester.Verify(ctx, h.Attestation, nonce); err != nil {
		return h, fmt.Errorf("hello's attestation: %w", err)
	}
	return h, nil
}

// helloGeneration finds the generation whose hello key a kid names.
func (s *Service) helloGeneration(kid string) (int, bool) {
	for _, g := range s.cfg.Keyring.Generations() {
		if kid == secrets.KeyID(secrets.Hello(s.cfg.Role), g) {
			return g, true
		}
	}
	return 0, false
}

func (s *Service) checkTimes(h message.Hello) error {
	now := s.cfg.Now()
	lifetime := h.Expires.Sub(h.Issued.Time)
	if h.Issued.After(now.Add(maxSkew)) || !h.Expires.After(now) || lifetime <= 0 || lifetime > maxHelloLifetime {
		return errLifetime
	}
	return nil
}

// refreshFor looks for a policy that the signing service knows already.
func (s *Service) refreshFor(ctx context.Context, ref message.PolicyRef) {
	if active := s.cfg.Policy.Active(); active == nil || active.Ref.Version >= ref.Version {
		return
	}
	if _, err := s.cfg.Policy.Refresh(ctx); err != nil {
		s.cfg.Log.Error("refreshing the policy failed", "role", s.cfg.Role, "error", err)
	}
}

// link makes the channel and the announcement for one epoch.
func (s *Service) link(ctx context.Context, h message.Hello, sum message.Hash) (*link, error) {
	hash, err := hpkeshare.KeyHash(s.jwk)
	if err != nil {
		return nil, err
	}
	encapsulation, channel, err := hpkeshare.Announce(h.HPKEKey, hpkeshare.Info{
		Deployment: s.cfg.Deployment, Generation: h.Generation, Role: s.cfg.Role,
		Instance: s.instance, Hello: sum, PublicKey: hash,
	})
	if err != nil {
		return nil, fmt.Errorf("announcing to epoch %s: %w", h.Epoch, err)
	}
	now := s.cfg.Now()
	expires := h.Expires
	if latest := message.At(now.Add(maxHelloLifetime)); latest.Before(expires.Time) {
		expires = latest // the hello's clock is ahead of ours
	}
	compact, err := s.announcement(ctx, h, message.AnnouncementBody{
		Origin: s.origin(h.Generation), Role: s.cfg.Role, Instance: s.instance,
		Epoch: h.Epoch, Hello: sum, Encapsulation: encapsulation, PublicKey: s.jwk,
		Issued: message.At(now), Expires: expires,
	})
	if err != nil {
		channel.Wipe()
		return nil, fmt.Errorf("announcing to epoch %s: %w", h.Epoch, err)
	}
	e := &link{
		epoch: h.Epoch, policy: h.Policy, hello: sum, channel: channel, announcement: compact,
		expires: expires.Time, deadline: now.Add(expires.Sub(now)),
	}
	s.links.add(e)
	return e, nil
}

// publish puts the announcement where the signing service reads it, and only
// then has shares sealed for the epoch. Publishing the same bytes twice is
// harmless.
func (s *Service) publish(ctx context.Context, e *link) error {
	err := s.cfg.Queue.Publish(ctx, queue.Notice{
		Topic: queue.TopicAnnouncement, Key: s.instance + "/" + e.epoch.String(),
		Sender: s.cfg.Role, Body: e.announcement, Expires: e.expires,
	})
	if err != nil {
		return fmt.Errorf("announcing to epoch %s: %w", e.epoch, err)
	}
	s.links.publish(e)
	s.cfg.Log.Info("announced to epoch", "role", s.cfg.Role, "epoch", e.epoch.String())
	return nil
}

// announcement attests, signs under identity/<role>, and MACs.
func (s *Service) announcement(ctx context.Context, h message.Hello, body message.AnnouncementBody) ([]byte, error) {
	nonce, err := attestation.AnnouncementNonce(body)
	if err != nil {
		return nil, err
	}
	if body.Attestation, err = s.cfg.Attester.Attest(ctx, nonce); err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	input, err := body.IdentityInput()
	if err != nil {
		return nil, err
	}
	key, err := s.cfg.Keyring.Key(secrets.Announce(s.cfg.Role), h.Generation)
	if err != nil {
		return nil, err
	}
	return message.SignMAC(message.TypAnnouncement, secrets.KeyID(secrets.Announce(s.cfg.Role), h.Generation), key.Bytes(),
		message.Announcement{AnnouncementBody: body, Identity: ed25519.Sign(s.identity, input)})
}
