package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/secrets/hygiene/sandbox"
)

// acts are what children try. Each returns the kernel's error.
var acts = map[string]func(order, prepared) error{
	"read a named file":             func(o order, _ prepared) error { return read(o.Folder, "alone") },
	"read in a named folder":        func(o order, _ prepared) error { return read(o.Folder, "named/file") },
	"read another file":             func(o order, _ prepared) error { return read(o.Folder, "secret") },
	"read by way of a named folder": func(o order, _ prepared) error { return read(o.Folder, "named/../secret") },
	"read by way of a link":         func(o order, _ prepared) error { return read(o.Folder, "named/link") },
	"list a named folder":           func(o order, _ prepared) error { _, err := os.ReadDir(o.in("named")); return err },
	"list another folder":           func(o order, _ prepared) error { _, err := os.ReadDir(o.Folder); return err },
	"read another process":          func(order, prepared) error { return read("/proc", "1/status") },
	"read what metrics need": func(order, prepared) error {
		return readAll("/proc/self/stat", "/proc/self/limits", "/proc/self/net/netstat", "/proc/stat")
	},
	"hold what metrics need": func(order, prepared) error {
		return held("/proc/stat", "/proc/sys/net/core/somaxconn", fmt.Sprint("/proc/", os.Getpid()))
	},
	"read the backlog's limit":  func(order, prepared) error { return read("/proc/sys/net/core", "somaxconn") },
	"read the resolver's files": func(order, prepared) error { return readThere("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf") },
	"look up a name":            func(order, prepared) error { _, err := net.LookupHost("localhost"); return err },

	"write a named file":      func(o order, _ prepared) error { return open(o.Folder, "alone", os.O_WRONLY) },
	"write in a named folder": func(o order, _ prepared) error { return open(o.Folder, "named/file", os.O_RDWR) },
	"truncate by opening":     func(o order, _ prepared) error { return open(o.Folder, "alone", os.O_RDONLY|os.O_TRUNC) },
	"make a file":             func(o order, _ prepared) error { return open(o.Folder, "named/new", os.O_CREATE|os.O_WRONLY) },
	"make a nameless file":    func(o order, _ prepared) error { return open(o.Folder, "named", unix.O_TMPFILE|os.O_RDWR) },
	"write by openat2": func(o order, _ prepared) error {
		_, err := unix.Openat2(unix.AT_FDCWD, filepath.Join(o.Folder, "alone"), &unix.OpenHow{Flags: unix.O_WRONLY})
		return err
	},
	"make a folder":    func(o order, _ prepared) error { return os.Mkdir(filepath.Join(o.Folder, "named/d"), 0o700) },
	"remove":           func(o order, _ prepared) error { return os.Remove(filepath.Join(o.Folder, "alone")) },
	"rename":           func(o order, _ prepared) error { return os.Rename(o.in("alone"), o.in("moved")) },
	"link":             func(o order, _ prepared) error { return os.Link(o.in("alone"), o.in("linked")) },
	"link by a symbol": func(o order, _ prepared) error { return os.Symlink(o.in("alone"), o.in("linked")) },
	"truncate":         func(o order, _ prepared) error { return os.Truncate(o.in("alone"), 0) },
	"change the mode":  func(o order, _ prepared) error { return os.Chmod(o.in("secret"), 0o666) },
	"change the owner": func(o order, _ prepared) error { return os.Lchown(o.in("secret"), os.Getuid(), os.Getgid()) },
	"change attributes": func(o order, _ prepared) error {
		return unix.Setxattr(o.in("secret"), "user.x", []byte("y"), 0)
	},

	"start a program":      func(order, prepared) error { return start() },
	"fork":                 func(order, prepared) error { return fork() },
	"execute":              func(order, prepared) error { return unix.Exec("/proc/self/exe", []string{"x"}, nil) },
	"execute a descriptor": func(order, prepared) error { return call(unix.SYS_EXECVEAT) },
	"trace": func(order, prepared) error {
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0, 0, 0)
		return errno
	},
	"read another process's memory": func(order, prepared) error { return call(unix.SYS_PROCESS_VM_READV) },
	"load into the kernel":          func(order, prepared) error { return call(unix.SYS_BPF) },
	"load a module":                 func(order, prepared) error { return call(unix.SYS_FINIT_MODULE) },
	"make a call of x32":            func(order, prepared) error { return call(x32) },
	"make a 32-bit call":            func(_ order, p prepared) error { p.code(); return nil },
	"signal the parent":             func(order, prepared) error { return unix.Kill(os.Getppid(), 0) },
	"signal everybody":              func(order, prepared) error { return unix.Kill(-1, 0) },
	"signal itself":                 func(order, prepared) error { return unix.Kill(os.Getpid(), 0) },
	"leave the namespace":           func(order, prepared) error { return unix.Unshare(unix.CLONE_NEWUSER) },

	"make code writable":      func(order, prepared) error { return mapped(unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC) },
	"make pages executable":   func(order, prepared) error { return protected(unix.PROT_READ | unix.PROT_EXEC) },
	"make pages read-only":    func(order, prepared) error { return protected(unix.PROT_READ) },
	"make a Unix socket":      func(order, prepared) error { return socket(unix.AF_UNIX, unix.SOCK_STREAM, 0) },
	"make a netlink socket":   func(order, prepared) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, 0) },
	"make a vsock socket":     func(order, prepared) error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"make a packet socket":    func(order, prepared) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
	"make a crypto socket":    func(order, prepared) error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
	"make a raw socket":       func(order, prepared) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
	"make a multipath socket": func(order, prepared) error { return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP) },
	"make a UDP socket":       func(order, prepared) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, 0) },

	"connect to a named port":   func(o order, _ prepared) error { return dial(o.Port) },
	"connect to another port":   func(o order, _ prepared) error { return dial(o.Other) },
	"connect by the first byte": func(o order, _ prepared) error { return fastOpen(o.Other) },
	"listen on a named port":    func(o order, _ prepared) error { return listen(int(o.Config.BindTCP[0])) },
	"listen on another port":    func(o order, _ prepared) error { return bind(o.Other + 1) },

	"escape on threads from before": func(o order, p prepared) error { return onThreads(o, p) },
	"escape on new threads":         func(o order, _ prepared) error { return onNewThreads(o) },
	"measure getpid":                func(order, prepared) error { return measure(func() { unix.Getpid() }) },
	"measure kill":                  func(order, prepared) error { return measure(func() { _ = unix.Kill(os.Getpid(), 0) }) },
	"make every refused call":       func(order, prepared) error { return everyRefused() },
}

