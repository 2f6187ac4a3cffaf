// Package deployment runs `countersign dev` as a child process, for programs
// that try a whole deployment: the demo, the benchmark, tests. It sees what any
// user of the command sees, DIR/dev.json and the processes, and nothing else.
package deployment

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
)

const (
	// pollEvery is how often the profile is looked for.
	pollEvery = 20 * time.Millisecond
	// stopWithin is how long the whole deployment may take to stop.
	stopWithin = 40 * time.Second
)

// Profile is DIR/dev.json.
type Profile struct {
	Proposer    string            `json:"proposer"`
	Console     string            `json:"console"`
	CA          string            `json:"ca"`
	Deployment  message.Hash      `json:"deployment"`
	UserKey     string            `json:"user_key"`
	Token       string            `json:"token"`
	ApproverKey string            `json:"approver_key"`
	Database    string            `json:"database"`
	User        string            `json:"user"`
	Logs        string            `json:"logs"`
	Processes   map[string]string `json:"processes"`
}

// Running is a deployment that runs.
type Running struct {
	Profile
	Bin, Dir string

	cmd    *exec.Cmd
	ended  chan error
	output *output
}

// output is what the launcher prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Start runs `countersign dev` of the binaries in bin and returns when it is
// ready. Stop ends it; ctx does not.
func Start(ctx context.Context, bin, dir string) (*Running, error) {
	r := &Running{Bin: bin, Dir: dir, ended: make(chan error, 1), output: &output{}}
	r.cmd = exec.Command(filepath.Join(bin, "countersign"), "dev", "--dir", dir)
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	// A group of its own, so that an interrupt reaches it through Stop alone.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting countersign dev: %w (run make build first)", err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	for {
		b, err := os.ReadFile(r.ProfilePath())
		if err == nil {
			if err := json.Unmarshal(b, &r.Profile); err != nil {
				return nil, errors.Join(fmt.Errorf("reading %s: %w", r.ProfilePath(), err), r.Stop())
			}
			return r, nil
		}
		select {
		case err := <-r.ended:
			return nil, fmt.Errorf("countersign dev ended: %w\n%s", err, r.output)
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for countersign dev: %w", ctx.Err()), r.Stop())
		case <-time.After(pollEvery):
		}
	}
}

// TempDir makes a folder that PostgreSQL can reach under another uid.
func TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// ProfilePath is where dev.json is.
func (r *Running) ProfilePath() string { return filepath.Join(r.Dir, "dev.json") }

// Stop ends the deployment and checks that none of its processes is left.
func (r *Running) Stop() error {
	pids := r.PIDs()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping countersign dev: %w", err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			return fmt.Errorf("countersign dev did not end well: %w\n%s", err, r.output)
		}
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("countersign dev did not stop within %v", stopWithin), r.cmd.Process.Kill())
	}
	for service, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Errorf("%s (process %d) is still running", service, pid)
		}
	}
	return nil
}

// Output is what the launcher has printed.
func (r *Running) Output() string { return r.output.String() }

// PIDs reads the process ids of the services and of PostgreSQL ("postgresql").
func (r *Running) PIDs() map[string]int {
	out := map[string]int{}
	files := map[string]string{"postgresql": filepath.Join(r.Dir, "postgres", "data", "postmaster.pid")}
	for service, path := range r.Processes {
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

// Countersign runs the command line as a person would and returns what it
// prints.
func (r *Running) Countersign(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.Bin, "countersign"), args...)
	cmd.Env = append(os.Environ(), "COUNTERSIGN_PROFILE="+r.ProfilePath())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("countersign %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Client returns a client that asks as the deployment's user.
func (r *Running) Client() (*client.Client, error) {
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(r.CA)
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("reading CA %s: %w", r.CA, err)
	}
	key, err := readKey(r.UserKey)
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{
		BaseURL: r.Proposer, Roots: roots, Token: r.Token, Key: key, Deployment: r.Deployment,
	})
}

// Superuser connects to the database as its owner, who may do anything there.
func (r *Running) Superuser(ctx context.Context) (*sql.DB, error) {
	connector, err := pq.NewConnector(r.Database)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	db := sql.OpenDB(connector)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the database: %w", err), db.Close())
	}
	return db, nil
}

func readKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds no signing key", path)
	}
	return signer, nil
}
