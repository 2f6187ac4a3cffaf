package history_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/countersign/countersign/policy/history"
)

// TestRewind: all entries come once more, those that others have appended
// meanwhile too, and nothing is appended before.
func TestRewind(t *testing.T) {
	f := setUp(t)
	writer, c := f.initialised("a", "b"), f.chain()
	_, err := f.read(c)
	must(t, err)
	f.append(writer, "c")
	c.Rewind()
	if err := c.Append(t.Context(), []byte("x")); err == nil {
		t.Fatal("appended to what was not read")
	}
	got, err := f.read(c)
	must(t, err)
	if want := []string{"first", "a", "b", "c"}; !slices.Equal(got, want) {
		t.Fatalf("read %q, want %q", got, want)
	}
	must(t, c.Append(t.Context(), []byte("d")))
	must(t, c.Verify(t.Context()))
}

// TestRewindGoesOnWhereItFailed: an outage half-way has no entry come twice, or
// not at all.
func TestRewindGoesOnWhereItFailed(t *testing.T) {
	f := setUp(t)
	c := f.initialised()
	for i := range 250 {
		must(t, c.Append(t.Context(), []byte{byte(i)}))
	}
	c.Rewind()
	ctx, cancel := context.WithCancel(t.Context())
	folded := 0
	err := c.CatchUp(ctx, func(history.Entry) error {
		if folded++; folded == 50 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || folded >= 251 {
		t.Fatalf("%v after %d entries", err, folded)
	}
	must(t, c.Verify(t.Context()))
	must(t, c.CatchUp(t.Context(), func(history.Entry) error { folded++; return nil }))
	if folded != 251 {
		t.Fatalf("%d entries", folded)
	}
}

// TestAttackOtherChainAtRewind: what is read again must be what was read before.
func TestAttackOtherChainAtRewind(t *testing.T) {
	const where = " WHERE role = '" + role + "'"
	for name, attack := range map[string]func(*fixture){
		"fail/empty":   func(f *fixture) { f.attack("DELETE FROM countersign.record" + where) },
		"fail/shorter": func(f *fixture) { f.attack("DELETE FROM countersign.record" + where + " AND seq > 2") },
		"fail/older-and-continued": func(f *fixture) {
			f.attack("DELETE FROM countersign.record" + where + " AND seq > 2")
			c := f.chain()
			_, err := f.read(c)
			must(f.t, err)
			f.append(c, "x", "y", "z")
		},
		"fail/altered": func(f *fixture) { f.attack("UPDATE countersign.record SET body = 'x'" + where + " AND seq = 2") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, twice := range []bool{false, true} {
				f := setUp(t)
				c := f.initialised("a", "b", "c")
				c.Rewind()
				if twice {
					c.Rewind()
				}
				attack(f)
				if got, err := f.read(c); !errors.Is(err, history.ErrBroken) || c.Broken() == nil {
					t.Fatalf("read %q: %v", got, err)
				}
			}
		})
	}
}
