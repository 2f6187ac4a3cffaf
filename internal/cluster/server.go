package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// accessRules is the whole of pg_hba.conf: TLS and SCRAM from loopback. Only the
// owner reaches the databases that every server has, in which PostgreSQL lets
// everybody make temporary tables.
func accessRules(name string) string {
	var out strings.Builder
	for _, to := range []string{"all " + Owner, name + " all"} {
		for _, from := range []string{"127.0.0.1/32", "::1/128"} {
			fmt.Fprintf(&out, "hostssl %s %s scram-sha-256\n", to, from)
		}
	}
	return out.String()
}

func writeConfiguration(dir string, a account, o Options, port int) error {
	durable := map[bool]string{true: "on", false: "off"}[o.Durable]
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(port), "unix_socket_directories": "",
		"ssl": "on", "ssl_cert_file": filepath.Join(dir, "server.pem"), "ssl_key_file": filepath.Join(dir, "server.key"),
		"ssl_min_protocol_version": "TLSv1.3", "password_encryption": "scram-sha-256",
		"hba_file": filepath.Join(dir, "hba.conf"),
		"fsync":    durable, "synchronous_commit": durable, "full_page_writes": durable,
		// Buffers and log for some 20,000 requests: with less, backends write
		// out pages themselves to make room for others, in the midst of requests.
		"max_connections": "200", "shared_buffers": "256MB", "max_wal_size": "2GB",
		"log_min_messages": "warning", "log_min_error_statement": "panic", "timezone": "UTC",
	}
	for k, v := range o.Settings {
		settings[k] = v
	}
	keys := make([]string, 0, len(settings))
	for k := range settings {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var out strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&out, "%s = '%s'\n", k, strings.ReplaceAll(settings[k], "'", "''"))
	}
	if err := a.write(filepath.Join(dir, "hba.conf"), []byte(accessRules(o.database()))); err != nil {
		return err
	}
	return a.write(filepath.Join(dir, "postgresql.conf"), []byte(out.String()))
}

// guard waits for a word on its standard input, or for its end, which the
// kernel brings about when the process that started it is gone, however it
// went. Without the word it ends the server, at once where the data is thrown
// away anyhow. Then it removes a temporary directory.
const guard = `dir=$1 server=$2 mode=$3
if [ "$mode" = temporary ]; then signal=QUIT; else signal=INT; fi
read -r word
if [ "$word" != stopped ]; then
	kill -$signal "$server" 2>/dev/null
	while kill -0 "$server" 2>/dev/null; do sleep 0.1; done
fi
if [ "$mode" = temporary ]; then cd / && rm -rf "$dir"; fi
`

// process is the running server with its guard.
type process struct {
	server *os.Process
	exited chan struct{}  // closed when the server has ended
	last   string         // the log's end, set before exited is closed
	leash  io.WriteCloser // closing it lets the guard finish
	guard  chan struct{}  // closed when the guard has ended
}

func runServer(dir, bin string, a account, o Options) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "postgres.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"),
		"-c", "config_file="+filepath.Join(dir, "postgresql.conf"))
	server.Stdout, server.Stderr = log, log
	server.Dir, server.SysProcAttr, server.Env = dir, a.attributes(), a.environment()
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting server: %w", err)
	}
	p := &process{server: server.Process, exited: make(chan struct{}), guard: make(chan struct{})}
	if err := p.leashTo(dir, a, o); err != nil {
		_ = server.Process.Signal(syscall.SIGQUIT)
		return nil, errors.Join(err, server.Wait())
	}
	go func() {
		_ = server.Wait() // how it ended stands in its log
		p.last = tail(filepath.Join(dir, "postgres.log"))
		p.release()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) leashTo(dir string, a account, o Options) error {
	mode := map[bool]string{true: "temporary", false: "kept"}[o.Temporary]
	cmd := exec.Command("/bin/sh", "-c", guard, "guard", dir, strconv.Itoa(p.server.Pid), mode)
	cmd.Dir, cmd.SysProcAttr = "/", a.attributes()
	leash, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting guard: %w", err)
	}
	p.leash = leash
	go func() { _ = cmd.Wait(); close(p.guard) }()
	return nil
}

// stop is a fast shutdown, and an immediate one after patience.
func (p *process) stop(patience time.Duration) {
	_ = p.server.Signal(syscall.SIGINT) // it may have ended already
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.kill()
	}
}

// kill is an immediate shutdown without a checkpoint. SIGKILL would leave the
// server's children and shared memory behind.
func (p *process) kill() {
	_ = p.server.Signal(syscall.SIGQUIT)
	<-p.exited
}

// release lets the guard finish, who must not signal a process id that is free
// again.
func (p *process) release() {
	_, _ = io.WriteString(p.leash, "stopped\n") // a guard that is gone needs no word
	_ = p.leash.Close()
	<-p.guard
}
