package history_test

import (
	"errors"
	"testing"

	"crypto/x509"
	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/faulty"
	"github.com/countersign/countersign/policy/history"
)

// broken has the fixture's connections go through a proxy that cuts them after
// the at-th statement from when the returned function is called. The pool then
// sends that statement again.
func (f *fixture) broken() (arm func(at int)) {
	f.t.Helper()
	c := f.Config(role)
	proxy, err := faulty.New(c.Addr, c.RootCAs)
	must(f.t, err)
	f.t.Cleanup(proxy.Close)
	c.Addr, c.ServerName, c.RootCAs = proxy.Addr, faulty.ServerName, x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(proxy.CA) {
		f.t.Fatal("the proxy's certificate cannot be read")
	}
	f.db, err = database.Open(c)
	must(f.t, err)
	f.t.Cleanup(func() { _ = f.db.Close() })
	return func(at int) {
		done := proxy.Arm(faulty.Fault{At: at, After: true})
		f.t.Cleanup(func() {
			select {
			case <-done:
			default:
				f.t.Error("no connection was cut: this shows nothing")
			}
		})
	}
}

// TestInitDoneAgain: a first entry whose commit was not heard of is this
// caller's first entry.
func TestInitDoneAgain(t *testing.T) {
	f := setUp(t)
	f.broken()(4) // to look, and to write: each is prepared first
	c := f.chain()
	must(t, c.Init(t.Context(), []byte("first")))
	must(t, c.Append(t.Context(), []byte("second")))
	if got, err := f.read(f.chain()); err != nil || len(got) != 2 {
		t.Fatalf("%q, %v", got, err)
	}
	if err := f.chain().Init(t.Context(), []byte("first")); !errors.Is(err, history.ErrExists) {
		t.Fatalf("a second first entry: %v", err)
	}
}

// TestAppendDoneAgain: an entry whose commit was not heard of is found as
// another replica's would be: nothing rests on it before it was read, and it
// stands once.
func TestAppendDoneAgain(t *testing.T) {
	f := setUp(t)
	arm := f.broken()
	c := f.initialised()
	arm(2)
	if err := c.Append(t.Context(), []byte("a")); !errors.Is(err, history.ErrConflict) {
		t.Fatalf("%v", err)
	}
	got, err := f.read(c)
	if err != nil || len(got) != 1 || got[0] != "a" {
		t.Fatalf("%q, %v", got, err)
	}
	must(t, c.Append(t.Context(), []byte("b")))
	must(t, c.Verify(t.Context()))
	if got, err := f.read(f.chain()); err != nil || len(got) != 3 {
		t.Fatalf("%q, %v", got, err)
	}
}
