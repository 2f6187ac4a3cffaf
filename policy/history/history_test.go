package history_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/history"
)

const role = message.RoleFraud

type fixture struct {
	t *testing.T
	*databasetest.DB
	db *sql.DB
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	db := databasetest.New(t)
	return &fixture{t: t, DB: db, db: db.As(role)}
}

func (f *fixture) chain() *history.Chain {
	f.t.Helper()
	c, err := history.New(role, f.Deployment.Keyrings[role], slog.New(slog.DiscardHandler))
	must(f.t, err)
	c.Prepare(f.db)
	return c
}

// initialised returns a chain with the given bodies after its first entry.
func (f *fixture) initialised(bodies ...string) *history.Chain {
	f.t.Helper()
	c := f.chain()
	must(f.t, c.Init(f.t.Context(), f.db, []byte("first")))
	for _, b := range bodies {
		f.append(c, b)
	}
	return c
}

func (f *fixture) append(c *history.Chain, body string) {
	f.t.Helper()
	ctx := f.t.Context()
	tx, err := f.db.BeginTx(ctx, nil)
	must(f.t, err)
	defer func() { _ = tx.Rollback() }()
	must(f.t, c.CatchUp(ctx, tx, true, ignore))
	h, err := c.Append(ctx, tx, c.Head(), []byte(body))
	must(f.t, err)
	must(f.t, tx.Commit())
	c.Confirm(h)
}

// attack runs a statement as the database's superuser.
func (f *fixture) attack(query string, args ...any) {
	f.t.Helper()
	if _, err := f.Owner.ExecContext(f.t.Context(), query, args...); err != nil {
		f.t.Fatalf("the attack itself failed: %v", err)
	}
}

func (f *fixture) read(c *history.Chain) ([]string, error) {
	var got []string
	err := c.CatchUp(f.t.Context(), f.db, false, func(e history.Entry) error {
		got = append(got, string(e.Body))
		return nil
	})
	return got, err
}

func ignore(history.Entry) error { return nil }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCatchUpIsIncremental(t *testing.T) {
	f := setUp(t)
	writer, reader := f.initialised("a", "b"), f.chain()
	got, err := f.read(reader)
	must(t, err)
	if want := []string{"first", "a", "b"}; !slices.Equal(got, want) {
		t.Fatalf("first reading: %q, want %q", got, want)
	}
	f.append(writer, "c")
	got, err = f.read(reader)
	must(t, err)
	if want := []string{"c"}; !slices.Equal(got, want) {
		t.Fatalf("second reading: %q, want %q", got, want)
	}
	if reader.Head() != writer.Head() {
		t.Fatal("heads differ")
	}
	if got, err = f.read(writer); err != nil || len(got) != 0 {
		t.Fatalf("a writer that confirmed reads its own entries again: %q, %v", got, err)
	}
}

func TestCatchUpOverManyPages(t *testing.T) {
	f := setUp(t)
	c := f.initialised()
	ctx := t.Context()
	tx, err := f.db.BeginTx(ctx, nil)
	must(t, err)
	head := c.Head()
	for i := range 350 {
		head, err = c.Append(ctx, tx, head, fmt.Appendf(nil, "%d", i))
		must(t, err)
	}
	must(t, tx.Commit())
	reader := f.chain()
	got, err := f.read(reader)
	must(t, err)
	if len(got) != 351 || got[350] != "349" {
		t.Fatalf("%d entries", len(got))
	}
	must(t, reader.Verify(ctx, f.db, nil))
}

func TestInitOnce(t *testing.T) {
	f := setUp(t)
	f.initialised()
	if err := f.chain().Init(t.Context(), f.db, []byte("again")); !errors.Is(err, history.ErrExists) {
		t.Fatalf("second init: %v, want ErrExists", err)
	}
}

func TestAttackEmptyChainWithoutInit(t *testing.T) {
	f := setUp(t)
	c := f.chain()
	if _, err := f.read(c); !errors.Is(err, history.ErrEmpty) {
		t.Fatalf("reading: %v, want ErrEmpty", err)
	}
	if _, err := c.Append(t.Context(), f.db, c.Head(), []byte("x")); !errors.Is(err, history.ErrEmpty) {
		t.Fatalf("appending: %v, want ErrEmpty", err)
	}
	must(t, f.chain().Init(t.Context(), f.db, []byte("first")))
	if _, err := f.read(c); err != nil {
		t.Fatalf("after init: %v", err)
	}
}

