package database_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/database/databasetest"
)

// answerTime is long for a server on the same machine, also a busy one.
const answerTime = 3 * time.Second

// cable lies between a client and a server. Once it is cut nothing gets
// through, and neither side is told.
type cable struct {
	cut  atomic.Bool
	addr string
}

func lay(t *testing.T, server string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: listener.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			t.Cleanup(func() { _, _ = near.Close(), far.Close() })
			running.Go(func() { c.carry(far, near) })
			running.Go(func() { c.carry(near, far) })
		}
	})
	t.Cleanup(running.Wait) // runs after the listener and the ends are closed
	t.Cleanup(func() { _ = listener.Close() })
	return c
}

// carry copies until one side ends; what comes after the cut is lost.
func (c *cable) carry(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if c.cut.Load() {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// A statement whose context cannot end is ended by the connection when the
// server falls silent.
func TestStatementEndsWhenTheServerIsSilent(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	config := d.Config("fraud")
	c := lay(t, config.Addr)
	config.Addr = c.addr
	db, err := database.OpenPatient(config, answerTime)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	forever := context.WithoutCancel(t.Context())
	for range 2 { // silence of our own making is no fault
		if _, err := db.ExecContext(forever, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(answerTime + answerTime/10)
	}
	c.cut.Store(true)
	start := time.Now()
	if _, err := db.ExecContext(forever, "SELECT 1"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent server: %v", err)
	}
	if took := time.Since(start); took < answerTime {
		t.Errorf("given up after %v", took)
	}
	c.cut.Store(false)
	if _, err := db.ExecContext(forever, "SELECT 1"); err != nil {
		t.Errorf("the connection was kept: %v", err)
	}
}

// An idle listener keeps its connection by its pings, and gets another one when
// the server falls silent.
func TestListenerLivesByItsPings(t *testing.T) {
	t.Parallel()
	d := databasetest.New(t)
	config := d.Config("fraud")
	c := lay(t, config.Addr)
	config.Addr = c.addr
	lost, again := make(chan struct{}, 100), make(chan struct{}, 100)
	listener, err := database.NewPatientListener(config, answerTime, func(event pq.ListenerEventType, _ error) {
		switch event {
		case pq.ListenerEventDisconnected:
			lost <- struct{}{}
		case pq.ListenerEventReconnected:
			again <- struct{}{}
		case pq.ListenerEventConnected, pq.ListenerEventConnectionAttemptFailed:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := listener.Listen("silence"); err != nil {
		t.Fatal(err)
	}
	for range 10 { // longer than a connection may be silent
		time.Sleep(answerTime / 6)
		if err := listener.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-lost:
		t.Fatal("a listener that pings lost its connection")
	default:
	}
	if _, err := d.Owner.ExecContext(t.Context(), "NOTIFY silence"); err != nil {
		t.Fatal(err)
	}
	if n := <-listener.Notify; n == nil || n.Channel != "silence" {
		t.Errorf("heard %v", n)
	}
	c.cut.Store(true)
	_ = listener.Ping() // fails when the time is over
	<-lost
	c.cut.Store(false)
	<-again
}
