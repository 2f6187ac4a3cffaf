package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

const (
	// replicaTime is how long a replica may take to be ready.
	replicaTime = 30 * time.Second
	// endTime is how long it may take to end after SIGTERM.
	endTime = 15 * time.Second
	// timerSlack is what the launcher gives a service (internal/dev).
	timerSlack = time.Millisecond
)

// replica is one more instance of a service beside the launcher's.
type replica struct {
	service, address, health string
	cmd                      *exec.Cmd
	ended                    chan error
}

// replicate starts one more instance of each service and returns a client of
// the second proposer.
func (t *target) replicate(ctx context.Context) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, replicaTime)
	defer cancel()
	services := append([]string{secrets.ServiceSigning, secrets.ServiceProposer}, message.PolicyRoles()...)
	for _, service := range services {
		r, err := t.startReplica(service)
		if err != nil {
			return nil, err
		}
		t.replicas = append(t.replicas, r)
	}
	for _, r := range t.replicas {
		if err := r.awaitReady(ctx); err != nil {
			return nil, err
		}
	}
	second := *t.Running
	i := slices.IndexFunc(t.replicas, func(r *replica) bool { return r.service == secrets.ServiceProposer })
	second.Proposer = "https://" + t.replicas[i].address
	return second.Client()
}

// startReplica runs a service with the configuration of the launcher's
// instance on other ports.
func (t *target) startReplica(service string) (*replica, error) {
	r := &replica{service: service, ended: make(chan error, 1)}
	config := filepath.Join(t.folder, "replica-"+service+".yaml")
	if err := r.configure(filepath.Join(t.Dir, "config", service+".yaml"), config); err != nil {
		return nil, fmt.Errorf("configuring a second %s: %w", service, err)
	}
	log, err := os.Create(filepath.Join(t.folder, "replica-"+service+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r.cmd = exec.Command(filepath.Join(t.Bin, service), "run", "--config", config)
	r.cmd.Stderr = log
	// As the launcher starts the first; should the benchmark die, the kernel ends it.
	r.cmd.Env = append([]string{"GOMAXPROCS=" + strconv.Itoa(max(1, runtime.NumCPU()/2))}, os.Environ()...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go r.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting a second %s: %w", service, err)
	}
	return r, nil
}

// configure writes a configuration like the first, with ports of its own.
func (r *replica) configure(first, second string) error {
	b, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(b, &config); err != nil {
		return err
	}
	if r.health, err = freeAddress(); err != nil {
		return err
	}
	config["health"] = r.health
	if listen, ok := config["listen"].(map[string]any); ok {
		if r.address, err = freeAddress(); err != nil {
			return err
		}
		listen["address"] = r.address
	}
	if b, err = yaml.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(second, b, 0o600)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// run keeps the thread that starts the service for as long as it runs: the
// kernel's signal comes when that thread ends, and the timer slack is the
// thread's.
func (r *replica) run(started chan<- error) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0) // a kernel that refuses leaves it as it is
	err := r.cmd.Start()
	started <- err
	if err == nil {
		r.ended <- r.cmd.Wait()
	}
}

func (r *replica) awaitReady(ctx context.Context) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.health+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			if response.Body.Close() == nil && response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-r.ended:
			r.ended <- err
			return fmt.Errorf("the second %s ended: %w", r.service, err)
		case <-ctx.Done():
			return fmt.Errorf("the second %s is not ready: %w", r.service, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the replica as an orchestrator does.
func (r *replica) stop() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-r.ended:
		if err != nil {
			return fmt.Errorf("the second %s did not end well: %w", r.service, err)
		}
		return nil
	case <-time.After(endTime):
		return errors.Join(fmt.Errorf("the second %s did not end within %v", r.service, endTime), r.cmd.Process.Kill())
	}
}
