package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// pollEvery is how often a file or a log is looked at.
	pollEvery = 20 * time.Millisecond
	// stopWithin is how long the whole deployment may take to stop.
	stopWithin = 40 * time.Second
)

// profile is what the demo reads of DIR/dev.json.
type profile struct {
	Proposer    string            `json:"proposer"`
	Console     string            `json:"console"`
	CA          string            `json:"ca"`
	Deployment  string            `json:"deployment"`
	UserKey     string            `json:"user_key"`
	Token       string            `json:"token"`
	ApproverKey string            `json:"approver_key"`
	Database    string            `json:"database"`
	User        string            `json:"user"`
	Logs        string            `json:"logs"`
	Processes   map[string]string `json:"processes"`
}

// deployment is `countersign dev`, running as a child process.
type deployment struct {
	profile
	bin, dir string
	cmd      *exec.Cmd
	ended    chan error
	output   bytes.Buffer
}

// start runs `countersign dev` and returns when it is ready.
func start(ctx context.Context, bin, dir string) (*deployment, error) {
	d := &deployment{bin: bin, dir: dir, ended: make(chan error, 1)}
	d.cmd = exec.Command(filepath.Join(bin, "countersign"), "dev", "--dir", dir)
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting countersign dev: %w", err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	for {
		b, err := os.ReadFile(d.profilePath())
		if err == nil {
			return d, json.Unmarshal(b, &d.profile)
		}
		select {
		case err := <-d.ended:
			return nil, fmt.Errorf("countersign dev ended: %w\n%s", err, d.output.String())
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for countersign dev: %w", ctx.Err()), d.stop())
		case <-time.After(pollEvery):
		}
	}
}

func (d *deployment) profilePath() string { return filepath.Join(d.dir, "dev.json") }

// stop ends the deployment and checks that none of its processes is left.
func (d *deployment) stop() error {
	pids := d.pids()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping countersign dev: %w", err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			return fmt.Errorf("countersign dev did not end well: %w\n%s", err, d.output.String())
		}
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("countersign dev did not stop within %v", stopWithin), d.cmd.Process.Kill())
	}
	for service, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Errorf("%s (process %d) is still running", service, pid)
		}
	}
	return nil
}

// pids reads the process ids of the services and of PostgreSQL.
func (d *deployment) pids() map[string]int {
	out := map[string]int{}
	files := map[string]string{"postgresql": filepath.Join(d.dir, "postgres", "data", "postmaster.pid")}
	for service, path := range d.Processes {
		files[service] = path
	}
	for service, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if pid, err := strconv.Atoi(line); err == nil {
			out[service] = pid
		}
	}
	return out
}

// countersign runs the command line as a person would.
func (d *deployment) countersign(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "countersign"), args...)
	cmd.Env = append(os.Environ(), "COUNTERSIGN_PROFILE="+d.profilePath())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("countersign %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// logMark is a place in a service's log.
type logMark struct {
	path   string
	offset int64
}

func (d *deployment) mark(service string) logMark {
	m := logMark{path: filepath.Join(d.Logs, service+".log")}
	if info, err := os.Stat(m.path); err == nil {
		m.offset = info.Size()
	}
	return m
}

// logLine is one line of a service's log.
type logLine map[string]any

func (l logLine) text(key string) string {
	switch v := l[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		b, _ := json.Marshal(v) //nolint:errchkjson // it came from JSON
		return string(b)
	}
}

// await returns the first line after the mark that matches.
func (m logMark) await(ctx context.Context, matches func(logLine) bool) (logLine, error) {
	ctx, cancel := context.WithTimeout(ctx, logWithin)
	defer cancel()
	for {
		for _, line := range m.lines() {
			if matches(line) {
				return line, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s says nothing of it: %w", filepath.Base(m.path), ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// logWithin is how long a service may take to notice an attack; it looks into
// the database every few seconds at the least.
const logWithin = 20 * time.Second

func (m logMark) lines() []logLine {
	b, err := os.ReadFile(m.path)
	if err != nil || int64(len(b)) < m.offset {
		return nil
	}
	var out []logLine
	for text := range bytes.Lines(b[m.offset:]) {
		var line logLine
		if json.Unmarshal(text, &line) == nil {
			out = append(out, line)
		}
	}
	return out
}
