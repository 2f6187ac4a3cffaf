// Package sandbox has a process give up, for good and in all of its threads,
// what it does not need once it has started: starting programs, writing files,
// reading any but named ones, sockets other than TCP, TCP ports other than named
// ones, and the system calls that attacks on kernels are made of.
//
// It trusts the kernel, which keeps it by seccomp and Landlock. It is for the
// case that somebody runs code of their own inside the process. It gives
// nothing back, and leaves out nothing without saying so in State. What it
// takes from the process, what it does not, and why, is in
// docs/decisions/sandbox.md.
package sandbox

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Config is what stays open. The zero Config leaves what the Go runtime and the
// process's own metrics need, and no TCP port at all.
type Config struct {
	// Read are the files and folders that may still be read; they must be
	// there. A folder stands for all that is in it, now or later. A file stands
	// for itself: one that takes its place under the same name is another. So
	// name the folder of a file that is replaced by renaming.
	Read []string
	// ConnectTCP are the ports that may be connected to, on any host.
	ConnectTCP []uint16
	// BindTCP are the ports that may be listened on; 0 stands for those that
	// the kernel picks where port 0 is asked for.
	BindTCP []uint16
	// Names says that the process looks host names up: it may then read the
	// resolver's files and ask servers at port 53, by UDP and TCP. Looking up
	// is done by Go alone from then on, without the C library's plug-ins.
	Names bool
	// Roots says that the process verifies certificates by the system's root
	// certificates. They are read now, and later changes are not seen.
	Roots bool
}

// Merge returns what either of the two leaves open.
func (c Config) Merge(other Config) Config {
	return Config{
		Read:       slices.Concat(c.Read, other.Read),
		ConnectTCP: slices.Concat(c.ConnectTCP, other.ConnectTCP),
		BindTCP:    slices.Concat(c.BindTCP, other.BindTCP),
		Names:      c.Names || other.Names,
		Roots:      c.Roots || other.Roots,
	}
}

// Part is one thing that is enforced or not.
type Part string

// The parts. The first two are seccomp's, the others Landlock's.
const (
	SystemCalls Part = "system_calls" // no programs, no writing, none of the refused calls
	Sockets     Part = "sockets"      // TCP only, and UDP where names are looked up
	Files       Part = "files"        // reading what is in Config.Read only
	Ports       Part = "tcp_ports"    // those of Config only
)

// Parts are all of them.
func Parts() []Part { return []Part{SystemCalls, Sockets, Files, Ports} }

// State says what is enforced in this process from now on.
type State struct {
	// Landlock is the version of Landlock's ABI whose rules are in force; 0:
	// none.
	Landlock int
	// Missing are the parts that the kernel does not enforce, and why.
	Missing map[Part]error
}

// Enforced returns the parts that are enforced.
func (s State) Enforced() []Part {
	return slices.DeleteFunc(Parts(), func(p Part) bool { return s.Missing[p] != nil })
}

// Lacks returns an error that says which of the parts are not enforced, or nil.
func (s State) Lacks(parts ...Part) error {
	var out []error
	for _, p := range Parts() {
		if reason := s.Missing[p]; reason != nil && slices.Contains(parts, p) {
			out = append(out, fmt.Errorf("%s: %w", p, reason))
		}
	}
	return errors.Join(out...)
}

// Enter closes the sandbox around the process, as far as the kernel can. It
// fails, with part of it closed or none, where a path of c cannot be found or
// where the kernel accepts what it then does not enforce. Call it once, before
// the first name is looked up, and when nothing that it takes is needed any
// more.
func Enter(c Config) (State, error) {
	rules, err := c.paths()
	if err != nil {
		return State{}, fmt.Errorf("entering sandbox: %w", err)
	}
	if err := load(c); err != nil {
		return State{}, fmt.Errorf("entering sandbox: %w", err)
	}
	s := State{Missing: map[Part]error{}}
	// Landlock first: seccomp refuses some of what it takes to set that up.
	s.Landlock, err = restrict(c, rules)
	if s.Landlock < landlockFiles {
		s.Missing[Files] = err
	}
	if s.Landlock < landlockPorts {
		s.Missing[Ports] = err
	}
	if err := filter(c); err != nil {
		s.Missing[SystemCalls], s.Missing[Sockets] = err, err
	} else if !filtersSockets {
		s.Missing[Sockets] = errSocketCall
	}
	if err := s.verify(); err != nil {
		return s, fmt.Errorf("entering sandbox: %w", err)
	}
	return s, nil
}

// load has the standard library read now what it otherwise reads when it is
// first used.
func load(c Config) error {
	_, _ = time.Now().Zone() // the local time zone
	if c.Names {
		// The C library's plug-ins want to open sockets and libraries that
		// are refused.
		net.DefaultResolver.PreferGo = true
	}
	if c.Roots {
		if _, err := x509.SystemCertPool(); err != nil {
			return fmt.Errorf("reading the system's root certificates: %w", err)
		}
	}
	return nil
}

// Port returns the port of a host:port, whose port may be a service's name.
func Port(address string) (uint16, error) {
	_, name, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	port, err := net.LookupPort("tcp", name)
	if err != nil {
		return 0, err
	}
	return uint16(port), nil
}
