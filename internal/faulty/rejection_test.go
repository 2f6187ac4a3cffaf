package faulty_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// TestRejectionAfterTheApproval: a person rejects what the approval service has
// approved already, while another role is still to answer: nothing is signed.
func TestRejectionAfterTheApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), endWithin)
	defer cancel()
	slow := w.PIDs()[message.RoleAuthorization]
	if err := syscall.Kill(slow, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(slow, syscall.SIGCONT) }()
	a := waitingTransfer(nil)(w)
	a.waiting = func(ctx context.Context, id string) error {
		if err := w.approve(ctx, id); err != nil {
			return err
		}
		for said := false; !said; time.Sleep(20 * time.Millisecond) {
			err := w.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM countersign.reply WHERE sender = 'approval' AND request_id = $1)", id).Scan(&said)
			if err != nil {
				return err
			}
		}
		if err := w.refuse(ctx, id); err != nil {
			return err
		}
		return syscall.Kill(slow, syscall.SIGCONT)
	}
	if err := w.expect(ctx, a, outcome{want: message.StatusRejected, why: "rejected_by_approver", by: message.RoleApproval}); err != nil {
		t.Error(err)
	}
}
