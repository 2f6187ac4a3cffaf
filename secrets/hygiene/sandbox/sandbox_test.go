package sandbox_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/secrets/hygiene/sandbox"
)

// works is the errno of what succeeds.
const works = syscall.Errno(0)

// try runs acts in one child with an order of its own and compares what becomes
// of them.
func try(t *testing.T, o order, want map[string]syscall.Errno, parts ...sandbox.Part) {
	t.Helper()
	o.Acts = slices.Sorted(maps.Keys(want))
	r, status := o.run(t, nil)
	if r.Err != "" || !status.Exited() {
		t.Fatalf("the child says %q and ended with %v", r.Err, status)
	}
	needs(t, r, parts...)
	compare(t, r, want)
}

func compare(t *testing.T, r report, want map[string]syscall.Errno) {
	t.Helper()
	for name, errno := range want {
		if got := r.Results[name]; syscall.Errno(got.Errno) != errno {
			t.Errorf("%s: %q, want %q", name, got.Text, errno)
		}
	}
}

// listener returns a port of this process's that answers.
func listener(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// free returns a port that nobody listens on.
func free(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// TestAttackFilesReadFromInside: only what is named can be read.
func TestAttackFilesReadFromInside(t *testing.T) {
	folder := outside(t)
	if err := os.Symlink(filepath.Join(folder, "secret"), filepath.Join(folder, "named", "link")); err != nil {
		t.Fatal(err)
	}
	o := order{Folder: folder, Config: sandbox.Config{
		Read: []string{filepath.Join(folder, "named"), filepath.Join(folder, "alone")}, Names: true,
	}}
	try(t, o, map[string]syscall.Errno{
		"read a named file": works, "read in a named folder": works, "list a named folder": works,
		"read another file": unix.EACCES, "read by way of a named folder": unix.EACCES,
		"read by way of a link": unix.EACCES, "list another folder": unix.EACCES,
		"read another process":   unix.EACCES,
		"read what metrics need": works, "read the backlog's limit": works, "hold what metrics need": works,
		"read the resolver's files": works, "look up a name": works,
	}, sandbox.Files)
	o.Config.Names = false
	if _, err := os.Stat("/etc/hosts"); err == nil {
		try(t, o, map[string]syscall.Errno{"read the resolver's files": unix.EACCES}, sandbox.Files)
	}
}

// TestReplacedFile: what takes the place of a file can be read where the folder
// is named, and cannot where the file is.
func TestReplacedFile(t *testing.T) {
	folder := outside(t)
	o := order{
		Folder: folder, Acts: []string{"read a named file", "read in a named folder"},
		Config: sandbox.Config{Read: []string{filepath.Join(folder, "named"), filepath.Join(folder, "alone")}},
	}
	r, _ := o.run(t, func() {
		for _, name := range []string{"alone", "named/file"} {
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path+".new", []byte("new"), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Error(err)
			}
		}
	})
	needs(t, r, sandbox.Files)
	compare(t, r, map[string]syscall.Errno{"read a named file": unix.EACCES, "read in a named folder": works})
}

// TestAttackFilesWrittenFromInside: nothing can be written or changed, also what
// may be read.
func TestAttackFilesWrittenFromInside(t *testing.T) {
	folder := outside(t)
	o := order{Folder: folder, Config: sandbox.Config{Read: []string{folder}}}
	want := map[string]syscall.Errno{"read another file": works, "write by openat2": unix.ENOSYS}
	for _, name := range []string{
		"write a named file", "write in a named folder", "truncate by opening", "make a file", "make a nameless file",
		"make a folder", "remove", "rename", "link", "link by a symbol", "truncate", "change the mode", "change the owner", "change attributes",
	} {
		want[name] = unix.EACCES
	}
	t.Run("by-both", func(t *testing.T) { try(t, o, want, sandbox.SystemCalls) })
	t.Run("by-seccomp-alone", func(t *testing.T) {
		o.Answers = map[uint32]uint32{unix.SYS_LANDLOCK_CREATE_RULESET: refused | uint32(unix.ENOSYS)}
		try(t, o, want, sandbox.SystemCalls)
	})
}

// TestAttackProgramsFromInside: no program can be started, and what only an
// attack does ends the process.
func TestAttackProgramsFromInside(t *testing.T) {
	try(t, order{}, map[string]syscall.Errno{
		"start a program": unix.EPERM, "fork": unix.EPERM, "leave the namespace": unix.EPERM,
		"signal the parent": unix.EPERM, "signal everybody": unix.EPERM, "signal itself": works,
		"make code writable": unix.EACCES, "make pages executable": unix.EACCES, "make pages read-only": works,
		"make every refused call": works,
	}, sandbox.SystemCalls)
	deadly := []string{
		"execute", "execute a descriptor", "trace", "read another process's memory", "load into the kernel", "load a module",
	}
	if x32 != 0 {
		deadly = append(deadly, "make a call of x32", "make a 32-bit call")
	}
	for _, name := range deadly {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r, status := order{Acts: []string{name}}.run(t, nil)
			if !status.Signaled() || status.Signal() != unix.SIGSYS {
				t.Errorf("the child ended with %#x and says %+v, want SIGSYS", status, r.Results)
			}
		})
	}
}

