package policy_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/internal/scratch/scratchtest"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/attestation"
)

func channel(t *testing.T, d *deploymenttest.Deployment) *hpkeshare.Channel {
	t.Helper()
	_, public, err := hpkeshare.NewEpochKey()
	must(t, err)
	_, c, err := hpkeshare.Announce(public, hpkeshare.Info{
		Deployment: d.ID, Generation: 1, Role: role, Instance: "one", Hello: message.Sum([]byte("hello")), PublicKey: message.Sum([]byte("key")),
	})
	must(t, err)
	return c
}

// TestSharesAreWipedAfterSealing: of a role's shares nothing is left once they
// are sealed, or could not be.
func TestSharesAreWipedAfterSealing(t *testing.T) {
	d := deploymenttest.New(t)
	whole, again, wiped := channel(t, d), channel(t, d), channel(t, d)
	wiped.Wipe()
	id := message.Sum([]byte("id")).String()
	seed, account := transaction.Release{Scope: message.ScopeSeed, ID: id, Generation: 1}, transaction.Release{Scope: message.ScopeAccount, ID: id, Generation: 1}
	unknown := transaction.Release{Scope: message.ScopeSeed, ID: id, Generation: 7}
	for name, c := range map[string]struct {
		releases []transaction.Release
		channels []*hpkeshare.Channel
	}{
		"two-epochs":             {[]transaction.Release{seed, account}, []*hpkeshare.Channel{whole, again}},
		"one-epoch-over":         {[]transaction.Release{seed, account}, []*hpkeshare.Channel{wiped, whole}},
		"fail/all-epochs-over":   {[]transaction.Release{seed, account}, []*hpkeshare.Channel{wiped}},
		"fail/second-has-no-key": {[]transaction.Release{seed, unknown}, []*hpkeshare.Channel{whole}},
	} {
		t.Run(name, func(t *testing.T) {
			scratchtest.WantNone(t, func() {
				err := policy.SealAll(role, d.Keyrings[role], message.Sum([]byte("envelope")), c.releases, c.channels...)
				if (err != nil) != strings.HasPrefix(name, "fail/") {
					t.Errorf("sealing: %v", err)
				}
			}, "policy.(*Service).share")
		})
	}
}

// TestChannelsAreWipedWithTheirEpochs: those that are over, and no others; all of
// them on an orderly stop, and what comes after it.
func TestChannelsAreWipedWithTheirEpochs(t *testing.T) {
	d, now, l := deploymenttest.New(t), time.Now(), policy.NewLinks()
	w := scratch.Begin()
	defer w.End()
	wantLeft := func(want int, when string) {
		t.Helper()
		if left := w.Left(); len(left) != want {
			t.Errorf("%s the secrets of %d channels are left, want %d: %v", when, len(left), want, left)
		}
	}
	l.Add(channel(t, d), now)
	l.Add(channel(t, d), now.Add(time.Hour))
	wantLeft(2, "at the start")
	l.Sweep(now)
	wantLeft(1, "after the first has ended")
	l.Close()
	wantLeft(0, "after the stop")
	l.Add(channel(t, d), now.Add(time.Hour))
	wantLeft(0, "after one that came late")
}

// announced are the channels' secrets that an instance of the role has made.
const announced = "policy.(*Service).link"

func wantNoChannel(t *testing.T, left []string) {
	t.Helper()
	for _, by := range left {
		if strings.Contains(by, announced+":") {
			t.Errorf("not wiped: %s", by)
		}
	}
}

// TestRunningInstanceWipesItsChannels: when an epoch is over, on an orderly stop,
// and where the announcement fails.
func TestRunningInstanceWipesItsChannels(t *testing.T) {
	t.Run("stop", func(t *testing.T) {
		w := initialised(t)
		wantNoChannel(t, scratchtest.Left(t, func() {
			w.start(always(policy.Approve)).ready().stop()
		}, announced))
	})
	t.Run("epoch-over", func(t *testing.T) {
		w := initialised(t)
		var i *instance
		wantNoChannel(t, scratchtest.Left(t, func() {
			cfg := w.config(always(policy.Approve))
			q := &readings{fakeQueue: w.queue}
			cfg.Queue = q
			s, err := policy.New(cfg)
			must(t, err)
			i = w.run(s).ready()
			w.clock.advance(10 * time.Minute)
			// What is over is dropped before hellos are read, so that the second
			// reading from now on comes after it.
			first := q.count.Load()
			w.until("hellos are not read", func() error {
				if q.count.Load() < first+2 {
					return errors.New("not yet")
				}
				return nil
			})
		}, announced))
		i.stop()
	})
	t.Run("fail/attestation", func(t *testing.T) {
		w := initialised(t)
		wantNoChannel(t, scratchtest.Left(t, func() {
			cfg := w.config(always(policy.Approve))
			f := &failing{Attester: cfg.Attester}
			cfg.Attester = f
			s, err := policy.New(cfg)
			must(t, err)
			i := w.run(s)
			w.until("nothing is attested", func() error {
				if f.count.Load() == 0 {
					return errors.New("not yet")
				}
				return nil
			})
			i.stop()
		}, announced))
	})
}

// readings counts how often hellos were read.
type readings struct {
	*fakeQueue
	count atomic.Int32
}

func (q *readings) Notices(ctx context.Context, topic string) ([]queue.Notice, error) {
	q.count.Add(1)
	return q.fakeQueue.Notices(ctx, topic)
}

// failing never attests.
type failing struct {
	attestation.Attester
	count atomic.Int32
}

func (f *failing) Attest(context.Context, []byte) ([]byte, error) {
	f.count.Add(1)
	return nil, errors.New("no attestation today")
}