func (o order) in(name string) string { return filepath.Join(o.Folder, name) }

func read(folder, name string) error {
	_, err := os.ReadFile(filepath.Clean(folder) + "/" + name)
	return err
}

func readAll(paths ...string) error {
	for _, p := range paths {
		if _, err := os.ReadFile(p); err != nil {
			return err
		}
	}
	return nil
}

// readThere reads those that there are.
func readThere(paths ...string) error {
	for _, p := range paths {
		if _, err := os.ReadFile(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// held fails where one of the paths is not open.
func held(paths ...string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		open[target] = true
	}
	for _, p := range paths {
		if !open[p] {
			return fmt.Errorf("%s is not held open", p)
		}
	}
	return nil
}

func open(folder, name string, flags int) error {
	f, err := os.OpenFile(filepath.Join(folder, name), flags, 0o600)
	if err == nil {
		_ = f.Close()
	}
	return err
}

// call makes a system call whose arguments no kernel accepts.
func call(number uintptr) error {
	const bad = ^uintptr(0)
	_, _, errno := unix.RawSyscall6(number, bad, bad, bad, bad, bad, bad)
	return errno
}

// start starts a program with files that are open already.
func start() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// fork makes a process, without os/exec.
func fork() error {
	_, err := syscall.ForkExec("/proc/self/exe", []string{"x"}, &syscall.ProcAttr{})
	return err
}

func mapped(protection int) error {
	_, err := unix.Mmap(-1, 0, unix.Getpagesize(), protection, unix.MAP_PRIVATE|unix.MAP_ANON)
	return err
}

func protected(protection int) error {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return errors.New("mapping: " + err.Error()) // not the act's errno
	}
	return unix.Mprotect(page, protection)
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func dial(port int) error {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_ = c.Close()
	}
	return err
}

// fastOpen connects by sending, without connect(2).
func fastOpen(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return errors.New("socket: " + err.Error()) // not the act's errno
	}
	return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

// bind listens and nothing else.
func bind(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_ = l.Close()
	}
	return err
}

// listen serves one connection, by which it connects to itself.
func listen(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer l.Close()
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(c, "hello")
			_ = c.Close()
		}
		accepted <- err
	}()
	if err := dial(l.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	return <-accepted
}

func onThreads(o order, p prepared) error {
	*p.path = o.in("secret")
	var out error
	for _, thread := range p.threads {
		answer := make(chan error)
		thread <- answer
		out = errors.Join(out, <-answer)
	}
	return out
}

// onNewThreads shows as well that threads can still be made.
func onNewThreads(o order) error {
	var running sync.WaitGroup
	errs := make(chan error, 64)
	for range cap(errs) {
		running.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends as well
			errs <- tryEscape(o.in("secret"))
		})
	}
	running.Wait()
	runtime.GC()
	close(errs)
	var out error
	for err := range errs {
		out = errors.Join(out, err)
	}
	return out
}

// everyRefused makes every call that is refused whatever its arguments, but for
// those that end the process.
func everyRefused() error {
	var out error
	for number, answer := range sandbox.Refused() {
		if answer == killed {
			continue
		}
		if err := call(uintptr(number)); !errors.Is(err, unix.Errno(answer&unix.SECCOMP_RET_DATA)) {
			out = errors.Join(out, fmt.Errorf("call %d: %s", number, err.Error()))
		}
	}
	return out
}

// measure returns an error whose text is the nanoseconds that do takes, in the
// best of many rounds: in the others the machine did something else as well.
func measure(do func()) error {
	const rounds, times = 200, 5000
	best := math.Inf(1)
	for range rounds {
		begin := time.Now()
		for range times {
			do()
		}
		best = min(best, float64(time.Since(begin).Nanoseconds())/times)
	}
	return fmt.Errorf("%f", best)
}