// TestAttackSocketsFromInside: no way to other programs on the machine or into
// the kernel, and to others only by TCP.
func TestAttackSocketsFromInside(t *testing.T) {
	want := map[string]syscall.Errno{
		"make a Unix socket": unix.EAFNOSUPPORT, "make a netlink socket": unix.EAFNOSUPPORT,
		"make a vsock socket": unix.EAFNOSUPPORT, "make a packet socket": unix.EAFNOSUPPORT,
		"make a crypto socket": unix.EAFNOSUPPORT, "make a raw socket": unix.EPERM,
		"make a multipath socket": unix.EPROTONOSUPPORT, "make a UDP socket": unix.EPERM,
	}
	try(t, order{}, want, sandbox.Sockets)
	want["make a UDP socket"] = works
	try(t, order{Config: sandbox.Config{Names: true}}, want, sandbox.Sockets)
}

// TestAttackPortsFromInside: named ports are all that there is; Go's multipath
// listeners and TCP Fast Open are no way around.
func TestAttackPortsFromInside(t *testing.T) {
	o := order{Port: listener(t), Other: listener(t)}
	o.Config = sandbox.Config{BindTCP: []uint16{free(t)}, ConnectTCP: []uint16{uint16(o.Port)}}
	want := map[string]syscall.Errno{
		"connect to a named port": works, "connect to another port": unix.EACCES, "connect by the first byte": unix.EPERM,
		"listen on another port": unix.EACCES,
	}
	try(t, o, want, sandbox.Ports, sandbox.Sockets)
	o.Config.ConnectTCP = o.Config.BindTCP
	try(t, o, map[string]syscall.Errno{"listen on a named port": works}, sandbox.Ports)
	o.Config.BindTCP, o.Config.ConnectTCP = []uint16{0}, nil
	try(t, o, map[string]syscall.Errno{"listen on another port": unix.EACCES, "connect to a named port": unix.EACCES}, sandbox.Ports)
}

// TestAllThreads: the threads that there were, and those that come.
func TestAllThreads(t *testing.T) {
	o := order{Folder: outside(t)}
	try(t, o, map[string]syscall.Errno{
		"escape on threads from before": works, "escape on new threads": works,
	}, sandbox.Parts()...)
}

