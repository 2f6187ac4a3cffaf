package past_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/bench/past"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/fraud"
	"github.com/countersign/countersign/policy/history"
)

const (
	count = 1000
	span  = 30 * 24 * time.Hour
)

var plan = past.Plan{Count: count, Span: span, Until: time.Now().Add(-2 * time.Hour).Truncate(time.Second)}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func number(t testing.TB, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// finish writes the rows that a finished request leaves, of a size that tells
// it from others.
func finish(t testing.TB, db *sql.DB, status string, size int) {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	body := bytes.Repeat([]byte{'x'}, size)
	exec(t, db, `INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)
		VALUES ($1, $2, $2, $2, 'alice', 'ethereum.transaction', 'w', now() + interval '10 minutes')`, id, body)
	for _, sender := range []string{"authorization", "fraud", "approval"} {
		exec(t, db, `INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
			VALUES ($1, $2, $3, $3, '{}', false)`, id, sender, body)
	}
	exec(t, db, `INSERT INTO countersign.intent (request_id, instance, body) VALUES ($1, 'i', $2)`, id, body)
	exec(t, db, `INSERT INTO countersign.result (request_id, status, body) VALUES ($1, $2, $3)`, id, status, body)
	for _, kind := range []string{"intent", "result"} {
		exec(t, db, `INSERT INTO countersign.audit_entry (kind, request_id, body) VALUES ($1, $2, $3)`, kind, id, body)
	}
}

// tables are those in which a finished request leaves rows.
var tables = []string{"request", "reply", "intent", "result", "audit_entry"}

// filled is a database with two signed requests, a rejected one, one that is
// under way, and the past.
func filled(t *testing.T) *sql.DB {
	t.Helper()
	db := databasetest.New(t).Owner
	for _, table := range tables {
		exec(t, db, "ALTER TABLE countersign."+table+" SET (autovacuum_enabled = off)")
	}
	must(t, past.Reserve(t.Context(), db, count))
	finish(t, db, "signed", 100)
	finish(t, db, "rejected", 7)
	finish(t, db, "signed", 200)
	exec(t, db, `INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)
		VALUES ('01a20091-8332-755e-bacc-39142067267d', 'x', 'x', 'x', 'alice', 'ethereum.message', 'w', now())`)
	exec(t, db, `INSERT INTO countersign.task (consumer, request_id) VALUES ('fraud', '01a20091-8332-755e-bacc-39142067267d')`)
	must(t, past.Fill(t.Context(), db, plan))
	return db
}

func TestFillLeavesWhatRequestsLeave(t *testing.T) {
	db := filled(t)
	for table, want := range map[string]int{
		"request": count + 4, "reply": 3*count + 9, "intent": count + 3, "result": count + 3, "audit_entry": 2*count + 6, "task": 1,
	} {
		if got := number(t, db, "SELECT count(*) FROM countersign."+table); got != want {
			t.Errorf("%s has %d rows, want %d", table, got, want)
		}
	}
	for what, query := range map[string]string{
		"requests without all of their rows": `SELECT count(*) FROM countersign.request r WHERE r.kind <> 'ethereum.message' AND
			((SELECT count(*) FROM countersign.reply x WHERE x.request_id = r.id) <> 3
			OR (SELECT count(*) FROM countersign.audit_entry x WHERE x.request_id = r.id) <> 2
			OR (SELECT count(*) FROM countersign.intent x WHERE x.request_id = r.id) <> 1
			OR (SELECT count(*) FROM countersign.result x WHERE x.request_id = r.id) <> 1)`,
		"rows of another size than their request's": `SELECT count(*) FROM countersign.reply x
			JOIN countersign.request r ON r.id = x.request_id WHERE octet_length(x.attachment) <> octet_length(r.body)`,
		"copies of requests that were not signed": `SELECT count(*) - 1 FROM countersign.result WHERE status <> 'signed' OR octet_length(body) = 7`,
		"row numbers that are not older than the requests that were copied": `SELECT count(*) FROM countersign.reply x
			JOIN countersign.request r ON r.id = x.request_id
			WHERE r.submitted_at < now() - interval '1 hour' AND x.id >= (SELECT min(y.id) FROM countersign.reply y
				JOIN countersign.request s ON s.id = y.request_id WHERE s.submitted_at > now() - interval '1 hour')`,
	} {
		if n := number(t, db, query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	finish(t, db, "signed", 1) // a new request finds its row numbers free
}

func TestFillDatesBack(t *testing.T) {
	db := filled(t)
	rows, err := db.QueryContext(t.Context(), `SELECT r.id, r.submitted_at, r.expires_at, x.created_at
		FROM countersign.request r JOIN countersign.result x ON x.request_id = r.id
		WHERE r.submitted_at < now() - interval '1 hour' ORDER BY r.id`)
	must(t, err)
	defer rows.Close()
	var newest time.Time
	for rows.Next() {
		var id uuid.UUID
		var submitted, expires, finished time.Time
		must(t, rows.Scan(&id, &submitted, &expires, &finished))
		seconds, nanos := id.Time().UnixTime()
		if id.Version() != 7 || id.Variant() != uuid.RFC4122 || time.Unix(seconds, nanos).UnixMilli() != submitted.UnixMilli() {
			t.Fatalf("id %s of a request of %v", id, submitted)
		}
		if !submitted.After(newest) || submitted.Before(plan.Until.Add(-span)) || !finished.Before(plan.Until.Add(time.Minute)) {
			t.Fatalf("submitted %v after %v, finished %v", submitted, newest, finished)
		}
		if life := expires.Sub(submitted); life < 9*time.Minute || life > 11*time.Minute {
			t.Fatalf("it was good for %v", life)
		}
		newest = submitted
	}
	must(t, rows.Err())
	if newest.Before(plan.Until.Add(-2 * span / count)) {
		t.Errorf("the newest is of %v", newest)
	}
}

func TestFillLeavesNothingElse(t *testing.T) {
	db := filled(t)
	if n := number(t, db, `SELECT count(*) FROM pg_namespace WHERE nspname = 'bench'`); n != 0 {
		t.Error("the schema bench is still there")
	}
	if n := number(t, db, `SELECT count(*) FROM pg_class WHERE relnamespace = 'countersign'::regnamespace
		AND relname = ANY(string_to_array($1, ',')) AND reltuples > $2 AND relallvisible = relpages`, strings.Join(tables, ","), count-1); n != len(tables) {
		t.Errorf("%d of %d tables are vacuumed and analyzed", n, len(tables))
	}
	if n := number(t, db, `SELECT count(*) FROM pg_settings WHERE source = 'session' AND name = 'enable_hashjoin'`); n != 0 {
		t.Error("the connection goes back to the pool as it must not")
	}
}

func TestNothingToCopy(t *testing.T) {
	d := databasetest.New(t)
	finish(t, d.Owner, "rejected", 7)
	if err := past.Fill(t.Context(), d.Owner, plan); !errors.Is(err, past.ErrNoTemplates) {
		t.Errorf("fail/requests: %v", err)
	}
	keyring := d.Deployment.Keyrings[message.RoleFraud]
	chain, err := history.New(message.RoleFraud, keyring, d.Owner, slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, chain.Init(t.Context(), []byte(`{"version":1,"records":[{"kind":"init"}]}`)))
	if _, err := past.Records(t.Context(), d.Owner, keyring, plan); !errors.Is(err, past.ErrNoTemplates) {
		t.Errorf("fail/records: %v", err)
	}
}

// fraudEntry is an entry as package policy writes it, with n records as package
// fraud writes and wrote them.
func fraudEntry(t *testing.T, n int) []byte {
	t.Helper()
	type record struct {
		Kind string        `json:"kind"`
		Body message.Bytes `json:"body"`
	}
	entry := struct {
		Version int      `json:"version"`
		Records []record `json:"records"`
	}{Version: 1}
	for i := range n {
		body := fmt.Sprintf(`{"version":1,"envelope":"%s","wallet":"w","time":"2026-02-01T00:00:00Z","amounts":[{"asset":"a","amount":"%d"}]}`,
			message.Sum([]byte{byte(i)}), 1000+i)
		if i%2 == 0 {
			body = fmt.Sprintf(`{"version":2,"envelope":"%s","kind":"ethereum.transaction","user":"u","wallet":"w","account":"a",`+
				`"time":"2026-02-01T00:00:00Z","expires":"2026-02-01T00:10:00Z","amounts":[{"asset":"a","amount":"%d"}],`+
				`"chain":"eip155:1","nonce":"%d","content":"AAAAAAAAAAAAAAAAAAAAAA"}`, message.Sum([]byte{byte(i)}), 1000+i, i)
		}
		must(t, fraud.New(nil).Replay([]byte(body)))
		entry.Records = append(entry.Records, record{"decider", message.Bytes(body)})
	}
	b, err := message.Encode(entry)
	must(t, err)
	return b
}

// The role reads what Records wrote: one record for each request, chained,
// with amounts of its own records and times of the past.
func TestRecordsAreTheRolesOwn(t *testing.T) {
	d := databasetest.New(t)
	keyring := d.Deployment.Keyrings[message.RoleFraud]
	chain, err := history.New(message.RoleFraud, keyring, d.As(message.RoleFraud), slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, chain.Init(t.Context(), []byte(`{"version":1,"records":[{"kind":"init"}]}`)))
	must(t, chain.Append(t.Context(), fraudEntry(t, 10), fraudEntry(t, 30)))
	got, err := past.Records(t.Context(), d.Owner, keyring, plan)
	must(t, err)
	if got.Records != count || got.Entries != count/20 || got.Verify <= 0 {
		t.Errorf("%+v, want %d records in entries of 20", got, count)
	}
	before := chain.Head().Seq
	seen := read(t, chain)
	if int(chain.Head().Seq-before) != got.Entries || len(seen) != count {
		t.Fatalf("the role reads %d entries with %d records", chain.Head().Seq-before, len(seen))
	}
	if !slices.IsSortedFunc(seen, func(a, b counted) int { return a.Time.Compare(b.Time.Time) }) ||
		seen[0].Time.Before(plan.Until.Add(-span)) || !seen[count-1].Time.Before(plan.Until) {
		t.Errorf("from %v to %v", seen[0].Time, seen[count-1].Time)
	}
	envelopes, nonces := map[message.Hash]bool{}, map[string]bool{}
	for _, c := range seen {
		envelopes[c.Envelope] = true
		if c.Nonce == "" {
			continue
		}
		nonces[c.Nonce] = true
		if c.Expires.Sub(c.Time.Time) != 10*time.Minute || len(c.Nonce) < 6 {
			t.Fatalf("%+v", c)
		}
	}
	if len(envelopes) != count || len(nonces) != count/2 {
		t.Errorf("%d envelopes, %d nonces", len(envelopes), len(nonces))
	}
}

type counted struct {
	Envelope message.Hash `json:"envelope"`
	Time     message.Time `json:"time"`
	Expires  message.Time `json:"expires"`
	Nonce    string       `json:"nonce"`
}

// read reads on, and gives each record to the fraud role's decider.
func read(t *testing.T, chain *history.Chain) (out []counted) {
	t.Helper()
	decider := fraud.New(nil)
	must(t, chain.CatchUp(context.WithoutCancel(t.Context()), func(e history.Entry) error {
		var entry struct {
			Records []struct {
				Body message.Bytes `json:"body"`
			} `json:"records"`
		}
		if err := json.Unmarshal(e.Body, &entry); err != nil {
			return err
		}
		for _, r := range entry.Records {
			var c counted
			if err := errors.Join(decider.Replay(r.Body), json.Unmarshal(r.Body, &c)); err != nil {
				return err
			}
			out = append(out, c)
		}
		return nil
	}))
	return out
}
