package readiness

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// Each inserts a row for real, and touches the other tables that the service
// writes to with no row, which asks for the same rights.
var (
	//go:embed writable_proposer.sql
	writableProposer string
	//go:embed writable_signing.sql
	writableSigning string
	//go:embed writable_role.sql
	writableRole string
)

// writableAge is how long an answer of the database stands: whoever asks, and
// however often, makes it work once in that time.
const writableAge = time.Second

// Writable says whether a service may write to the database now: the server
// answers, is no standby, and grants the service what it needs. It does so by
// a transaction that is rolled back, which nobody ever sees. It is safe for
// concurrent use.
type Writable struct {
	db        *sql.DB
	statement string
	args      []any
	last      *recent[error]
}

// NewWritable returns the check for a service, whose login db has.
func NewWritable(db *sql.DB, service string) *Writable {
	w := &Writable{db: db, statement: writableRole, args: []any{service}}
	switch service {
	case secrets.ServiceProposer:
		w.statement, w.args = writableProposer, nil
	case message.RoleSigning:
		w.statement, w.args = writableSigning, nil
	}
	w.last = &recent[error]{ask: w.try, age: writableAge}
	return w
}

// PingContext returns nil if the service may write, as of at most a second ago.
func (w *Writable) PingContext(ctx context.Context) error {
	err, late := w.last.get(ctx)
	if late != nil {
		return fmt.Errorf("asking whether the database is writable: %w", late)
	}
	return err
}

func (w *Writable) try(ctx context.Context) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("the database is out of reach: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // the one end of it; a broken connection is one as well
	var readOnly bool
	if err := tx.QueryRowContext(ctx, w.statement, w.args...).Scan(&readOnly); err != nil {
		return fmt.Errorf("the database is not writable: %w", err)
	}
	if readOnly {
		return errReadOnly
	}
	return nil
}

// errReadOnly: the driver begins every transaction as one that writes, but most
// of what a service writes stands outside of any.
var errReadOnly = errors.New("the database is not writable: it is set to be read-only")
