package main

import (
	"context"

	"github.com/countersign/countersign/internal/metrics"
	"github.com/countersign/countersign/queue"
)

// counted is the queue, whose submissions are counted.
type counted struct {
	*queue.Queue
	metrics *metrics.Metrics
}

// Submit submits a batch and counts what became of it.
func (c counted) Submit(ctx context.Context, batch []queue.Submission, to queue.Recipients) ([]queue.Outcome, error) {
	outcomes, err := c.Queue.Submit(ctx, batch, to)
	if err == nil {
		c.metrics.Submitted(outcomes)
	}
	return outcomes, err
}
