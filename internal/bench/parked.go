package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// large is the value of a transfer that waits for a person: one wei above
	// the development policy's limit.
	large = "1000000000000000001"
	// parkers is how many of them are submitted at once.
	parkers = 32
	// parkTime is how long all of them may take until they wait.
	parkTime = 15 * time.Second
	// expiryTime is how long they may take to end when their time is over.
	expiryTime = 30 * time.Second
)

// measureParked compares the rates of small transfers beside requests that wait
// for a person, and without them: in the order without, with, with, without.
// Nobody votes: those that wait end when their time is over.
func (c *comparison) measureParked(ctx context.Context, p compared, one *contender) error {
	with := *one
	one.windows, with.windows = nil, nil
	if err := one.window(ctx, p); err != nil {
		return err
	}
	if err := with.besideParked(ctx, p); err != nil {
		return fmt.Errorf("measuring beside %d parked requests: %w", p.parked, err)
	}
	if err := one.window(ctx, p); err != nil {
		return err
	}
	c.fromParked(p, one.windows, with.windows)
	return nil
}

// besideParked measures twice while requests wait for a person, and returns when
// they have ended.
func (c *contender) besideParked(ctx context.Context, p compared) error {
	life := parkTime + 2*(p.window.warm+p.window.counted+endOfWindow)
	if err := c.park(ctx, p.parked, life); err != nil {
		return err
	}
	for range 2 {
		if err := c.window(ctx, p); err != nil {
			return err
		}
	}
	n, _, err := c.waiting(ctx)
	if err != nil {
		return err
	}
	if n != p.parked {
		return fmt.Errorf("at the end %d of them waited", n)
	}
	return c.awaitTasks(ctx, life+expiryTime, func(waiting, others int) bool { return waiting+others == 0 })
}

// park has n requests wait for a person.
func (c *contender) park(ctx context.Context, n int, life time.Duration) error {
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(parkers)
	for range n {
		work.Go(func() error {
			s, err := c.load.prepare(c.client, large, life)
			if err == nil {
				_, err = c.client.Send(inner, s, 0)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return fmt.Errorf("parking requests: %w", err)
	}
	return c.awaitTasks(ctx, parkTime, func(waiting, others int) bool { return waiting == n && others == 0 })
}

// waiting counts the requests that wait for a person, and the tasks that others
// have to do than those who wait for it too.
func (c *contender) waiting(ctx context.Context) (waiting, others int, err error) {
	err = c.db.QueryRowContext(ctx, `
		SELECT count(*) FILTER (WHERE consumer = 'approval' AND state = 1),
		       count(*) FILTER (WHERE NOT (consumer = 'approval' AND state = 1)
		           AND NOT (consumer = 'signing' AND request_id IN
		               (SELECT request_id FROM countersign.task WHERE consumer = 'approval' AND state = 1)))
		FROM countersign.task`).Scan(&waiting, &others)
	if err != nil {
		return 0, 0, fmt.Errorf("counting what waits: %w", err)
	}
	return waiting, others, nil
}

func (c *contender) awaitTasks(ctx context.Context, within time.Duration, done func(waiting, others int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		waiting, others, err := c.waiting(ctx)
		if err == nil && done(waiting, others) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d requests wait for a person and %d tasks for others after %v: %w", waiting, others, within, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