// TestAttackRecordChainTampered plays each way of changing the rows, against
// an instance that starts afterwards and one that was running.
func TestAttackRecordChainTampered(t *testing.T) {
	const where = " WHERE role = '" + role + "' AND "
	cases := []struct {
		name   string
		attack []string
		// unseen says that an incremental reader cannot see it: the rows lie
		// before its head. A full pass does.
		unseen bool
		// legal says that a starting instance cannot see it: the chain is a
		// whole one, but shorter than somebody remembers.
		legal bool
	}{
		{name: "fail/deleted-last", attack: []string{"DELETE FROM countersign.record" + where + "seq = 4"}, legal: true},
		{name: "fail/truncated-to-first", attack: []string{"DELETE FROM countersign.record" + where + "seq > 1"}, legal: true},
		{name: "fail/deleted-all", attack: []string{"DELETE FROM countersign.record" + where + "true"}},
		{name: "fail/deleted-first", attack: []string{"DELETE FROM countersign.record" + where + "seq = 1"}, unseen: true},
		{name: "fail/deleted-middle", attack: []string{"DELETE FROM countersign.record" + where + "seq = 3"}, unseen: true},
		{name: "fail/middle-cut-out", attack: []string{
			"DELETE FROM countersign.record" + where + "seq = 3",
			"UPDATE countersign.record SET seq = 3" + where + "seq = 4",
		}},
		{name: "fail/altered-last-body", attack: []string{"UPDATE countersign.record SET body = 'z'" + where + "seq = 4"}},
		{name: "fail/altered-middle-body", attack: []string{"UPDATE countersign.record SET body = 'z'" + where + "seq = 2"}, unseen: true},
		{name: "fail/altered-mac", attack: []string{"UPDATE countersign.record SET mac = decode(repeat('00', 32), 'hex')" + where + "seq = 4"}},
		{name: "fail/reordered", attack: []string{
			"UPDATE countersign.record SET seq = 100" + where + "seq = 3",
			"UPDATE countersign.record SET seq = 3" + where + "seq = 4",
			"UPDATE countersign.record SET seq = 4" + where + "seq = 100",
		}},
		{name: "fail/forged-entry", attack: []string{
			"INSERT INTO countersign.record (role, seq, body, mac) VALUES ('" + role + "', 5, 'x', decode(repeat('11', 32), 'hex'))",
		}},
		{name: "fail/repeated-entry", attack: []string{
			"INSERT INTO countersign.record (role, seq, body, mac) SELECT role, 5, body, mac FROM countersign.record" + where + "seq = 4",
		}},
		{name: "fail/gap", attack: []string{
			"INSERT INTO countersign.record (role, seq, body, mac) SELECT role, 6, body, mac FROM countersign.record" + where + "seq = 4",
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f := setUp(t)
			running := f.initialised("a", "b", "c")
			for _, q := range tc.attack {
				f.attack(q)
			}
			_, err := f.read(f.chain())
			if tc.legal != (err == nil) {
				t.Errorf("starting instance: %v", err)
			}
			_, err = f.read(running)
			if tc.unseen {
				must(t, err)
				err = running.Verify(t.Context(), f.db, nil)
			}
			if !errors.Is(err, history.ErrBroken) {
				t.Fatalf("running instance: %v, want ErrBroken", err)
			}
			if running.Broken() == nil {
				t.Fatal("the chain forgot that it is broken")
			}
			if _, err := running.Append(t.Context(), f.db, running.Head(), []byte("d")); !errors.Is(err, history.ErrBroken) {
				t.Fatalf("a broken chain appends: %v", err)
			}
		})
	}
}

// TestAttackRecordOfAnotherRole moves a row, MAC and all, to another role.
func TestAttackRecordOfAnotherRole(t *testing.T) {
	f := setUp(t)
	f.initialised("a")
	f.attack("INSERT INTO countersign.record (role, seq, body, mac) SELECT 'approval', seq, body, mac FROM countersign.record WHERE role = $1", role)
	other, err := history.New(message.RoleApproval, f.Deployment.Keyrings[message.RoleApproval], slog.New(slog.DiscardHandler))
	must(t, err)
	if err := other.CatchUp(t.Context(), f.As(message.RoleApproval), false, ignore); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("catching up: %v, want ErrBroken", err)
	}
}

