package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keyFile is a key set in a file, which is looked at again and again. What
// counts is its content, not its date: a mounted secret is exchanged under an
// old date, and a file may change twice in one tick. A file that is broken or
// gone changes nothing but the log and the metric: the operator who writes it
// is there to mend it.
type keyFile struct {
	path string
	poll time.Duration
	log  *slog.Logger

	mu    sync.Mutex
	set   *keySet
	raw   []byte // of set
	read  time.Time
	fault string // why the last look found no keys; "": it did
}

var errNoUsableKey = errors.New("it holds no EdDSA, ES256 or RS256 key")

// openKeyFile reads the file for the first time.
func openKeyFile(path string, timing Timing, log *slog.Logger) (*keyFile, error) {
	f := &keyFile{path: path, poll: timing.Poll, log: log}
	var err error
	if f.raw, err = readKeyFile(path); err != nil {
		return nil, err
	}
	if f.set, err = strictKeySet(f.raw); err != nil {
		return nil, err
	}
	f.read = time.Now()
	return f, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("key set has more than %d bytes", maxDocument)
	}
	return b, nil
}

// strictKeySet accepts no faulty key at all: whoever writes the file can mend
// it, and a private key in it is no longer one.
func strictKeySet(b []byte) (*keySet, error) {
	set, wrong, err := parseKeySet(b)
	if err := errors.Join(err, wrong); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if set.len() == 0 {
		return nil, fmt.Errorf("key set: %w", errNoUsableKey)
	}
	return set, nil
}

func (f *keyFile) current() *keySet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set
}

// renew has nothing to do: the file is looked at soon enough.
func (f *keyFile) renew(context.Context) error { return nil }

func (f *keyFile) run(ctx context.Context) {
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look reads the file again. Only run calls it.
func (f *keyFile) look() {
	raw, err := readKeyFile(f.path)
	set := f.current()
	if err == nil && !bytes.Equal(raw, f.raw) {
		set, err = strictKeySet(raw)
	}
	if err != nil {
		f.broken(err)
		return
	}
	f.accept(set, raw)
}

func (f *keyFile) broken(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := brief(err); fault != f.fault {
		f.fault = fault
		f.log.Warn("key file is broken: the keys of before stay in use", "error", fault)
	}
}

func (f *keyFile) accept(set *keySet, raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := !set.same(f.set)
	if changed || f.fault != "" {
		f.log.Info("key file was read", "keys", set.len(), "changed", changed)
	}
	if changed {
		f.set = set
	}
	f.raw, f.read, f.fault = raw, time.Now(), ""
}

func (f *keyFile) state() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{Keys: f.set.len(), Read: f.read, Failing: f.fault != ""}
}
