package signing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
	"github.com/countersign/countersign/secrets/hpkeshare"
	"github.com/countersign/countersign/signing/countersigned"
	"github.com/countersign/countersign/wallet"
)

// Reason codes of requests that were approved and could not be carried out.
// They are stable.
const (
	// CodeNotOpened: the stored key does not open with the released shares.
	CodeNotOpened = "key_not_opened"
	// CodeChanged: the stored record is not the approved one, or an id that is
	// to be created is taken.
	CodeChanged = "record_changed"
	// CodeCancelled: whoever asked for it took it back in time.
	CodeCancelled = "cancelled"
	// CodeFailed: the key could not do what was approved.
	CodeFailed = "signing_failed"
)

// end is a request's result on its way to the database, with the record that
// belongs into the same transaction.
type end struct {
	said    message.Result // what result.Body says
	result  queue.Result
	outcome countersigned.Outcome
	first   bool // once written: it is the request's end
}

func (e end) creates() bool {
	return e.outcome.Wallet != nil || e.outcome.Account != nil || e.outcome.Policy != nil
}

// conclusion signs a result under identity/signing.
func (s *Service) conclusion(id uuid.UUID, r message.Result) (end, error) {
	r.Origin = message.Origin{
		Version: message.Version, Deployment: s.cfg.Deployment, Generation: s.cfg.Keyring.Generation(),
	}
	r.Request, r.Time = id.String(), message.At(s.cfg.Now())
	body, err := message.SignEd25519(message.TypResult, s.kid, s.identity, r)
	if err != nil {
		return end{}, fmt.Errorf("result of %s: %w", id, err)
	}
	return end{said: r, result: queue.Result{Request: id, Status: string(r.Status), Body: body}}, nil
}

// do carries one request out. It returns an empty end if the request is to be
// verified again, which happens by itself when its lease is over.
func (s *Service) do(ctx context.Context, r *countersigned.Request) (end, error) {
	id, err := uuid.Parse(r.ID())
	if err != nil {
		return end{}, fmt.Errorf("request id: %w", err)
	}
	result := message.Result{Envelope: r.Envelope(), Approvals: r.Approvals()}
	out, err := r.CarryOut(ctx)
	if err != nil {
		if passing(err) || !s.asked.failed(id) {
			return end{}, err
		}
		s.cfg.Log.Error("request failed", "request", id, "error", err)
		result.Status = message.StatusFailed
		result.Reasons = []message.RoleReason{{Role: message.RoleSigning, Reason: reasonOf(err)}}
	} else {
		result.Status, result.Output = out.Status, out.Output
	}
	e, err := s.conclusion(id, result)
	e.outcome = out
	return e, err
}

// passing tells errors that another look may mend from those that lie in the
// request or its records.
func passing(err error) bool {
	return errors.Is(err, countersigned.ErrStale) || errors.Is(err, countersigned.ErrStore) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// reasonOf gives an error a stable code; its text stays in the log.
func reasonOf(err error) message.Reason {
	switch {
	case errors.Is(err, wallet.ErrSealed), errors.Is(err, hpkeshare.ErrSealed):
		return message.Reason{Code: CodeNotOpened, Detail: "the stored key does not open with the shares that were released"}
	case errors.Is(err, countersigned.ErrChanged), errors.Is(err, wallet.ErrExists):
		return message.Reason{Code: CodeChanged, Detail: "the stored record is not the one that was approved"}
	}
	return message.Reason{Code: CodeFailed, Detail: "the key could not do what was approved"}
}

// commit writes results and their audit entries, in one statement, which is a
// transaction. Of two instances the first one's result stands: the second's
// output is dropped here.
func (s *Service) commit(ctx context.Context, ends ...end) error {
	if err := s.finish(ctx, nil, ends, nil); err != nil {
		return fmt.Errorf("committing results: %w", err)
	}
	s.concluded(ends)
	return nil
}

// create writes the result of a creation and the record that it made, in one
// transaction. Who comes second drops both, and of wallet.create the seed.
func (s *Service) create(ctx context.Context, e end) error {
	var taken error
	ends := []end{e}
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		return s.finish(ctx, tx, ends, func() error {
			taken = s.insert(ctx, tx, e.outcome)
			return taken
		})
	})
	if errors.Is(taken, wallet.ErrExists) {
		return errors.Join(err, s.idTaken(ctx, e))
	}
	if err != nil {
		return fmt.Errorf("committing a creation: %w", err)
	}
	s.concluded(ends)
	return nil
}

func (s *Service) inTransaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

func (s *Service) concluded(ends []end) {
	for _, e := range ends {
		s.asked.forget(e.result.Request)
		if e.first && s.cfg.Ended != nil {
			s.cfg.Ended(e.said.Status)
		}
	}
}

// finish writes results, notes which were the first of their request, and
// calls then, if set, if one was.
func (s *Service) finish(ctx context.Context, tx *sql.Tx, ends []end, then func() error) error {
	results := make([]queue.Result, 0, len(ends))
	for _, e := range ends {
		results = append(results, e.result)
	}
	inserted, err := s.cfg.Queue.Finish(ctx, tx, results)
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	for i, r := range results {
		ends[i].first = slices.Contains(inserted, r.Request)
		if !ends[i].first {
			s.cfg.Log.Info("another instance was first", "request", r.Request)
		}
	}
	if len(inserted) > 0 && then != nil {
		return then()
	}
	return nil
}

func (s *Service) insert(ctx context.Context, tx *sql.Tx, out countersigned.Outcome) error {
	if out.Wallet != nil {
		return s.cfg.Store.InsertWallet(ctx, tx, *out.Wallet)
	}
	if out.Account != nil {
		return s.cfg.Store.InsertAccount(ctx, tx, *out.Account)
	}
	if out.Policy != nil {
		return s.cfg.Queue.PublishIn(ctx, tx, queue.Notice{
			Topic: queue.TopicPolicy, Key: message.Sum(out.Policy).String(), Sender: secrets.ServiceSigning, Body: out.Policy,
		})
	}
	return nil
}

// idTaken ends a creation whose id is taken although the request has no result:
// somebody else wrote into the table. After a few attempts it ends as failed.
func (s *Service) idTaken(ctx context.Context, e end) error {
	if !s.asked.failed(e.result.Request) {
		return nil
	}
	failed, err := s.conclusion(e.result.Request, message.Result{
		Envelope: e.said.Envelope, Approvals: e.said.Approvals, Status: message.StatusFailed,
		Reasons: []message.RoleReason{{Role: message.RoleSigning, Reason: reasonOf(wallet.ErrExists)}},
	})
	if err != nil {
		return err
	}
	return s.commit(ctx, failed)
}
