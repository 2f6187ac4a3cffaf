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
	c, err := history.New(role, f.Deployment.Keyrings[role], f.db, slog.New(slog.DiscardHandler))
	must(f.t, err)
	return c
}

// initialised returns a chain with the given bodies after its first entry.
func (f *fixture) initialised(bodies ...string) *history.Chain {
	f.t.Helper()
	c := f.chain()
	must(f.t, c.Init(f.t.Context(), []byte("first")))
	for _, b := range bodies {
		f.append(c, b)
	}
	return c
}

func (f *fixture) append(c *history.Chain, bodies ...string) {
	f.t.Helper()
	must(f.t, c.CatchUp(f.t.Context(), ignore))
	for _, b := range bodies {
		must(f.t, c.Append(f.t.Context(), []byte(b)))
	}
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
	err := c.CatchUp(f.t.Context(), func(e history.Entry) error {
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
	for i := range 350 {
		must(t, c.Append(t.Context(), fmt.Appendf(nil, "%d", i)))
	}
	reader := f.chain()
	got, err := f.read(reader)
	must(t, err)
	if len(got) != 351 || got[350] != "349" {
		t.Fatalf("%d entries", len(got))
	}
	must(t, reader.Verify(t.Context()))
}

func TestInitOnce(t *testing.T) {
	f := setUp(t)
	f.initialised()
	if err := f.chain().Init(t.Context(), []byte("again")); !errors.Is(err, history.ErrExists) {
		t.Fatalf("second init: %v, want ErrExists", err)
	}
}

func TestAttackEmptyChainWithoutInit(t *testing.T) {
	f := setUp(t)
	c := f.chain()
	if _, err := f.read(c); !errors.Is(err, history.ErrEmpty) {
		t.Fatalf("reading: %v, want ErrEmpty", err)
	}
	if err := c.Append(t.Context(), []byte("x")); !errors.Is(err, history.ErrEmpty) {
		t.Fatalf("appending: %v, want ErrEmpty", err)
	}
	must(t, f.chain().Init(t.Context(), []byte("first")))
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
				err = running.Verify(t.Context())
			}
			if !errors.Is(err, history.ErrBroken) {
				t.Fatalf("running instance: %v, want ErrBroken", err)
			}
			if running.Broken() == nil {
				t.Fatal("the chain forgot that it is broken")
			}
			if err := running.Append(t.Context(), []byte("d")); !errors.Is(err, history.ErrBroken) {
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
	other, err := history.New(message.RoleApproval, f.Deployment.Keyrings[message.RoleApproval],
		f.As(message.RoleApproval), slog.New(slog.DiscardHandler))
	must(t, err)
	if err := other.CatchUp(t.Context(), ignore); !errors.Is(err, history.ErrBroken) {
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
	if err := clone.Verify(t.Context()); !errors.Is(err, history.ErrBroken) {
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
	err := c.CatchUp(t.Context(), func(e history.Entry) error {
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

// TestAttackAppendBehindAnotherEntry: each way of changing the last row, or the
// one that would come next, is noticed by the append itself.
func TestAttackAppendBehindAnotherEntry(t *testing.T) {
	for name, attack := range map[string]string{
		"fail/deleted-last": "DELETE FROM countersign.record WHERE seq = 3",
		"fail/deleted-all":  "DELETE FROM countersign.record",
		"fail/altered-body": "UPDATE countersign.record SET body = 'z' WHERE seq = 3",
		"fail/altered-mac":  "UPDATE countersign.record SET mac = decode(repeat('00', 32), 'hex') WHERE seq = 3",
		"fail/moved":        "UPDATE countersign.record SET seq = 4 WHERE seq = 3",
		"fail/forged-next": "INSERT INTO countersign.record (role, seq, body, mac)" +
			" SELECT role, 4, body, mac FROM countersign.record WHERE seq = 3",
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			c := f.initialised("a", "b")
			f.attack(attack)
			head := c.Head()
			if err := c.Append(t.Context(), []byte("c")); !errors.Is(err, history.ErrConflict) {
				t.Fatalf("appending: %v, want ErrConflict", err)
			}
			if c.Head() != head {
				t.Fatal("the head moved")
			}
			if _, err := f.read(c); !errors.Is(err, history.ErrBroken) {
				t.Fatalf("catching up: %v, want ErrBroken", err)
			}
		})
	}
}

// TestAttackAppendLiedAbout: the database acknowledges an entry and does not
// keep it. Whoever relied on it notices with the next thing that it does.
func TestAttackAppendLiedAbout(t *testing.T) {
	next := map[string]func(*history.Chain) error{
		"look": func(c *history.Chain) error { return c.CatchUp(context.Background(), ignore) },
		"append": func(c *history.Chain) error {
			err := c.Append(context.Background(), []byte("b"))
			if !errors.Is(err, history.ErrConflict) {
				return err
			}
			return c.CatchUp(context.Background(), ignore)
		},
	}
	for name, act := range next {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			c := f.initialised("a")
			f.attack("CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN" +
				" DELETE FROM countersign.record r WHERE r.role = NEW.role AND r.seq = NEW.seq; RETURN NULL; END $$")
			f.attack("CREATE TRIGGER hide AFTER INSERT ON countersign.record FOR EACH ROW EXECUTE FUNCTION hide()")
			must(t, c.Append(t.Context(), []byte("hidden")))
			if err := act(c); !errors.Is(err, history.ErrBroken) {
				t.Fatalf("got %v, want ErrBroken", err)
			}
		})
	}
}

// TestAttackForkedChain: the last entry is taken away so that a replica that
// has not seen it writes another in its place. Whoever had written it notices,
// also when it only appends.
func TestAttackForkedChain(t *testing.T) {
	f := setUp(t)
	a := f.initialised("a")
	b := f.chain()
	must(t, b.CatchUp(t.Context(), ignore))
	f.append(a, "b")
	f.attack("DELETE FROM countersign.record WHERE seq = 3")
	must(t, b.Append(t.Context(), []byte("b'")))
	if err := a.Append(t.Context(), []byte("c")); !errors.Is(err, history.ErrConflict) {
		t.Fatalf("appending: %v, want ErrConflict", err)
	}
	if _, err := f.read(a); !errors.Is(err, history.ErrBroken) {
		t.Fatalf("reading: %v, want ErrBroken", err)
	}
}

// TestFailedAppendLeavesTheHead: after an error it is not known what is there,
// and the next reading tells; here, that the first of two entries is.
func TestFailedAppendLeavesTheHead(t *testing.T) {
	f := setUp(t)
	c := f.initialised("a")
	f.attack("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN" +
		" RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$")
	f.attack("CREATE TRIGGER refuse BEFORE INSERT ON countersign.record FOR EACH ROW WHEN (NEW.seq = 4) EXECUTE FUNCTION refuse()")
	head := c.Head()
	err := c.Append(t.Context(), []byte("b"), []byte("c"))
	if err == nil || errors.Is(err, history.ErrConflict) {
		t.Fatalf("appending: %v", err)
	}
	if c.Head() != head {
		t.Fatal("the head moved")
	}
	got, err := f.read(c)
	if want := []string{"b"}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("catching up: %q, %v", got, err)
	}
}

func TestAppendConflict(t *testing.T) {
	f := setUp(t)
	a := f.initialised()
	b := f.chain()
	_, err := f.read(b)
	must(t, err)
	f.append(a, "a")
	if err := b.Append(t.Context(), []byte("b")); !errors.Is(err, history.ErrConflict) {
		t.Fatalf("appending behind an old head: %v, want ErrConflict", err)
	}
	must(t, b.CatchUp(t.Context(), ignore))
	must(t, b.Append(t.Context(), []byte("b")))
}

func TestAppendTooLarge(t *testing.T) {
	f := setUp(t)
	c := f.initialised()
	if err := c.Append(t.Context(), make([]byte, history.MaxBody+1)); !errors.Is(err, history.ErrTooLarge) {
		t.Fatalf("appending: %v, want ErrTooLarge", err)
	}
}

// TestStoppedChainBeginsNothing: with a context that is over, no statement is
// begun.
func TestStoppedChainBeginsNothing(t *testing.T) {
	f := setUp(t)
	c := f.initialised()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Append(ctx, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Fatalf("appending: %v", err)
	}
	if err := c.CatchUp(ctx, ignore); !errors.Is(err, context.Canceled) {
		t.Fatalf("catching up: %v", err)
	}
	if got, err := f.read(f.chain()); err != nil || len(got) != 1 {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestReplicasAppendAtOnce: of several replicas one is first each time, every
// entry is there once, and the chain verifies.
func TestReplicasAppendAtOnce(t *testing.T) {
	f := setUp(t)
	f.initialised()
	const replicas, each = 4, 10
	var wg sync.WaitGroup
	errs := make(chan error, replicas)
	for r := range replicas {
		c := f.chain()
		wg.Go(func() {
			for i := range each {
				if err := appendOne(c, fmt.Sprintf("%d-%d", r, i)); err != nil {
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

func appendOne(c *history.Chain, body string) error {
	for {
		if err := c.CatchUp(context.Background(), ignore); err != nil {
			return err
		}
		if err := c.Append(context.Background(), []byte(body)); !errors.Is(err, history.ErrConflict) {
			return err
		}
	}
}
