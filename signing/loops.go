package signing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/signing/countersigned"
)

// How often the loops look without being woken.
const (
	// epochTick bounds how late an epoch is renewed or wiped; whether it is
	// live is judged at each use.
	epochTick = 500 * time.Millisecond
	// announcementTick bounds the delay of an announcement whose notification
	// was lost.
	announcementTick = 2 * time.Second
	// askTick bounds the delay of asking again.
	askTick = time.Second
	// defaultTidy is how often notices and forgotten requests are looked at.
	defaultTidy = time.Minute
	// reclaimAtStart is how far back a new instance looks for requests that
	// expired unnoticed, reclaimOverlap how far each look reaches into the one
	// before, for the two clocks' sake.
	reclaimAtStart = 24 * time.Hour
	reclaimOverlap = time.Minute
)

// keepEpochs opens an epoch when one is due and publishes its hellos, and ends
// those that are over.
func (s *Service) keepEpochs(ctx context.Context) error {
	changed := s.cfg.Policy.Changed()
	return s.repeat(ctx, epochTick, changed, func(ctx context.Context) error {
		s.verifier.Sweep()
		if s.verifier.Renew() {
			hellos, err := s.verifier.OpenEpoch(ctx)
			if err != nil {
				return err
			}
			s.cfg.Log.Info("epoch opened", "epoch", hellos[0].Epoch)
			s.unpublished = hellos
		}
		return s.publishHellos(ctx)
	})
}

// publishHellos publishes what is left to publish, so that one that failed is
// tried again while its epoch lives.
func (s *Service) publishHellos(ctx context.Context) error {
	for len(s.unpublished) > 0 {
		h := s.unpublished[0]
		err := s.cfg.Queue.Publish(ctx, queue.Notice{
			Topic: queue.TopicHello, Key: h.Role + "/" + h.Epoch.String(), Sender: secrets.ServiceSigning,
			Body: h.Compact, Expires: h.Expires,
		})
		if err != nil {
			return err
		}
		s.unpublished = s.unpublished[1:]
	}
	return nil
}

// hearAnnouncements verifies the announcements that are there. Every instance
// reads all of them, and passes over those for others' epochs.
func (s *Service) hearAnnouncements(ctx context.Context) error {
	changed := s.cfg.Queue.Changed(queue.TopicAnnouncement)
	return s.repeat(ctx, announcementTick, changed, s.listen)
}

func (s *Service) listen(ctx context.Context) error {
	notices, err := s.cfg.Queue.Notices(ctx, queue.TopicAnnouncement)
	if err != nil {
		return fmt.Errorf("reading announcements: %w", err)
	}
	for _, n := range notices {
		s.hear(ctx, n)
	}
	return nil
}

func (s *Service) hear(ctx context.Context, n queue.Notice) {
	err := s.verifier.Announcement(ctx, n.Body)
	if err == nil || !s.refused.first(message.Sum(n.Body)) {
		return
	}
	if errors.Is(err, countersigned.ErrEpoch) {
		// Another instance's, or one of the past put back: of no use either way.
		s.cfg.Log.Info("announcement passed over", "error", err)
		return
	}
	s.cfg.Log.Warn("announcement refused", "error", err)
}

// keepAsking asks policy services again for what is missing.
func (s *Service) keepAsking(ctx context.Context) error {
	return s.repeat(ctx, askTick, nil, func(ctx context.Context) error {
		return errors.Join(s.askDue(ctx), s.askStalled(ctx), s.reconsider(ctx))
	})
}

func (s *Service) keepTidy(ctx context.Context) error {
	last := s.cfg.Now().Add(-reclaimAtStart)
	return s.repeat(ctx, s.cfg.Tidy, nil, func(ctx context.Context) error {
		now := s.cfg.Now()
		err := s.reclaim(ctx, max(now.Sub(last), 0)+reclaimOverlap)
		if err == nil {
			last = now
		}
		return errors.Join(err, s.cfg.Queue.DeleteExpired(ctx))
	})
}

// reclaim ends requests whose task was taken away: their expiry has passed,
// and they have no result.
func (s *Service) reclaim(ctx context.Context, within time.Duration) error {
	n, err := s.cfg.Queue.Reclaim(ctx, within)
	if n > 0 {
		s.cfg.Log.Error("tasks of open requests were missing or put aside", "requests", n)
	}
	return err
}

// repeat calls do now, on each wake-up and after each tick, until ctx ends. An
// error is logged, and do is called again.
func (s *Service) repeat(ctx context.Context, tick time.Duration, wake <-chan struct{}, do func(context.Context) error) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-ticker.C:
		}
	}
}
