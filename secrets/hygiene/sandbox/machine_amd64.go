package sandbox

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// foreignFrom is where the numbers of x32 begin: the same calls once more,
	// under other numbers.
	foreignFrom = 0x40000000
	// lowWord is where the low half of an argument stands.
	lowWord = 0
	// cloneFlags is which argument of clone(2) is the flags.
	cloneFlags = 0
	// filtersSockets says that a filter sees the arguments of socket(2).
	filtersSockets = true
)

// machineConditional are the calls that other processors do not have, or have
// with other arguments.
var machineConditional = []rule{
	{unix.SYS_OPEN, slices.Concat(argument(1), noneOf(refusedWrite, writing), []bpf.Instruction{allow})},
	{unix.SYS_MMAP, slices.Concat(argument(2), noneOf(unix.EACCES, unix.PROT_EXEC), []bpf.Instruction{allow})},
}

var machineRefusals = []refusal{
	{fail(unix.EPERM), []uint32{
		unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_USELIB, unix.SYS_MODIFY_LDT, unix.SYS_IOPL, unix.SYS_IOPERM,
		unix.SYS__SYSCTL, unix.SYS_USTAT, unix.SYS_SYSFS,
	}},
	{fail(refusedWrite), []uint32{
		unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_MKNOD,
		unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN,
		unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT,
	}},
}
