package policy_test

import (
	"context"
	"database/sql"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/database"
)

// TestAttackCommitsFailForLong: while the database refuses every record (a full
// disk), each delivery decides again. Nothing of that is kept, and afterwards
// everything goes on.
func TestAttackCommitsFailForLong(t *testing.T) {
	w := initialised(t)
	c := newCounter(1000)
	i := w.start(c).ready()
	tasks := w.tasks(60)
	mend := w.refusing()
	for range 150 {
		if v, err := i.attempt(nil, tasks...); err == nil {
			t.Fatalf("verdicts %+v", v[0])
		}
	}
	if len(c.counted) > 0 {
		t.Fatalf("counts %d that are not on record", len(c.counted))
	}
	mend()
	if n := approvals(i.deliver(tasks...)); n != len(tasks) {
		t.Fatalf("%d approvals, want %d", n, len(tasks))
	}
	if n := w.rows(); n != 2 {
		t.Fatalf("%d rows, want one for init and one for the batch", n)
	}
	fresh := newCounter(1000)
	w.start(fresh).ready()
	if len(fresh.counted) != len(tasks) {
		t.Fatalf("the chain counts %d, want %d", len(fresh.counted), len(tasks))
	}
}

// lossy is a pool of connections of the role through a relay.
type lossy struct {
	db *sql.DB
	// cut has the relay swallow the next thing that the server says, and break
	// that connection: what was asked has been done, and nobody was told.
	cut atomic.Bool
}

func (w *world) lossy() *lossy {
	w.t.Helper()
	c := w.Config(role)
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	must(w.t, err)
	w.t.Cleanup(func() { _ = listener.Close() })
	out := new(lossy)
	go out.serve(listener, c.Addr)
	if c.ServerName == "" {
		c.ServerName, _, err = net.SplitHostPort(c.Addr)
		must(w.t, err)
	}
	c.Addr = listener.Addr().String()
	out.db, err = database.Open(c)
	must(w.t, err)
	w.t.Cleanup(func() { _ = out.db.Close() })
	return out
}

func (l *lossy) serve(listener net.Listener, addr string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			_ = client.Close()
			return
		}
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		go l.answers(client, server)
	}
}

func (l *lossy) answers(client, server net.Conn) {
	defer func() { _, _ = client.Close(), server.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || l.cut.CompareAndSwap(true, false) {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
