package queue

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"
)

// Cancel asks the gatherer to end a request as cancelled. It is heeded unless an
// intent stands by then: the statement that writes one fails where the task was
// marked meanwhile, and of a request that has one the gatherer is not told. It
// reports whether this call has marked an open task; the result says what came of
// it. To cancel twice is to cancel once.
func (q *Queue) Cancel(ctx context.Context, gatherer string, request uuid.UUID) (marked bool, err error) {
	stmt, err := q.sql.cancel.On(ctx, q.db, nil)
	if err != nil {
		return false, fmt.Errorf("cancelling request %s: %w", request, err)
	}
	var tasks int
	var told sql.NullString
	hint := replyHint{ids: []uuid.UUID{request}}
	if err := stmt.QueryRowContext(ctx, gatherer, request.String(), hint.payload()).Scan(&tasks, &told); err != nil {
		return false, fmt.Errorf("cancelling request %s: %w", request, err)
	}
	return tasks > 0, nil
}
