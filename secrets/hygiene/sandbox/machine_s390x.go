package sandbox

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What these are is said in machine_amd64.go.
const (
	auditArch   = unix.AUDIT_ARCH_S390X
	foreignFrom = 0 // 31-bit calls have an architecture of their own
	lowWord     = 4 // big-endian
	cloneFlags  = 1
	// Go makes sockets by socketcall(2) here.
	filtersSockets = false
)

// mmap(2) takes a pointer to its arguments here.
var machineConditional = []rule{
	{unix.SYS_OPEN, slices.Concat(argument(1), noneOf(refusedWrite, writing), []bpf.Instruction{allow})},
}

var machineRefusals = []refusal{
	{fail(unix.EPERM), []uint32{
		unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_USELIB, unix.SYS__SYSCTL, unix.SYS_USTAT, unix.SYS_SYSFS, unix.SYS_IPC,
		unix.SYS_S390_PCI_MMIO_READ, unix.SYS_S390_PCI_MMIO_WRITE, unix.SYS_S390_RUNTIME_INSTR,
		unix.SYS_S390_GUARDED_STORAGE, unix.SYS_S390_STHYI,
	}},
	{fail(refusedWrite), []uint32{
		unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_MKNOD,
		unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN,
		unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	}},
}
