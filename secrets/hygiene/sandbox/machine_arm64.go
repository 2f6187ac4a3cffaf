package sandbox

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What these are is said in machine_amd64.go.
const (
	auditArch      = unix.AUDIT_ARCH_AARCH64
	foreignFrom    = 0 // 32-bit calls have an architecture of their own
	lowWord        = 0
	cloneFlags     = 0
	filtersSockets = true
)

var machineConditional = []rule{
	{unix.SYS_MMAP, slices.Concat(argument(2), noneOf(unix.EACCES, unix.PROT_EXEC), []bpf.Instruction{allow})},
}

var machineRefusals = []refusal{{fail(refusedWrite), []uint32{unix.SYS_RENAMEAT}}}
