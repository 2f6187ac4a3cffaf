package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/internal/message"
)

// newRunner has a shell script for a service.
func newRunner(t *testing.T, script string) (runner, *bytes.Buffer) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, message.RoleFraud), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	l := layout{t.TempDir()}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	return runner{layout: l, bin: bin, log: slog.New(slog.NewTextHandler(&said, nil))}, &said
}

// A service that ends at each start stops the deployment, which says what the
// service said.
func TestServiceThatCannotStart(t *testing.T) {
	tests := map[string]struct{ script, want string }{
		"its own error": {`echo "fraud: of an earlier line" >&2; echo "fraud: no such luck" >&2; exit 1`, "exit status 1: fraud: no such luck"},
		"a panic":       {`printf 'panic: no such luck\n\ngoroutine 1 [running]:\nmain.main()\n' >&2; exit 2`, "exit status 2: panic: no such luck"},
		"a signal":      {`kill -KILL $$`, "signal: killed: see "},
		"nothing":       {`exit 0`, "exit status 0: see "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, said := newRunner(t, tt.script)
			log := r.layout.log(message.RoleFraud)
			if err := os.WriteFile(log, []byte("fraud: of an earlier run\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := r.supervise(ctx, message.RoleFraud, make(chan struct{}))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), "see "+log) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if n := strings.Count(said.String(), "starting it again"); n != mostStarts-1 {
				t.Errorf("it was started again %d times, want %d\n%s", n, mostStarts-1, said)
			}
		})
	}
}

// Once the deployment was ready a service is started again for as long as it
// takes, and each time its own words are told.
func TestServiceThatEndsLater(t *testing.T) {
	t.Parallel()
	r, said := newRunner(t, `echo >> "$3.starts"; echo "fraud: no such luck" >&2; exit 1`)
	starts := r.layout.config(message.RoleFraud) + ".starts"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, _ := os.ReadFile(starts); len(b) > mostStarts+1 {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	allReady := make(chan struct{})
	close(allReady)
	if err := r.supervise(ctx, message.RoleFraud, allReady); err != nil {
		t.Error(err)
	}
	if n := strings.Count(said.String(), `service=fraud error="exit status 1: fraud: no such luck"`); n <= mostStarts {
		t.Errorf("its words were told %d times\n%s", n, said)
	}
}

// The ports of a deployment are its own from its beginning to its end, whoever
// listens on them or does not.
func TestAddressesAreHeld(t *testing.T) {
	a, err := reserveAddresses()
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{a.database.Addr: true, a.proposer.Addr: true, a.console.Addr: true, a.receiver.Addr: true}
	for _, s := range services() {
		held[a.health[s].Addr] = true
	}
	if want := 4 + len(services()); len(held) != want {
		t.Errorf("%d addresses, want %d: %v", len(held), want, held)
	}
	for address := range held {
		if err := take(address); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s could be taken: %v", address, err)
		}
	}
	if err := a.release(); err != nil {
		t.Error(err)
	}
	for address := range held {
		if err := take(address); err != nil {
			t.Errorf("%s was not given back: %v", address, err)
		}
	}
}

// take binds a socket that shares its port with no other.
func take(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())})
}
