package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// The attacker is the database's superuser: every row can be read, written and
// put back, and every notification sent. What is missing are the keys.

// approvalRole is the role whose word the attacker would like to have: a large
// transfer waits for it.
const approvalRole = message.RoleApproval

// injectedKey publishes a key of the attacker's own as the approval service's,
// in an announcement that is right in every field but the MAC, and signs an
// approval of a waiting transfer with it.
func (s *stage) injectedKey(ctx context.Context) (string, time.Duration, error) {
	r, err := s.waiting(ctx)
	if err != nil {
		return "", 0, err
	}
	mark, begin := s.mark("signing"), time.Now()
	key, err := s.injectAnnouncement(ctx)
	if err != nil {
		return "", 0, err
	}
	refused, err := mark.await(ctx, func(l logLine) bool { return l.text("msg") == "announcement refused" })
	if err != nil {
		return "", 0, err
	}
	took := time.Since(begin)
	if err := s.injectApproval(ctx, r, key); err != nil {
		return "", 0, err
	}
	asking, err := mark.await(ctx, asksAgain(r.ID))
	if err != nil {
		return "", 0, err
	}
	came := fmt.Sprintf("refused: %s; its approval is nobody's: %s", refused.text("error"), asking.text("reasons"))
	return came, took, s.closeWaiting(ctx, r)
}

// asksAgain matches the line by which the signing service says that what lies
// there for a request is not enough, and why.
func asksAgain(id string) func(logLine) bool {
	return func(l logLine) bool { return l.text("msg") == "asking again" && l.text("request") == id }
}

// injectAnnouncement writes the false announcement for the newest live epoch.
func (s *stage) injectAnnouncement(ctx context.Context) (ed25519.PrivateKey, error) {
	real, kid, err := s.newestAnnouncement(ctx)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var forged message.Announcement
	if err := message.Peek(real, &forged); err != nil {
		return nil, err
	}
	forged.Instance = "approval-0000000000000000"
	if forged.PublicKey, err = message.NewJWK(public); err != nil {
		return nil, err
	}
	input, err := forged.IdentityInput()
	if err != nil {
		return nil, err
	}
	forged.Identity = ed25519.Sign(private, input)
	guess := make([]byte, message.MACKeySize)
	rand.Read(guess) // never returns an error (crypto/rand)
	compact, err := message.SignMAC(message.TypAnnouncement, kid, guess, forged)
	if err != nil {
		return nil, err
	}
	return private, s.announce(ctx, compact)
}

// newestAnnouncement returns the approval role's newest announcement and the
// id of the key of its MAC.
func (s *stage) newestAnnouncement(ctx context.Context) (body []byte, kid string, err error) {
	err = s.superuser.QueryRowContext(ctx, `
		SELECT body FROM countersign.notice WHERE topic = 'announcement' AND sender = $1
		ORDER BY created_at DESC LIMIT 1`, approvalRole).Scan(&body)
	if err != nil {
		return nil, "", fmt.Errorf("recording an announcement: %w", err)
	}
	kid, err = message.KeyID(message.TypAnnouncement, body)
	return body, kid, err
}

// announce writes an announcement and wakes those who read them.
func (s *stage) announce(ctx context.Context, body []byte) error {
	return s.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
			VALUES ('announcement', $1, $2, $3, now() + interval '10 minutes')`,
			"attack/"+newID(), approvalRole, body); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "SELECT pg_notify('countersign_notice', 'announcement')")
		return err
	})
}

// injectApproval signs an approval of the request with the attacker's key: it
// says what the fraud service's own approval of the request says, in the
// approval service's name.
func (s *stage) injectApproval(ctx context.Context, r api.Request, key ed25519.PrivateKey) error {
	var body, attachment []byte
	var epochs pq.ByteaArray
	err := s.superuser.QueryRowContext(ctx, `
		SELECT body, attachment, epochs FROM countersign.reply
		WHERE request_id = $1 AND sender = $2 ORDER BY id DESC LIMIT 1`, r.ID, message.RoleFraud).
		Scan(&body, &attachment, &epochs)
	if err != nil {
		return fmt.Errorf("recording an approval: %w", err)
	}
	var forged message.Approval
	if err := message.Peek(body, &forged); err != nil {
		return err
	}
	forged.Role, forged.Instance = approvalRole, "approval-0000000000000000"
	jwk, err := message.NewJWK(key.Public())
	if err != nil {
		return err
	}
	compact, err := message.SignEd25519(message.TypApproval, jwk.Thumbprint(), key, forged)
	if err != nil {
		return err
	}
	return s.reply(ctx, r.ID, compact, attachment, epochs)
}

// reply writes an answer in the approval role's name and wakes the signing
// service.
func (s *stage) reply(ctx context.Context, id string, body, attachment []byte, epochs pq.ByteaArray) error {
	return s.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
			VALUES ($1, $2, $3, $4, $5, false)`, id, approvalRole, body, attachment, epochs); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "SELECT pg_notify('countersign_reply', '')")
		return err
	})
}

