package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopTimeout is how long a service may take to end after SIGTERM before
	// it is killed; its own shutdown gives up earlier.
	stopTimeout = 10 * time.Second
	// restartDelay keeps a service that cannot start from spinning.
	restartDelay = 500 * time.Millisecond
	// commandTimeout bounds a service's one-time commands.
	commandTimeout = time.Minute
)

// runner starts the service binaries of one deployment.
type runner struct {
	layout layout
	bin    string // folder of the binaries
	log    *slog.Logger
}

func (r runner) binary(service string) string { return filepath.Join(r.bin, service) }

// check says at once if a binary is not there.
func (r runner) check(services []string) error {
	var faults []error
	for _, s := range services {
		if _, err := os.Stat(r.binary(s)); err != nil {
			faults = append(faults, fmt.Errorf("service binary: %w", err))
		}
	}
	return errors.Join(faults...)
}

// coresPerService is how many of the machine's cores each service of a
// deployment uses at once. Five services and the database share them, so that a
// second thread of a service mostly finds them taken: it costs wake-ups and
// caches and gains nothing. A machine with many cores has room for more.
func coresPerService() int { return max(1, runtime.NumCPU()/2) }

// maxProcs is the environment variable of Go's runtime for the same.
const maxProcs = "GOMAXPROCS"

// environment is a service's: the launcher's own, with the cores unless they
// are set there.
func environment() []string {
	env := os.Environ()
	if _, set := os.LookupEnv(maxProcs); set {
		return env
	}
	return append(env, maxProcs+"="+strconv.Itoa(coresPerService()))
}

// timerSlack is by how much the kernel may be late in waking a service's
// threads from a sleep. Go's runtime has a thread that sleeps for 20 µs at a
// time as long as the service is at work, which with the kernel's own 50 µs is
// most of the wake-ups of all processes together; no timer of ours is finer
// than this.
const timerSlack = time.Millisecond

// startPatiently starts cmd with timerSlack, which a process has from the thread
// that starts it: the caller's goroutine must be locked to one. A kernel that
// refuses leaves it as it is, and that is no fault.
func startPatiently(cmd *exec.Cmd) error {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }() // 0: as it was
	return cmd.Start()
}

// output runs a one-time command of a service to its end and returns what it
// wrote to standard output.
func (r runner) output(ctx context.Context, service, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.binary(service), command, "--config", r.layout.config(service))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s %s: %w\n%s", service, command, err, stderr.Bytes())
	}
	return out, nil
}

// supervise runs a service until ctx ends and starts it again whenever it dies
// before: the rest of the deployment goes on meanwhile, as it would with an
// orchestrator.
func (r runner) supervise(ctx context.Context, service string) error {
	for {
		err := r.once(ctx, service)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was told to
		}
		r.log.Warn("service ended, starting it again", "service", service, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

// once runs a service until it ends. When the launcher itself dies, the kernel
// ends the service (Pdeathsig); that signal comes when the starting thread
// ends, so the thread is kept for as long.
func (r runner) once(ctx context.Context, service string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output, err := os.OpenFile(r.layout.log(service), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening log of %s: %w", service, err)
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, r.binary(service), "run", "--config", r.layout.config(service))
	cmd.Stdout, cmd.Stderr, cmd.Env = output, output, environment()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := startPatiently(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", service, err)
	}
	if err := writeFile(r.layout.pid(service), []byte(strconv.Itoa(cmd.Process.Pid)+"\n")); err != nil {
		r.log.Warn("writing process id failed", "service", service, "error", err)
	}
	err = cmd.Wait()
	_ = os.Remove(r.layout.pid(service))
	return err
}
