package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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
	// mostStarts is how often a service may end before the deployment is ready:
	// what ended it each time does not go away by itself.
	mostStarts = 5
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
// orchestrator. A service that ends again and again before all are ready is an
// error.
func (r runner) supervise(ctx context.Context, service string, allReady <-chan struct{}) error {
	for starts := 1; ; starts++ {
		err := r.once(ctx, service)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was told to
		}
		if starts >= mostStarts && !closed(allReady) {
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("%s was started %d times and ended each time, at last with %w: see %s", service, starts, err, r.layout.log(service))
		}
		r.log.Warn("service ended, starting it again", "service", service, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// once runs a service until it ends; the error holds what the service said of
// its end. When the launcher itself dies, the kernel ends the service
// (Pdeathsig); that signal comes when the starting thread ends, so the thread is
// kept for as long.
func (r runner) once(ctx context.Context, service string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output, err := os.OpenFile(r.layout.log(service), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening log of %s: %w", service, err)
	}
	defer output.Close()
	before, err := output.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("opening log of %s: %w", service, err)
	}
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
	if said := lastWords(r.layout.log(service), before, service); err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// mostWords is how much of the end of a log is looked through; a panic with all
// its goroutines has room there.
const mostWords = 256 << 10

// lastWords is the line in a log, after a place, in which a service or Go's
// runtime says why it ended; empty where there is none, as after kill -9.
func lastWords(path string, after int64, service string) string {
	log, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer log.Close()
	if end, err := log.Seek(0, io.SeekEnd); err == nil {
		after = max(after, end-mostWords)
	}
	b, err := io.ReadAll(io.NewSectionReader(log, after, mostWords))
	if err != nil {
		return ""
	}
	said := ""
	for line := range strings.Lines(string(b)) {
		for _, start := range []string{service + ": ", "panic: ", "fatal error: "} {
			if strings.HasPrefix(line, start) {
				said = strings.TrimSpace(line)
			}
		}
	}
	return said
}
