package trialpg_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/trial"
	"github.com/countersign/countersign/policy/trial/trialpg"
)

const (
	first  = "0196f0a1-7c00-7000-8000-000000000001"
	second = "0196f0a1-7c00-7000-8000-000000000002"
	third  = "0196f0a1-7c00-7000-8000-000000000003"
)

var noon = time.Date(2027, 3, 2, 12, 0, 0, 0, time.UTC)

// reply is a role's signed decision.
func reply(t *testing.T, role, request string, decision message.Decision) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	b, err := message.SignEd25519(message.TypApproval, "key", key, message.Approval{
		Role: role, Request: request, Decision: decision, Reasons: []message.Reason{{Code: "because"}},
		Digests: []message.Digest{}, Evidence: []message.Hash{}, Epochs: []message.EpochShares{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill writes three requests: one that ended with two decisions, of which one was
// taken back; one that is open; and one with replies that are not what they
// stand for.
func fill(t *testing.T, d *databasetest.DB) {
	t.Helper()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := d.Owner.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []string{first, second, third} {
		exec(`INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, submitted_at, expires_at)
			VALUES ($1, $2, '', '', 'alice', 'wallet.create', '', $3, $3)`, id, []byte("body "+id), noon.Add(time.Duration(i)*time.Hour))
	}
	exec(`INSERT INTO countersign.result (request_id, status, body) VALUES ($1, 'signed', '')`, first)
	say := func(request, sender string, body []byte) {
		t.Helper()
		exec(`INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive) VALUES ($1, $2, $3, '', '{}', false)`,
			request, sender, body)
	}
	say(first, "fraud", reply(t, "fraud", first, message.Reject))
	say(first, "fraud", reply(t, "fraud", first, message.Approve))
	say(first, "approval", reply(t, "approval", first, message.Approve))
	say(third, "fraud", reply(t, "approval", third, message.Approve))
	say(third, "approval", reply(t, "approval", first, message.Approve))
	say(third, "authorization", []byte("nothing"))
}

func collect(t *testing.T, s *trialpg.Store, since, until time.Time) (out []trial.Recorded) {
	t.Helper()
	for r, err := range s.Recorded(t.Context(), since, until) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// TestRecorded reads as the operator, who has the rights for it.
func TestRecorded(t *testing.T) {
	d := databasetest.New(t)
	fill(t, d)
	s := trialpg.New(d.As("operator"))
	got := collect(t, s, noon, noon.Add(3*time.Hour))
	if len(got) != 3 || got[0].ID != first || got[1].ID != second || got[2].ID != third {
		t.Fatalf("got %+v", got)
	}
	one := got[0]
	if string(one.Body) != "body "+first || one.Status != "signed" || !one.Submitted.Equal(noon) || len(one.Replies) != 2 ||
		one.Replies["fraud"].Decision != message.Approve || one.Replies["approval"].Reasons[0].Code != "because" {
		t.Errorf("got %+v", one)
	}
	for _, r := range got[1:] {
		if r.Status != "" || len(r.Replies) != 0 {
			t.Errorf("request %s is %q, with %d decisions", r.ID, r.Status, len(r.Replies))
		}
	}
	if got := collect(t, s, noon.Add(time.Hour), noon.Add(2*time.Hour)); len(got) != 1 || got[0].ID != second {
		t.Errorf("of one hour: %+v", got)
	}
	for r := range s.Recorded(t.Context(), noon, noon.Add(3*time.Hour)) {
		if r.ID != first {
			t.Errorf("went on with %s", r.ID)
		}
		break
	}
}

// TestRecordedPages: a past of more than one page comes whole and in order.
func TestRecordedPages(t *testing.T) {
	d := databasetest.New(t)
	const many = 1203
	if _, err := d.Owner.Exec(`INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, submitted_at, expires_at)
		SELECT gen_random_uuid(), 'x', '', '', 'alice', 'wallet.create', '', $1::timestamptz + n * interval '1 second', now()
		  FROM generate_series(1, $2::integer) n ORDER BY random()`, noon, many); err != nil {
		t.Fatal(err)
	}
	got := collect(t, trialpg.New(d.As("operator")), noon, noon.Add(time.Hour))
	if len(got) != many {
		t.Fatalf("%d requests, want %d", len(got), many)
	}
	for i, r := range got {
		if want := noon.Add(time.Duration(i+1) * time.Second); !r.Submitted.Equal(want) {
			t.Fatalf("request %d is of %v, want %v", i, r.Submitted, want)
		}
	}
}

func TestOne(t *testing.T) {
	d := databasetest.New(t)
	fill(t, d)
	s := trialpg.New(d.As("operator"))
	r, err := s.One(t.Context(), first)
	if err != nil || r.ID != first || len(r.Replies) != 2 {
		t.Errorf("%v, %+v", err, r)
	}
	for _, id := range []string{"0196f0a1-7c00-7000-8000-00000000000f", "x", "' OR true --"} {
		if _, err := s.One(t.Context(), id); !errors.Is(err, trialpg.ErrNoRequest) {
			t.Errorf("%q: got %v", id, err)
		}
	}
}

// TestAttackOperatorReadsKeys: what the operator may read to try documents out
// leads to no sealed key, to no share and to no change.
func TestAttackOperatorReadsKeys(t *testing.T) {
	d := databasetest.New(t)
	fill(t, d)
	db := d.As("operator")
	for _, statement := range []string{
		"SELECT ciphertext FROM countersign.wallet", "SELECT ciphertext FROM countersign.account",
		"SELECT attachment FROM countersign.reply", "SELECT body FROM countersign.result", "SELECT body FROM countersign.intent",
		"SELECT body FROM countersign.record", "SELECT body FROM countersign.audit_entry", "SELECT note FROM countersign.task",
		"UPDATE countersign.request SET body = 'x'", "DELETE FROM countersign.reply",
		"INSERT INTO countersign.result (request_id, status, body) VALUES ('" + second + "', 'signed', '')",
	} {
		if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestReadingFails: what cannot be read is an error, never an empty past.
func TestReadingFails(t *testing.T) {
	d := databasetest.New(t)
	db := d.Open("operator")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := trialpg.New(db)
	for _, err := range s.Recorded(t.Context(), noon, noon) {
		if err == nil {
			t.Error("a closed database gives requests")
		}
	}
	if _, err := s.One(t.Context(), first); err == nil || errors.Is(err, trialpg.ErrNoRequest) {
		t.Errorf("got %v", err)
	}
}