// TestOlderKernel: what the kernel does not have is said, and the rest enforced.
func TestOlderKernel(t *testing.T) {
	tests := map[string]struct {
		call     uint32
		errno    syscall.Errno
		enforced []sandbox.Part
	}{
		"no-landlock":      {unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS, []sandbox.Part{sandbox.SystemCalls, sandbox.Sockets}},
		"landlock-refused": {unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM, []sandbox.Part{sandbox.SystemCalls, sandbox.Sockets}},
		"no-seccomp":       {unix.SYS_SECCOMP, unix.EINVAL, []sandbox.Part{sandbox.Files, sandbox.Ports}},
	}
	whole, _ := order{}.run(t, nil)
	needs(t, whole, sandbox.Parts()...)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, status := order{Answers: map[uint32]uint32{tt.call: refused | uint32(tt.errno)}}.run(t, nil)
			if r.Err != "" || !status.Exited() || !slices.Equal(r.Enforced, tt.enforced) {
				t.Errorf("enforced are %v, want %v; %s %v", r.Enforced, tt.enforced, r.Err, status)
			}
		})
	}
}

// TestAttackKernelThatOnlySaysYes: a kernel, or what stands for one, that
// accepts and does nothing.
func TestAttackKernelThatOnlySaysYes(t *testing.T) {
	whole, _ := order{}.run(t, nil)
	needs(t, whole, sandbox.Parts()...)
	for name, call := range map[string]uint32{"landlock": unix.SYS_LANDLOCK_RESTRICT_SELF, "seccomp": unix.SYS_SECCOMP} {
		t.Run(name, func(t *testing.T) {
			r, _ := order{Answers: map[uint32]uint32{call: refused}}.run(t, nil) // errno 0: success
			if !r.NotKept {
				t.Errorf("it was believed: enforced are %v, error %q", r.Enforced, r.Err)
			}
		})
	}
}

func TestEnterRefusesPathsThatAreNotThere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	r, _ := order{Config: sandbox.Config{Read: []string{missing}}}.run(t, nil)
	if !strings.Contains(r.Err, missing) {
		t.Errorf("error is %q, want one that names %s", r.Err, missing)
	}
}

func TestPort(t *testing.T) {
	for address, want := range map[string]uint16{"db.internal:5432": 5432, "[::1]:443": 443, "0.0.0.0:https": 443, ":0": 0} {
		if got, err := sandbox.Port(address); err != nil || got != want {
			t.Errorf("%s: %d, %v", address, got, err)
		}
	}
	for _, address := range []string{"", "db.internal", "db.internal:70000", "db.internal:nosuchservice"} {
		if got, err := sandbox.Port(address); err == nil {
			t.Errorf("fail/%s: %d", address, got)
		}
	}
}

func TestMerge(t *testing.T) {
	got := sandbox.Config{Read: []string{"/a"}, BindTCP: []uint16{1}, Names: true}.Merge(
		sandbox.Config{Read: []string{"/b"}, ConnectTCP: []uint16{2}, Roots: true})
	if fmt.Sprint(got) != fmt.Sprint(sandbox.Config{
		Read: []string{"/a", "/b"}, ConnectTCP: []uint16{2}, BindTCP: []uint16{1}, Names: true, Roots: true,
	}) {
		t.Errorf("merged into %+v", got)
	}
}

// BenchmarkSystemCall measures a call in the sandbox and outside: one that is
// always allowed, and one whose arguments are looked at.
func BenchmarkSystemCall(b *testing.B) {
	for _, name := range []string{"measure getpid", "measure kill"} {
		b.Run(strings.ReplaceAll(name, " ", "-")+"/outside", func(b *testing.B) {
			reportTime(b, resultOf(acts[name](order{Folder: "/"}, prepared{})))
		})
		b.Run(strings.ReplaceAll(name, " ", "-")+"/inside", func(b *testing.B) {
			r, _ := order{Acts: []string{name}, Folder: "/"}.run(b, nil)
			reportTime(b, r.Results[name])
		})
	}
}

func reportTime(b *testing.B, r result) {
	b.Helper()
	ns, err := strconv.ParseFloat(r.Text, 64)
	if err != nil {
		b.Fatal(r.Text)
	}
	b.ReportMetric(ns, "ns/call")
	b.ReportMetric(0, "ns/op")
}
