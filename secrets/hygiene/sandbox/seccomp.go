package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var (
	errArchitecture = errors.New("there is no filter for this processor")
	errSocketCall   = errors.New("this processor's socket call takes a pointer, which no filter looks behind")
	// errNotKept says that the kernel took an order that it does not follow.
	errNotKept = errors.New("the kernel does not enforce what it accepted")
)

// filter installs the filter of system calls in all threads.
func filter(c Config) error {
	if auditArch == 0 {
		return errArchitecture
	}
	program, err := bpf.Assemble(program(c.Names, uint32(unix.Getpid())))
	if err != nil {
		return fmt.Errorf("assembling filter of system calls: %w", err)
	}
	return install(program)
}

// install has the kernel ask the program about each system call from now on.
// The flags: TSYNC, for all threads at once. SPEC_ALLOW, because kernels before
// 5.16 otherwise slow the whole process down against speculation inside it,
// which is not what the filter is about.
func install(program []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(program))
	for i, in := range program {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	// no_new_privs belongs to the thread; TSYNC passes it on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		return fmt.Errorf("installing filter of system calls: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("installing filter of system calls: thread %d has another one", thread)
	}
	return nil
}

// verify tries what must not work any more.
func (s State) verify() error {
	if s.Missing[SystemCalls] == nil {
		mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
		if err != nil || mode != unix.SECCOMP_MODE_FILTER || !errors.Is(unix.Chmod("", 0), refusedWrite) {
			return fmt.Errorf("%s: %w", SystemCalls, errNotKept)
		}
	}
	if s.Missing[Files] == nil {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("%s: %w", Files, errNotKept)
		}
	}
	return nil
}