func TestBrokenIsForLife(t *testing.T) {
	f := setUp(t)
	c := f.initialised("a", "b")
	f.attack("CREATE TABLE stash AS SELECT * FROM countersign.record")
	f.attack("DELETE FROM countersign.record WHERE seq = 3")
	if _, err := f.read(c); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("reading: %v, want ErrBroken", err)
	}
	f.attack("INSERT INTO countersign.record SELECT * FROM stash WHERE seq = 3")
	if _, err := f.read(c); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("after the row was put back: %v, want ErrBroken", err)
	}
}

func TestCloneFindsAndOriginalAdopts(t *testing.T) {
	f := setUp(t)
	c := f.initialised("a", "b")
	f.attack("UPDATE countersign.record SET body = 'z' WHERE seq = 2")
	clone := c.Clone()
	if err := clone.Verify(t.Context(), f.db, nil); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("verifying: %v, want ErrBroken", err)
	}
	must(t, c.Broken())
	c.Adopt(clone)
	if !errors.Is(c.Broken(), history.ErrBroken) {
		t.Fatal("the original did not adopt")
	}
}

func TestEntryThatCannotBeUnderstoodBreaks(t *testing.T) {
	f := setUp(t)
	f.initialised("a")
	c := f.chain()
	cause := errors.New("cause")
	err := c.CatchUp(t.Context(), f.db, false, func(e history.Entry) error {
		if e.Seq == 2 {
			return cause
		}
		return nil
	})
	if !errors.Is(err, history.ErrBroken) || !errors.Is(err, cause) {
		t.Fatalf("catching up: %v", err)
	}
	if !errors.Is(c.Broken(), history.ErrBroken) {
		t.Fatal("not broken")
	}
}

func TestRolledBackAppendLeavesTheHead(t *testing.T) {
	f := setUp(t)
	c := f.initialised("a")
	before := c.Head()
	tx, err := f.db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = c.Append(t.Context(), tx, before, []byte("lost"))
	must(t, err)
	must(t, tx.Rollback())
	f.append(c, "b")
	got, err := f.read(f.chain())
	must(t, err)
	if want := []string{"first", "a", "b"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}

func TestAppendConflict(t *testing.T) {
	f := setUp(t)
	a := f.initialised()
	b := f.chain()
	_, err := f.read(b)
	must(t, err)
	f.append(a, "a")
	if _, err := b.Append(t.Context(), f.db, b.Head(), []byte("b")); !errors.Is(err, history.ErrConflict) {
		t.Fatalf("appending behind an old head: %v, want ErrConflict", err)
	}
}

func TestAppendTooLarge(t *testing.T) {
	f := setUp(t)
	c := f.initialised()
	if _, err := c.Append(t.Context(), f.db, c.Head(), make([]byte, history.MaxBody+1)); !errors.Is(err, history.ErrTooLarge) {
		t.Fatalf("appending: %v, want ErrTooLarge", err)
	}
}

// TestReplicasAppendInTurn has several replicas append at once: every entry is
// there once, and the chain verifies.
func TestReplicasAppendInTurn(t *testing.T) {
	f := setUp(t)
	f.initialised()
	const replicas, each = 4, 10
	var wg sync.WaitGroup
	errs := make(chan error, replicas)
	for r := range replicas {
		c := f.chain()
		wg.Go(func() {
			for i := range each {
				if err := appendOne(context.Background(), f.db, c, fmt.Sprintf("%d-%d", r, i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	got, err := f.read(f.chain())
	must(t, err)
	slices.Sort(got)
	if len(slices.Compact(got)) != replicas*each+1 {
		t.Fatalf("%d different entries, want %d", len(got), replicas*each+1)
	}
}

func appendOne(ctx context.Context, db *sql.DB, c *history.Chain, body string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := c.CatchUp(ctx, tx, true, ignore); err != nil {
		return err
	}
	h, err := c.Append(ctx, tx, c.Head(), []byte(body))
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	c.Confirm(h)
	return nil
}
