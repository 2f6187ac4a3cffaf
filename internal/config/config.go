// Package config reads the configuration file of one service: one commented
// struct per service, in YAML.
//
// It trusts whoever can write the file and the files that it names, and it
// fails closed: an unknown or misspelled key, a second document, a missing
// value or a private file that others may read stops the start. Secrets never
// stand in a configuration, only the paths of the files that hold them. The
// package opens no connection and keeps no state.
package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/countersign/countersign/internal/strictyaml"
)

// maxFile is the most bytes that a configuration may have: far more than any
// real one, far less than what would hurt.
const maxFile = 1 << 20

// Config is the configuration of one service, one of this package's structs.
type Config interface {
	// Validate reports every fault at once. It reads no file.
	Validate() error
	// resolve makes the paths absolute; relative ones count from dir.
	resolve(dir string)
}

// Load reads the YAML file at path into cfg and validates it. Relative paths
// inside the file count from the file's own folder.
func Load(path string, cfg Config) error {
	b, err := readLimited(path)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	if err := strictyaml.Decode(b, cfg); err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	cfg.resolve(dir)
	return nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return b, nil
}

// faults collects what Validate finds, so that all of it is reported at once.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f *faults) need(name, value string) {
	if value == "" {
		f.add("%s is missing", name)
	}
}

func (f *faults) needAddress(name, value string) {
	if value == "" {
		f.add("%s is missing", name)
		return
	}
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
		f.add("%s %q is not host:port", name, value)
	}
}

func (f *faults) needLoopback(name, value string) {
	f.needAddress(name, value)
	host, _, err := net.SplitHostPort(value)
	if ip := net.ParseIP(host); err == nil && (ip == nil || !ip.IsLoopback()) {
		f.add("%s %q is not a loopback address", name, value)
	}
}

func (f *faults) join() error { return errors.Join(*f...) }

func absolute(dir string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
