package sandbox

import (
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What the filter answers.
var (
	allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	kill  = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
)

func fail(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

// refusedWrite is what becomes of whatever would change a file, as Landlock
// answers too.
const refusedWrite = unix.EACCES

// Where the kernel's struct seccomp_data has what, in bytes: the call's number
// and the architecture in 4 each, the address in 8, six arguments in 8 each.
// Arguments that we ask for have 32 bits.
const (
	atNumber    = 0
	atArch      = 4
	atArguments = 16
)

func load32(at uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: at, Size: 4} }

func argument(i uint32) []bpf.Instruction {
	return []bpf.Instruction{load32(atArguments + 8*i + lowWord)}
}

// program is the filter. It allows what it does not name: see
// docs/decisions/sandbox.md. Names says that UDP is needed; pid is the process's
// own number, the only one that it may signal.
//
// Kernels from 5.11 on remember the calls that are always allowed and do not
// run the program for them. For older ones, those that a busy service makes stand
// first.
func program(names bool, pid uint32) []bpf.Instruction {
	p := []bpf.Instruction{
		load32(atArch),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		kill, // 32-bit calls, whose numbers mean something else
		load32(atNumber),
	}
	if foreignFrom != 0 {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: foreignFrom, SkipTrue: 1}, kill)
	}
	for _, call := range hot {
		p = append(p, when(call, allow)...)
	}
	for _, r := range slices.Concat(conditional(names, pid), machineConditional) {
		p = append(p, when(r.call, r.then...)...)
	}
	for _, refused := range slices.Concat(refusals, machineRefusals) {
		for _, call := range refused.calls {
			p = append(p, when(call, refused.answer)...)
		}
	}
	return append(p, allow)
}

// when runs then for one call; all of its ways must end in an answer, because
// it may load something else over the call's number.
func when(call uint32, then ...bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: uint8(len(then))},
	}, then...)
}

// rule is what becomes of a call by its arguments.
type rule struct {
	call uint32
	then []bpf.Instruction
}

// conditional are the calls of which the arguments decide.
func conditional(names bool, pid uint32) []rule {
	kinds := []uint32{unix.SOCK_STREAM}
	if names {
		kinds = append(kinds, unix.SOCK_DGRAM)
	}
	always := []bpf.Instruction{allow}
	itself := slices.Concat(argument(0), oneOf(unix.EPERM, pid), always)
	notExecutable := slices.Concat(argument(2), noneOf(unix.EACCES, unix.PROT_EXEC), always)
	return []rule{
		{unix.SYS_SOCKET, slices.Concat(
			// Neither Unix sockets (a database's, Docker's, D-Bus's) nor netlink,
			// vsock, AF_ALG and the like.
			argument(0), oneOf(unix.EAFNOSUPPORT, unix.AF_INET, unix.AF_INET6),
			socketKind, oneOf(unix.EPERM, kinds...),
			// Multipath TCP is what Landlock's ports do not hold, and what Go
			// tries first to listen on: it goes on with TCP.
			argument(2), oneOf(unix.EPROTONOSUPPORT, 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP), always,
		)},
		// TCP Fast Open connects without connect(2), which is what Landlock
		// looks at.
		{unix.SYS_SENDTO, slices.Concat(argument(3), noneOf(unix.EPERM, unix.MSG_FASTOPEN), always)},
		{unix.SYS_SENDMSG, slices.Concat(argument(2), noneOf(unix.EPERM, unix.MSG_FASTOPEN), always)},
		{unix.SYS_SENDMMSG, slices.Concat(argument(3), noneOf(unix.EPERM, unix.MSG_FASTOPEN), always)},
		// Threads, never processes or namespaces.
		{unix.SYS_CLONE, slices.Concat(
			argument(cloneFlags), noneOf(unix.EPERM, namespaces), someOf(unix.EPERM, unix.CLONE_THREAD), always,
		)},
		{unix.SYS_OPENAT, slices.Concat(argument(2), noneOf(refusedWrite, writing), always)},
		// No new machine code.
		{unix.SYS_MPROTECT, notExecutable},
		{unix.SYS_PKEY_MPROTECT, notExecutable},
		// Signals to itself alone; the Go runtime's preemption is one.
		{unix.SYS_KILL, itself},
		{unix.SYS_TGKILL, itself},
	}
}

// namespaces are the flags of clone(2) that make new ones.
const namespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS |
	unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

// writing are the flags of open(2) that change something.
const writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY

// socketKind loads the second argument of socket(2) without its flags.
var socketKind = append(argument(1), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf})

// oneOf goes on where the value that was loaded is one of these, and fails
// otherwise.
func oneOf(otherwise unix.Errno, these ...uint32) []bpf.Instruction {
	var out []bpf.Instruction
	for i, v := range these {
		out = append(out, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(these) - i)})
	}
	return append(out, fail(otherwise))
}

// noneOf goes on where the value that was loaded has none of the bits.
func noneOf(otherwise unix.Errno, bits uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: bits, SkipTrue: 1}, fail(otherwise)}
}

// someOf goes on where the value that was loaded has some of the bits.
func someOf(otherwise unix.Errno, bits uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: bits, SkipTrue: 1}, fail(otherwise)}
}