// copiedApproval takes the approval of a transfer that a person has agreed to
// and puts it, with its shares, onto another transfer of the same amount.
func (s *stage) copiedApproval(ctx context.Context) (string, time.Duration, error) {
	victim, err := s.waiting(ctx)
	if err != nil {
		return "", 0, err
	}
	approved, err := s.waiting(ctx)
	if err != nil {
		return "", 0, err
	}
	if approved, err = s.decide(ctx, "approve", approved.ID); err != nil {
		return "", 0, err
	}
	if err := want(approved, message.StatusSigned); err != nil {
		return "", 0, err
	}
	var body, attachment []byte
	var epochs pq.ByteaArray
	err = s.superuser.QueryRowContext(ctx, `
		SELECT body, attachment, epochs FROM countersign.reply
		WHERE request_id = $1 AND sender = $2 ORDER BY id DESC LIMIT 1`, approved.ID, approvalRole).
		Scan(&body, &attachment, &epochs)
	if err != nil {
		return "", 0, fmt.Errorf("recording an approval: %w", err)
	}
	mark, begin := s.mark("signing"), time.Now()
	if err := s.reply(ctx, victim.ID, body, attachment, epochs); err != nil {
		return "", 0, err
	}
	asking, err := mark.await(ctx, asksAgain(victim.ID))
	if err != nil {
		return "", 0, err
	}
	took := time.Since(begin)
	return "refused, it is of another request: " + asking.text("reasons"), took, s.closeWaiting(ctx, victim)
}

// replayedAnnouncement records the approval service's own announcement, kills
// the signing service so that its epoch is gone, and puts the announcement
// back for the new one.
func (s *stage) replayedAnnouncement(ctx context.Context) (string, time.Duration, error) {
	recorded, _, err := s.newestAnnouncement(ctx)
	if err != nil {
		return "", 0, err
	}
	// All are taken away first, so that the new process meets the replayed one
	// as a message that it has never seen.
	if _, err := s.superuser.ExecContext(ctx, "DELETE FROM countersign.notice WHERE topic = 'announcement'"); err != nil {
		return "", 0, err
	}
	killed := s.mark("signing")
	if err := s.kill("signing"); err != nil {
		return "", 0, err
	}
	opened := func(l logLine) bool { return l.text("msg") == "epoch opened" }
	if _, err := killed.await(ctx, opened); err != nil {
		return "", 0, err
	}
	mark, begin := s.mark("signing"), time.Now()
	if err := s.announce(ctx, recorded); err != nil {
		return "", 0, err
	}
	passed, err := mark.await(ctx, func(l logLine) bool {
		return l.text("msg") == "announcement passed over" && strings.Contains(l.text("error"), strconv.Quote(approvalRole))
	})
	if err != nil {
		return "", 0, err
	}
	return "refused: " + passed.text("error"), time.Since(begin), nil
}

// kill ends a service as a crash would.
func (s *stage) kill(service string) error {
	b, err := os.ReadFile(s.Processes[service])
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// closeWaiting checks that an attack has moved nothing and has the approver
// refuse the request, so that none stays open.
func (s *stage) closeWaiting(ctx context.Context, r api.Request) error {
	if err := s.stillWaiting(ctx, r.ID); err != nil {
		return err
	}
	end, err := s.decide(ctx, "reject", r.ID)
	if err != nil {
		return err
	}
	return want(end, message.StatusRejected)
}

func (s *stage) inTransaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.superuser.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("as superuser: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(fmt.Errorf("as superuser: %w", err), tx.Rollback())
	}
	return tx.Commit()
}
