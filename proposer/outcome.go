package proposer

import (
	"context"
	"fmt"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/queue"
)

// Outcome returns what webhooks are told of a request that has a result. Unlike a
// view it shows nothing in place of a result that the signing service did not sign
// for this very envelope: that is webhook.ErrUnverified.
func (s *Server) Outcome(ctx context.Context, v queue.View) (webhook.Event, error) {
	r, err := s.verifyResult(ctx, v, message.Sum(v.Body))
	if err != nil {
		return webhook.Event{}, fmt.Errorf("%w: %w", webhook.ErrUnverified, err)
	}
	envelope, statement, err := s.read(v)
	if err != nil {
		return webhook.Event{}, err
	}
	data := webhook.Data{
		Request: v.ID.String(), Kind: statement.Kind, Status: r.Status, Reasons: orEmpty(r.Reasons), Result: string(v.Result.Body),
	}
	data.Wallet, data.Account = subjects(statement, message.Sum(envelope.Statement))
	return webhook.Event{Type: "request." + string(r.Status), Timestamp: r.Time, Data: data}, nil
}
