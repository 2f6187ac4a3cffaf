package approval

import (
	"context"

	"github.com/countersign/countersign/internal/fairness"
)

// Limits bound what one approver may cost this instance: an approver may be
// dishonest, and the process that answers also decides. A zero field takes its
// default.
type Limits struct {
	// Reads is how fast one approver may list and look; 20 a second, 200 at once:
	// a whole list, and all that it shows.
	Reads fairness.Rate
	// Votes is how fast one approver may vote; 20 a second, 200 at once.
	Votes fairness.Rate
}

func (l Limits) withDefaults() Limits {
	for _, rate := range []*fairness.Rate{&l.Reads, &l.Votes} {
		if *rate == (fairness.Rate{}) {
			*rate = fairness.Rate{PerSecond: 20, Burst: 200}
		}
	}
	return l
}

// allow takes an approver's token for a call.
func (s *Server) allow(of *fairness.Buckets, approver string) error {
	after, ok := of.Take(approver, s.cfg.Now())
	if ok {
		return nil
	}
	return &failure{Code: codeRateLimited, Detail: "try again after the time in Retry-After", After: after}
}

// listTurn waits until the approver may read a list. An approver's lists wait for
// one another first: of those who wait for one of the few places each approver is
// one, however many lists it asks for, and they are served in order of arrival.
func (s *Server) listTurn(ctx context.Context, approver string) (end func(), err error) {
	mine, err := s.turns.Take(ctx, approver)
	if err != nil {
		return nil, err
	}
	select {
	case s.lists <- struct{}{}:
		return func() { <-s.lists; mine() }, nil
	case <-ctx.Done():
		mine()
		return nil, ctx.Err()
	}
}
