package queue

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"
)

// Cancellation is what can be told at once of asking to cancel.
type Cancellation struct {
	// Marked says that this call has marked an open task. To cancel twice is to
	// cancel once.
	Marked bool
	// TooLate says that an intent stands, which is never taken back. Where none
	// does, none will be written, but for what the gatherer cannot take back
	// any more: the result says what came of it.
	TooLate bool
}

// Cancel asks the gatherer to end a request as cancelled. It is heeded unless an
// intent stands by then: the statement that writes one fails where the task was
// marked meanwhile, and of a request that has one the gatherer is not told.
func (q *Queue) Cancel(ctx context.Context, gatherer string, request uuid.UUID) (Cancellation, error) {
	var c Cancellation
	if err := q.cancel(ctx, gatherer, request, &c); err != nil {
		return Cancellation{}, fmt.Errorf("cancelling request %s: %w", request, err)
	}
	return c, nil
}

func (q *Queue) cancel(ctx context.Context, gatherer string, request uuid.UUID, into *Cancellation) error {
	mark, err := q.sql.cancel.On(ctx, q.db, nil)
	if err != nil {
		return err
	}
	var told sql.NullString
	hint := replyHint{ids: []uuid.UUID{request}}
	if err := mark.QueryRowContext(ctx, gatherer, request.String(), hint.payload()).Scan(&into.Marked, &told); err != nil {
		return err
	}
	intended, err := q.sql.intended.On(ctx, q.db, nil)
	if err != nil {
		return err
	}
	return intended.QueryRowContext(ctx, request.String()).Scan(&into.TooLate)
}
