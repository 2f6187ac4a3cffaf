package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/countersign/countersign/internal/message"
)

// Errors of Run that have something to be done about.
var (
	// ErrRunning says that another launcher runs in the folder.
	ErrRunning = errors.New("another countersign dev runs here")
	// ErrUnfinished says that the making of the deployment was cut short. It
	// holds nothing yet.
	ErrUnfinished = errors.New("the deployment was not finished")
	// ErrForeign says that what is there was not made by a launcher. Nothing of it
	// was touched.
	ErrForeign = errors.New("it is neither an empty folder nor a development deployment")
)

// layout names every file of a development deployment. Secrets have mode 0600;
// the folder itself lets others pass (0711), because PostgreSQL runs under
// another uid when the launcher is root.
type layout struct{ dir string }

func (l layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l layout) genesis() string              { return l.path("genesis.json") }
func (l layout) profile() string              { return l.path("dev.json") }
func (l layout) marker() string               { return l.path("countersign-dev") }
func (l layout) complete() string             { return l.path("complete") }
func (l layout) postgres() string             { return l.path("postgres") }
func (l layout) policy() string               { return l.path("policy.yaml") }
func (l layout) key(name string) string       { return l.path("keys", name+".pem") }
func (l layout) tls(name string) string       { return l.path("tls", name) }
func (l layout) config(service string) string { return l.path("config", service+".yaml") }
func (l layout) log(service string) string    { return l.path("logs", service+".log") }
func (l layout) pid(service string) string    { return l.path("run", service+".pid") }
func (l layout) secret(half string) string    { return l.path("secrets", half+".json") }
func (l layout) branch(service, half string) string {
	return l.path("secrets", service+"."+half+".json")
}

// prepare makes the folders, in a folder that is ours or empty. Others may hold
// somebody's keys, which making a deployment would replace.
func (l layout) prepare() error {
	if err := l.claim(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		// MkdirAll leaves a folder that exists as it is, often with mode 0700.
		if err := os.Chmod(l.dir, 0o711); err != nil {
			return fmt.Errorf("making the folder of the deployment: %w", err)
		}
	}
	for _, sub := range []string{"keys", "tls", "config", "logs", "run", "secrets"} {
		if err := os.MkdirAll(l.path(sub), 0o700); err != nil {
			return fmt.Errorf("making the folder of the deployment: %w", err)
		}
	}
	return nil
}

// claim makes the folder and, before anything else is in it, the marker by whose
// name a launcher that was killed at any moment after knows its own folder again.
func (l layout) claim() error {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(l.dir, 0o711)
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR), len(entries) > 0 && !l.ours():
		return fmt.Errorf("%s: %w", l.dir, ErrForeign)
	case err != nil:
		return fmt.Errorf("making the folder of the deployment: %w", err)
	}
	f, err := os.OpenFile(l.marker(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the folder of the deployment: %w", err)
	}
	return f.Close()
}

// ours says whether a launcher made what the folder holds. A launcher that knows
// no marker leaves the deployment's id in a deployment that it has completed.
func (l layout) ours() bool {
	if marker, err := os.Lstat(l.marker()); err == nil {
		return marker.Mode().IsRegular()
	}
	genesis, err := os.ReadFile(l.genesis())
	if err != nil {
		return false
	}
	id, err := os.ReadFile(l.complete())
	return err == nil && string(id) == message.Sum(genesis).String()+"\n"
}

// lock keeps a second launcher out of the folder; the lock ends with the
// process at the latest.
func (l layout) lock() (release func(), err error) {
	f, err := os.OpenFile(l.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", l.dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", l.dir, ErrRunning)
	}
	return func() { _ = f.Close() }, nil
}

// state says whether the folder holds a deployment already.
func (l layout) state() (made bool, err error) {
	if _, err := os.Stat(l.complete()); err == nil {
		return true, nil
	}
	if _, err := os.Stat(l.genesis()); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return false, fmt.Errorf("%s: %w", l.dir, ErrUnfinished)
}

// writeFile writes a file with mode 0600, replacing an older one at once.
func writeFile(path string, b []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
