package queue

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/countersign/countersign/internal/database"
)

// Errors of the queue.
var (
	// ErrKeyTaken says that another notice stands under the same topic and key.
	ErrKeyTaken = errors.New("another notice has this key")
	// ErrInvalid says that a caller broke the queue's contract; nothing was
	// written.
	ErrInvalid = errors.New("invalid use of the queue")
	// ErrPanic says that a handler panicked. What it panicked with is not in
	// the error, since it could hold anything.
	ErrPanic = errors.New("handler panicked")
)

// errLost says that a task of the batch was not there any more when the batch
// was settled: another has ended it. Nothing was written.
var errLost = errors.New("a task of the batch has been ended by another")

// errStale is errLost where it may be the basis that did not hold.
var errStale = fmt.Errorf("%w, or what was decided rests on old records", errLost)

// lost reports whether a settling statement failed as it does where a task is
// missing: it divides by zero, as nothing else in it can.
func lost(err error) bool {
	return pq.As(err, pqerror.DivisionByZero) != nil
}

// taskClasses are the classes of SQLSTATE (PostgreSQL appendix A) that can be
// a task's own fault. All others - connections, resources, shutdown, deadlock,
// a missing grant, a full notification queue - are the server's or the set-up's,
// and no request may be given up for them.
var taskClasses = map[pqerror.Class]bool{
	"22": true, // data exception
	"23": true, // integrity constraint violation
}

// outage reports whether an error is the database's or the end of a context:
// it says nothing against the tasks and is not counted as an attempt.
func outage(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, sql.ErrTxDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, database.ErrTLS) {
		return true
	}
	// A connection that could not be made in time is said to be a deadline that
	// was exceeded, as is the work's own.
	var connection *net.OpError
	if errors.As(err, &connection) {
		return true
	}
	var network net.Error
	if errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && !taskClasses[pqErr.Code.Class()]
}
