package approvalpg_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/approvalpg"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// TestRequests reads as the approval service's own database role.
func TestRequests(t *testing.T) {
	db := databasetest.New(t)
	proposer := queue.New(db.As(secrets.ServiceProposer), db.Config(secrets.ServiceProposer), slog.New(slog.DiscardHandler))
	role := message.RoleApproval
	requests := approvalpg.New(db.As(role), role)

	var ids []uuid.UUID
	for i := range 5 {
		id := uuid.Must(uuid.NewV7())
		ids = append(ids, id)
		body := fmt.Appendf(nil, "envelope %d", i)
		consumers := []string{message.RoleFraud, role}
		if i == 4 {
			consumers = consumers[:1] // fraud's task is not approval's
		}
		_, err := proposer.Submit(t.Context(), []queue.Submission{{
			ID: id, Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(body), Owner: "alice",
			Kind: "k", Wallet: "w", Expires: time.Now().Add(time.Hour),
		}}, queue.Recipients{Consumers: consumers})
		if err != nil {
			t.Fatal(err)
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Owner.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE countersign.task SET state = 1 WHERE request_id = $1`, ids[2])
	exec(`UPDATE countersign.task SET state = 2 WHERE request_id = $1`, ids[1])
	exec(`INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'signed', 'x')`, ids[3])

	got, err := requests.Waiting(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []int{2, 0, 3} // parked first, dead and fraud's not at all
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, n := range want {
		if got[i].ID != ids[n] || string(got[i].Envelope) != fmt.Sprintf("envelope %d", n) ||
			got[i].Ended != (n == 3) || time.Since(got[i].Submitted).Abs() > time.Hour {
			t.Errorf("%d: got %+v", i, got[i])
		}
	}
	if got, err = requests.Waiting(t.Context(), 1); err != nil || len(got) != 1 || got[0].ID != ids[2] {
		t.Fatalf("got %+v %v", got, err)
	}
	for n, id := range ids {
		s, err := requests.Request(t.Context(), id)
		if err != nil || s.ID != id || s.Ended != (n == 3) || string(s.Envelope) != fmt.Sprintf("envelope %d", n) {
			t.Errorf("%d: got %+v %v", n, s, err)
		}
	}
	if _, err := requests.Request(t.Context(), uuid.Must(uuid.NewV7())); !errors.Is(err, approval.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

// TestAttackWaitingRequestsHidden: a user who asks for much does not push what
// others ask for off the list of the approvers.
func TestAttackWaitingRequestsHidden(t *testing.T) {
	db := databasetest.New(t)
	proposer := queue.New(db.As(secrets.ServiceProposer), db.Config(secrets.ServiceProposer), slog.New(slog.DiscardHandler))
	role := message.RoleApproval
	var last uuid.UUID
	for i := range 21 {
		owner := "mallory"
		if i == 20 {
			owner = "alice"
		}
		last = uuid.Must(uuid.NewV7())
		body := fmt.Appendf(nil, "envelope %d", i)
		_, err := proposer.Submit(t.Context(), []queue.Submission{{
			ID: last, Body: body, Hash: message.Sum(body), Fingerprint: message.Sum(body), Owner: owner,
			Kind: "k", Wallet: "w", Expires: time.Now().Add(time.Hour),
		}}, queue.Recipients{Consumers: []string{role}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Owner.ExecContext(t.Context(), `UPDATE countersign.task SET state = 1`); err != nil {
		t.Fatal(err)
	}
	got, err := approvalpg.New(db.As(role), role).Waiting(t.Context(), 5)
	if err != nil || len(got) != 5 {
		t.Fatalf("got %+v %v", got, err)
	}
	for _, s := range got {
		if s.ID == last {
			return
		}
	}
	t.Fatal("alice's request is not listed")
}
