package sandbox_test

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/secrets/hygiene/sandbox"
)

const (
	allowed = uint32(unix.SECCOMP_RET_ALLOW)
	killed  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	refused = uint32(unix.SECCOMP_RET_ERRNO) // and the errno
)

// own is the process that the filter is for.
const own = 4321

// ask runs the filter on one call in user space.
func ask(t *testing.T, names bool, arch, call uint32, arguments ...uint32) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(sandbox.Program(names, own))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64) // struct seccomp_data; the VM reads big-endian
	binary.BigEndian.PutUint32(data[0:], call)
	binary.BigEndian.PutUint32(data[4:], arch)
	for i, v := range arguments {
		binary.BigEndian.PutUint32(data[16+8*i+sandbox.LowWord:], v)
	}
	answer, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(answer)
}

// TestFilter asks the filter about calls that cannot be tried in a test: they
// would end it, or need another processor.
func TestFilter(t *testing.T) {
	const threads = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	const tcp, udp = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	tests := map[string]struct {
		names     bool
		call      uint32
		arguments []uint32
		want      uint32
	}{
		"thread":                  {call: unix.SYS_CLONE, arguments: []uint32{threads}, want: allowed},
		"process":                 {call: unix.SYS_CLONE, arguments: []uint32{uint32(unix.SIGCHLD)}, want: refused | uint32(unix.EPERM)},
		"process-by-vfork":        {call: unix.SYS_CLONE, arguments: []uint32{unix.CLONE_VM | unix.CLONE_VFORK}, want: refused | uint32(unix.EPERM)},
		"thread-in-new-namespace": {call: unix.SYS_CLONE, arguments: []uint32{threads | unix.CLONE_NEWNET}, want: refused | uint32(unix.EPERM)},
		"clone3":                  {call: unix.SYS_CLONE3, want: refused | uint32(unix.ENOSYS)},
		"tcp":                     {call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET, tcp, 0}, want: allowed},
		"tcp-by-number":           {call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET6, tcp, unix.IPPROTO_TCP}, want: allowed},
		"udp-for-names":           {names: true, call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET, udp, 0}, want: allowed},
		"udp":                     {call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET, udp, 0}, want: refused | uint32(unix.EPERM)},
		"raw":                     {names: true, call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, want: refused | uint32(unix.EPERM)},
		"sctp":                    {names: true, call: unix.SYS_SOCKET, arguments: []uint32{unix.AF_INET, tcp, unix.IPPROTO_SCTP}, want: refused | uint32(unix.EPROTONOSUPPORT)},
		"signal-to-itself":        {call: unix.SYS_KILL, arguments: []uint32{own, uint32(unix.SIGABRT)}, want: allowed},
		"signal-to-another":       {call: unix.SYS_KILL, arguments: []uint32{1, uint32(unix.SIGKILL)}, want: refused | uint32(unix.EPERM)},
		"signal-to-all":           {call: unix.SYS_KILL, arguments: []uint32{0xffffffff, uint32(unix.SIGKILL)}, want: refused | uint32(unix.EPERM)},
		"preemption":              {call: unix.SYS_TGKILL, arguments: []uint32{own, own + 1, uint32(unix.SIGURG)}, want: allowed},
		"read-only":               {call: unix.SYS_OPENAT, arguments: []uint32{0, 0, unix.O_RDONLY | unix.O_CLOEXEC | unix.O_DIRECTORY}, want: allowed},
		"write":                   {call: unix.SYS_OPENAT, arguments: []uint32{0, 0, unix.O_WRONLY}, want: refused | uint32(unix.EACCES)},
		"read-and-write":          {call: unix.SYS_OPENAT, arguments: []uint32{0, 0, unix.O_RDWR}, want: refused | uint32(unix.EACCES)},
		"nameless-file":           {call: unix.SYS_OPENAT, arguments: []uint32{0, 0, unix.O_TMPFILE}, want: refused | uint32(unix.EACCES)},
		"data-pages":              {call: unix.SYS_MPROTECT, arguments: []uint32{0, 0, unix.PROT_READ | unix.PROT_WRITE}, want: allowed},
		"code-pages":              {call: unix.SYS_MPROTECT, arguments: []uint32{0, 0, unix.PROT_READ | unix.PROT_EXEC}, want: refused | uint32(unix.EACCES)},
		"program":                 {call: unix.SYS_EXECVE, want: killed},
		"what-nobody-named":       {call: unix.SYS_GETTID, want: allowed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ask(t, tt.names, arch(t), tt.call, tt.arguments...); got != tt.want {
				t.Errorf("answer is %#x, want %#x", got, tt.want)
			}
		})
	}
	t.Run("AttackForeignArchitecture", func(t *testing.T) {
		for _, foreign := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_S390, 0} {
			if got := ask(t, true, foreign, unix.SYS_READ); got != killed {
				t.Errorf("architecture %#x: answer is %#x", foreign, got)
			}
		}
	})
}

// TestAttackSystemCalls: what attacks on kernels and on other processes are made
// of is refused, by whatever name.
func TestAttackSystemCalls(t *testing.T) {
	calls := append([]uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_CHROOT,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_PERSONALITY,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CLONE3, unix.SYS_MEMFD_CREATE, unix.SYS_SETUID, unix.SYS_CAPSET,
		unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_CLOCK_SETTIME, unix.SYS_SHMGET, unix.SYS_FCHMODAT, unix.SYS_UNLINKAT,
	}, olderCalls...)
	for _, call := range calls {
		if got := ask(t, true, arch(t), call); got == allowed {
			t.Errorf("call %d is allowed", call)
		}
	}
}

// arch finds the processor's own architecture: the one that may read.
func arch(t *testing.T) uint32 {
	t.Helper()
	for _, a := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_S390X} {
		if ask(t, false, a, unix.SYS_READ) == allowed {
			return a
		}
	}
	t.Skip("there is no filter for this processor")
	return 0
}
