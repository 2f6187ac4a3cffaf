package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/message"
)

// The database's data lies on a file system of its own, in memory: what an empty
// database takes, and room for what a test writes. The log is kept short, so that
// it does not fill the room that is made.
const diskSize = 256 << 20

var shortLog = []string{"ALTER SYSTEM SET max_wal_size = '64MB'", "ALTER SYSTEM SET min_wal_size = '32MB'", "SELECT pg_reload_conf()"}

// disk is a small file system that can be filled.
type disk struct {
	*testing.T
	path string
}

// inNamespace is set in the process that runAllowed runs.
const inNamespace = "COUNTERSIGN_FAULTY_NAMESPACE"

// runAllowed runs the test in namespaces of its own where this process has not
// the right to mount, and reports whether it did. What it finds does not come
// onto the page then. Where that is not allowed either the test is skipped.
func runAllowed(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 || os.Getenv(inNamespace) != "" {
		return false
	}
	uid, gid := os.Getuid(), os.Getgid()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inNamespace+"=1", pageVariable+"=")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("a small file system cannot be mounted: that takes root, or namespaces of one's own: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("in namespaces of its own: %v\n%s", err, out.Bytes())
	}
	return true
}

// newDisk mounts one.
func newDisk(t *testing.T) disk {
	t.Helper()
	path, err := os.MkdirTemp("", "countersign-faulty-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	err = syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=711,size="+strconv.Itoa(diskSize))
	if errors.Is(err, syscall.EPERM) { // a container's root
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	if err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk{t, path}
}

// hold has a deployment that is made in a folder keep its database here.
func (d disk) hold(folder string) {
	d.Helper()
	data := filepath.Join(d.path, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		d.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o711); err != nil {
		d.Fatal(err)
	}
	// Else the launcher takes a folder that holds something for somebody's own.
	if err := os.WriteFile(filepath.Join(folder, "countersign-dev"), nil, 0o600); err != nil {
		d.Fatal(err)
	}
	if err := os.Symlink(data, filepath.Join(folder, "postgres")); err != nil {
		d.Fatal(err)
	}
}

// fill leaves no room at all; free gives it back.
func (d disk) fill() {
	d.Helper()
	f, err := os.OpenFile(filepath.Join(d.path, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.Error(err)
		return
	}
	defer f.Close()
	_, err = io.CopyN(f, zeros{}, diskSize)
	if !errors.Is(err, syscall.ENOSPC) {
		d.Errorf("the disk took all: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (d disk) free() {
	if err := os.Remove(filepath.Join(d.path, "ballast")); err != nil {
		d.Error(err)
	}
}

// TestFullDisk: the file system of the database's data is full while transfers
// are under way. Requests are refused with a reason, the services say that they
// are not ready, nothing is signed that is not on record, and when there is room
// again all ends by itself. Where the log finds no room PostgreSQL gives up, and
// is started again, in vain until there is room, as by an init system.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if runAllowed(t) {
		return
	}
	for what, panics := range map[string]bool{
		"the database's disk is full": false, "the database's disk is full and PostgreSQL gives up": true,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t)
			w := newWorldOf(t, setup{prepare: d.hold})
			for _, statement := range shortLog {
				if _, err := w.db.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			starts := w.initSystem()
			w.underLoad(what, func(ctx context.Context) {
				d.fill()
				if panics {
					w.exhaustLog(ctx)
				}
				w.awaitRefusal(ctx)
				time.Sleep(wrongFor())
				w.checkRefused(ctx, d)
				if panics {
					w.checkNotReady(ctx, d)
				}
				d.free()
			})
			if n := starts.Load(); panics && n == 0 {
				t.Error("PostgreSQL did not give up")
			}
		})
	}
}

// initSystem starts PostgreSQL again whenever it has ended, until the test ends.
func (w *world) initSystem() *atomic.Int64 {
	w.Helper()
	var starts atomic.Int64
	dir, err := os.Readlink(filepath.Join(w.Dir, "postgres"))
	if err != nil {
		w.Fatal(err)
	}
	port, err := strconv.Atoi(w.databaseURL().Port())
	if err != nil {
		w.Fatal(err)
	}
	pid := w.PIDs()["postgresql"]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var running *cluster.Cluster
	go func() {
		defer close(done)
		for ended := func() bool { return syscall.Kill(pid, 0) != nil }; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			if running != nil {
				select {
				case <-running.Exited():
					running = nil
				default:
				}
				continue
			}
			if !ended() {
				continue
			}
			starts.Add(1)
			if c, err := cluster.Start(ctx, dir, cluster.Options{Durable: true, Port: port}); err == nil {
				running = c
			}
		}
	}()
	w.Cleanup(func() {
		cancel()
		<-done
		if running != nil {
			running.Stop()
		}
	})
	return &starts
}

// exhaustLog has the database begin new segments of its log until it can make
// none any more.
func (w *world) exhaustLog(ctx context.Context) {
	w.Helper()
	for range 64 {
		if _, err := w.db.ExecContext(ctx, "SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'faulty', 'x')"); err != nil {
			return
		}
	}
	w.Error("the log is never full")
}

// awaitRefusal waits until the API refuses requests.
func (w *world) awaitRefusal(ctx context.Context) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w.refusal(ctx) != nil {
			return
		}
	}
	w.Error("requests are taken although the disk is full")
}

// refusal submits one more request and returns what the API says.
func (w *world) refusal(ctx context.Context) error {
	w.Helper()
	s, err := w.client.NewStatement(message.KindEthereumTransaction, w.wallet, w.account, transferPayload(w.nonce.Add(1), recipient, "1"), w.lifetime)
	if err != nil {
		w.Error(err)
		return err
	}
	_, err = w.client.Submit(ctx, s, 0)
	return err
}

// checkRefused: the API refuses requests, and says why. What is dropped meanwhile
// is filled again; some requests still find room in tables that are not full,
// and those it may take.
func (w *world) checkRefused(ctx context.Context, d disk) {
	w.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); {
		d.fill()
		err = w.refusal(ctx)
	}
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable || problem.Code == "" {
		w.Errorf("a request is answered by %v", err)
	}
}

// checkNotReady: each service says that it is not ready, and why. Readiness may be
// of a moment before, and with what is dropped meanwhile PostgreSQL may have come
// up for a moment: that is filled again.
func (w *world) checkNotReady(ctx context.Context, d disk) {
	w.Helper()
	for _, service := range services {
		says := func() (int, string, bool) {
			status, body := w.readiness(ctx, service)
			return status, body, status == http.StatusServiceUnavailable && strings.Contains(body, `"code"`)
		}
		status, body, unready := says()
		for end := time.Now().Add(20 * time.Second); !unready && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			d.fill()
			status, body, unready = says()
		}
		if !unready {
			w.Errorf("%s: readiness is %d %s", service, status, body)
		}
	}
}
