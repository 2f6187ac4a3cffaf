package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/bench/past"
)

const (
	// span is how far the finished requests reach back.
	span = 30 * 24 * time.Hour
	// endOfWindow is more than what is under way at the end of a window takes.
	endOfWindow = 2 * time.Second
)

// contender is a deployment that is compared with another one, of the same age
// and the same load: nothing but what is compared differs between them.
type contender struct {
	*target
	load    *load
	windows windows
}

// windows are the times for which a contender was saturated.
type windows []saturation

func (w windows) perSecond() (mean float64) {
	for _, s := range w {
		mean += s.perSecond / float64(len(w))
	}
	return mean
}

func (w windows) failed() (n int) {
	for _, s := range w {
		n += s.failed
	}
	return n
}

// compare measures what a long history, a second instance of each service and
// requests that wait for people cost or gain. The deployments run side by side
// and are loaded in turn, each twice and in opposite order, so that a machine
// that changes its speed changes it for all of them.
func compare(ctx context.Context, whole plan, bin string) (c *comparison, err error) {
	var all []*contender
	defer func() {
		for _, one := range all {
			err = errors.Join(err, one.stop())
		}
	}()
	if all, err = startContenders(ctx, whole, bin, 3); err != nil {
		return nil, err
	}
	c = &comparison{}
	if err := c.takeTurns(ctx, whole.compared, all[0], all[1], all[2]); err != nil {
		return nil, err
	}
	// What is left to compare is on one of them: the others must not disturb it.
	empty, others := all[0], all[1:]
	all = all[:1]
	for _, one := range others {
		if err := one.stop(); err != nil {
			return nil, err
		}
	}
	if err := c.measureParked(ctx, whole.compared, empty); err != nil {
		return nil, err
	}
	if err := c.measurePolicy(ctx, whole.compared, empty); err != nil {
		return nil, err
	}
	if err := c.addMemory(empty); err != nil {
		return nil, err
	}
	c.decisions, err = decide(ctx, whole.compared)
	return c, err
}

// takeTurns gives one deployment a history and another one a second instance of
// each service, and compares both with the empty one.
func (c *comparison) takeTurns(ctx context.Context, p compared, empty, full, twice *contender) (err error) {
	if c.history, err = full.age(ctx, p); err != nil {
		return fmt.Errorf("making %d finished requests: %w", p.history, err)
	}
	second, err := twice.replicate(ctx)
	if err != nil {
		return err
	}
	twice.load.clients = append(twice.load.clients, second)
	if err := inTurn(ctx, p, []*contender{empty, full, twice}); err != nil {
		return err
	}
	c.fromTurns(p, empty.windows, full.windows, twice.windows)
	return c.inspect(ctx, full, twice)
}

// startContenders starts n deployments and lets each finish the same load,
// which warms it up and gives the history something to copy.
func startContenders(ctx context.Context, p plan, bin string, n int) ([]*contender, error) {
	all := make([]*contender, n)
	work, inner := errgroup.WithContext(ctx)
	for i := range all {
		work.Go(func() (err error) {
			all[i] = &contender{}
			all[i].target, err = start(inner, bin)
			return err
		})
	}
	err := work.Wait()
	all = slices.DeleteFunc(all, func(c *contender) bool { return c.target == nil })
	for _, c := range all {
		if err == nil {
			err = c.prime(ctx, p)
		}
	}
	return all, err
}

func (c *contender) prime(ctx context.Context, p plan) error {
	if err := past.Reserve(ctx, c.db, p.compared.history); err != nil {
		return err
	}
	accounts, err := c.makeAccounts(ctx, p.wallets)
	if err != nil {
		return fmt.Errorf("making %d wallets: %w", p.wallets, err)
	}
	c.load = &load{clients: []*client.Client{c.client}, accounts: accounts}
	if _, err = c.load.saturate(ctx, p.compared.prime); err != nil {
		return fmt.Errorf("warming up: %w", err)
	}
	return nil
}

// age gives the deployment a past.
func (c *contender) age(ctx context.Context, p compared) (h history, err error) {
	begun := time.Now()
	long := past.Plan{Count: p.history, Span: span, Until: begun.Add(-time.Minute)}
	if err := c.checkRoom(ctx, long); err != nil {
		return h, err
	}
	keyring, err := c.fraudKeyring()
	if err != nil {
		return h, err
	}
	work, inner := errgroup.WithContext(ctx)
	work.Go(func() error { return past.Fill(inner, c.db, long) })
	work.Go(func() (err error) {
		h.chain, err = past.Records(inner, c.db, keyring, long)
		return err
	})
	if err := work.Wait(); err != nil {
		return h, err
	}
	h.took = time.Since(begun)
	// The fraud service has read its chain when it has approved something.
	return h, c.load.one(ctx, c.client)
}

// inTurn loads the contenders one after the other, and again the other way
// round. All begin behind a checkpoint, as the one with the history does.
func inTurn(ctx context.Context, p compared, all []*contender) error {
	for _, c := range all {
		if _, err := c.db.ExecContext(ctx, `CHECKPOINT`); err != nil {
			return fmt.Errorf("before comparing: %w", err)
		}
	}
	there := slices.Clone(all)
	slices.Reverse(there)
	for _, c := range append(slices.Clone(all), there...) {
		if err := c.window(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// window saturates the contender once.
func (c *contender) window(ctx context.Context, p compared) error {
	s, err := c.load.saturate(ctx, p.window)
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	c.windows = append(c.windows, s)
	return nil
}

// inspect looks at what the loads have left behind.
func (c *comparison) inspect(ctx context.Context, full, twice *contender) (err error) {
	if c.HistoryRSS, err = full.peakMemory(); err != nil {
		return err
	}
	lost, err := twice.count(ctx, `SELECT count(*) FROM countersign.request r
		WHERE NOT EXISTS (SELECT FROM countersign.result x WHERE x.request_id = r.id)`)
	if err != nil {
		return err
	}
	c.ReplicaFailed += lost
	if err := c.addMemory(twice); err != nil {
		return err
	}
	signers, err := twice.count(ctx, `SELECT count(DISTINCT instance) FROM countersign.intent`)
	if err == nil && signers < 2 {
		err = errors.New("only one of two signing instances took part")
	}
	return err
}

// addMemory takes the peak memory of a contender's instances into the largest. It
// is the peak since they started, so that once at the end is enough.
func (c *comparison) addMemory(of *contender) error {
	peaks, err := of.peakMemory()
	if err != nil {
		return err
	}
	if c.RSS == nil {
		c.RSS = map[string]float64{}
	}
	for service, mib := range peaks {
		c.RSS[service] = max(c.RSS[service], mib)
	}
	return nil
}

func (c *contender) count(ctx context.Context, query string) (n int, err error) {
	if err := c.db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("looking at what was compared: %w", err)
	}
	return n, nil
}
