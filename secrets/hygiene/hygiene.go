// Package hygiene keeps what a process holds in memory from leaving it by way
// of the machine: as a core file, through a debugger or /proc/PID/mem, or in
// swap.
//
// It trusts the kernel. It protects from other processes of the same user and
// from files that outlive the process, never from root: that is the enclave's
// part.
package hygiene

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// State says what holds for this process.
type State struct {
	// MemoryLocked says that no page of the process is ever written to swap.
	MemoryLocked bool
	// Reason is why memory is not locked.
	Reason error
}

// Harden makes the process undumpable (prctl PR_SET_DUMPABLE, so that others of
// the same user cannot trace it either), forbids core files, and locks its
// memory where that is allowed: as root, with CAP_IPC_LOCK, or with an unlimited
// RLIMIT_MEMLOCK. It fails unless the first two hold; call it before any secret
// is read.
func Harden() (State, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return State{}, fmt.Errorf("making the process undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return State{}, fmt.Errorf("forbidding core files: %w", err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		return State{}, errors.Join(errors.New("the process is still dumpable"), err)
	}
	if err := mayLock(); err != nil {
		return State{Reason: fmt.Errorf("locking memory: %w", err)}, nil
	}
	// On fault: pages that are reserved and never touched, of which the runtime
	// has many, take no memory.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return State{Reason: fmt.Errorf("locking memory: %w", err)}, nil
	}
	return State{MemoryLocked: true}, nil
}

// mayLock says why memory is better not locked: within a limit every later
// reservation beyond it would fail, and the runtime end the process.
func mayLock() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	var capabilities [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &capabilities[0]); err != nil {
		return err
	}
	if limit.Cur == unix.RLIM_INFINITY || capabilities[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0 {
		return nil
	}
	return fmt.Errorf("RLIMIT_MEMLOCK is %d bytes, and there is no CAP_IPC_LOCK", limit.Cur)
}
