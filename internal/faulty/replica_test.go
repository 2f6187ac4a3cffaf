package faulty_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/loopback"
	"github.com/countersign/countersign/internal/message"
)

// TestReplicasUnderLoad: two instances of each service, or three, proposers
// included, share the work, the clients go to all proposers, and one instance of
// each is killed for good: every request ends, small transfers are all signed, and
// exactly as many big ones as the wallet's limit allows.
func TestReplicasUnderLoad(t *testing.T) {
	for instances, name := range map[int]string{2: "two", 3: "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			var doomed []*exec.Cmd
			for range instances - 1 {
				doomed = nil // of each service the last one
				for _, service := range services {
					doomed = append(doomed, w.replica(service))
				}
			}
			w.awaitProposers()
			w.killed(doomed, instances, name+" instances of each service, one of each is killed")
		})
	}
}

// killed sends transfers and kills instances one after the other meanwhile, once
// all have taken part.
func (w *world) killed(doomed []*exec.Cmd, instances int, what string) {
	w.Helper()
	m := mixOf()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	w.awaitAllWork(ctx, instances)
	before := w.results()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.awaitResults(ctx, before+(m.small+m.big)/10)
		for _, r := range doomed {
			if err := r.Process.Kill(); err != nil {
				w.Errorf("%s had ended before: %v", r.Path, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	w.mixed(ctx, what, m)
	<-done
}

// awaitProposers waits until each proposer is ready.
func (w *world) awaitProposers() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for i, c := range w.clients {
		for {
			err := c.Ready(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				w.Fatalf("proposer %d is not ready: %v", i, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

var health = regexp.MustCompile(`(?m)^health: .*$`)

// replica starts one more instance of a service beside the launcher's.
func (w *world) replica(service string) *exec.Cmd {
	w.Helper()
	config, err := os.ReadFile(filepath.Join(w.Dir, "config", service+".yaml"))
	if err != nil {
		w.Fatal(err)
	}
	config = health.ReplaceAll(config, []byte("health: 127.0.0.1:0"))
	switch listen := regexp.MustCompile(`(?m)^( *address: )127\.0\.0\.1:\d+$`); service {
	case message.RoleApproval: // which serves approvers too
		config = listen.ReplaceAll(config, []byte("${1}127.0.0.1:0"))
	case "proposer":
		config = listen.ReplaceAll(config, []byte("${1}"+w.newProposer()))
	}
	path := filepath.Join(w.TempDir(), service+".yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		w.Fatal(err)
	}
	log, err := os.Create(path + ".log")
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(w.Bin, service), "run", "--config", path)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
		if w.Failed() {
			b, _ := os.ReadFile(path + ".log")
			w.Logf("%s: %s", path, b)
		}
	})
	return cmd
}

// newProposer picks an address for one more proposer, to which the clients go as
// well.
func (w *world) newProposer() string {
	w.Helper()
	port, err := loopback.Reserve()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = port.Close() })
	r := *w.Running
	r.Proposer = "https://" + port.Addr
	c, err := r.Client()
	if err != nil {
		w.Fatal(err)
	}
	w.clients = append(w.clients, c)
	return port.Addr
}

// warmUps is how many rounds of one transfer for each client there are at most
// until each instance has had one. They fit the wallet's limit beside a mix.
const warmUps = 40

// awaitAllWork sends transfers until each instance of each service has taken
// part, so that none is killed before it had anything to do: those of the policy
// services and of the signing service have signed or begun something, each
// proposer has taken a request.
func (w *world) awaitAllWork(ctx context.Context, instances int) {
	w.Helper()
	if len(w.clients) != instances {
		w.Fatalf("there are %d proposers, want %d", len(w.clients), instances)
	}
	var idle []string
	for range warmUps {
		if signed, _ := w.transfers(ctx, clients, "1"); signed != clients {
			w.Fatalf("%d signed of %d", signed, clients)
		}
		if idle = w.idle(instances); len(idle) == 0 {
			return
		}
	}
	w.Fatalf("not all instances took part: %v", idle)
}

// idle says of which services not all instances have taken part.
func (w *world) idle(instances int) (out []string) {
	w.Helper()
	found := w.workers()
	for _, service := range services[1:] {
		if n := len(found[service]); n != instances {
			out = append(out, fmt.Sprintf("%d instances of %s", n, service))
		}
	}
	for i := range w.clients {
		if w.taken[i].Load() == 0 {
			out = append(out, fmt.Sprintf("proposer %d", i))
		}
	}
	return out
}

// workers are the instances by service that have signed or begun something.
func (w *world) workers() map[string]map[string]bool {
	w.Helper()
	found := map[string]map[string]bool{}
	for _, query := range []string{
		"SELECT sender, body FROM countersign.reply", "SELECT 'signing', convert_to(instance, 'UTF8') FROM countersign.intent",
	} {
		rows, err := w.db.Query(query)
		if err != nil {
			w.Fatal(err)
		}
		for rows.Next() {
			var service string
			var body []byte
			if err := rows.Scan(&service, &body); err != nil {
				w.Fatal(err)
			}
			if found[service] == nil {
				found[service] = map[string]bool{}
			}
			found[service][instanceOf(service, body)] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			w.Fatal(err)
		}
	}
	return found
}

// instanceOf reads the instance's name out of an approval, a compact JWS.
func instanceOf(service string, body []byte) string {
	if service == message.RoleSigning {
		return string(body)
	}
	var said struct{ Instance string }
	if parts := strings.Split(string(body), "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(payload, &said)
		}
	}
	return said.Instance
}
