// Package loopback reserves TCP ports of this machine for processes that will
// listen on them later, and perhaps again and again: a launcher that only looked
// for free ports would lose some of them to others before its processes listen.
// It is for development deployments and tests.
package loopback

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Port is a reserved TCP port of 127.0.0.1. Until Close the kernel gives it to
// nobody who asks for any free port, nor to a connection as its own end; who
// names it can listen there, if, as Go's net.Listen and PostgreSQL do, they set
// SO_REUSEADDR, and again after they have ended.
type Port struct {
	// Addr is the port's address, host:port; Number is the port alone.
	Addr   string
	Number uint16

	held *os.File
}

// Reserve reserves a free port. A port is held by a socket that is bound and
// does not listen: Linux lets another one listen beside it where both have
// SO_REUSEADDR, but never picks its port (see ip_autobind_reuse, ip-sysctl.rst).
func Reserve() (*Port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserving a port: %w", os.NewSyscallError("socket", err))
	}
	held := os.NewFile(uintptr(fd), "reserved port")
	p, err := bind(fd)
	if err != nil {
		_ = held.Close()
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	p.held = held
	return p, nil
}

func bind(fd int) (*Port, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: host.As4()}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	number := uint16(name.(*unix.SockaddrInet4).Port) // a socket of AF_INET has no other name
	return &Port{Addr: netip.AddrPortFrom(host, number).String(), Number: number}, nil
}

// Close gives the port back. Who listens on it goes on.
func (p *Port) Close() error { return p.held.Close() }
