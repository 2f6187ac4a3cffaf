package loopback_test

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/internal/loopback"
)

func reserve(t *testing.T) *loopback.Port {
	t.Helper()
	p, err := loopback.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Who was told of the port listens on it, and again after a crash, with
// connections that are not gone yet.
func TestReservedPortCanBeListenedOn(t *testing.T) {
	p := reserve(t)
	for range 3 {
		l, err := net.Listen("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []interface{ Close() error }{server, client, l} { // the server's end waits
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Nobody else is given the port, also where no other is left: a socket whose
// choice is this port alone finds none. Without the reservation it gets it.
func TestReservedPortIsGivenToNobody(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	asks := map[string]func(fd int) error{
		"who listens anywhere": func(fd int) error {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		},
		"who connects": func(fd int) error {
			return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: target.Addr().(*net.TCPAddr).Port})
		},
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			p := reserve(t)
			if err := among(t, p.Number, ask); !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
				t.Errorf("while it is reserved: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if err := among(t, p.Number, ask); err != nil {
				t.Errorf("when it was given back: %v", err)
			}
		})
	}
}

// among runs ask with a socket for which the kernel may choose this port alone.
func among(t *testing.T, port uint16, ask func(fd int) error) error {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const portRange = 51 // IP_LOCAL_PORT_RANGE: lowest in the low half, highest in the high one
	err = unix.SetsockoptInt(fd, unix.SOL_IP, portRange, int(uint32(port)<<16|uint32(port)))
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("the kernel is older than 6.3")
	}
	if err != nil {
		t.Fatal(err)
	}
	return ask(fd)
}
