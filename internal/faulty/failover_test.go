package faulty_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/cluster"
)

// loadRequests is how many transfers are under way around one fault of the
// database.
func loadRequests() int {
	if os.Getenv("COUNTERSIGN_LONG") != "" {
		return 2000
	}
	return 150
}

// underLoad runs transfers, does something to the database in the midst of
// them, and expects that all are signed, once.
func (w *world) underLoad(what string, fault func(ctx context.Context)) {
	w.Helper()
	requests := loadRequests()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.awaitResults(ctx, requests/10)
		fault(ctx)
	}()
	signed, rejected := w.transfers(ctx, requests, "1")
	<-done
	if signed != int64(requests) || rejected != 0 {
		w.Errorf("%d signed and %d rejected of %d", signed, rejected, requests)
	}
	page.load.add(what, requests, signed, rejected, w.checkNothingLost())
}

// awaitResults waits until so many requests have a result.
func (w *world) awaitResults(ctx context.Context, n int) {
	for got := 0; got < n && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		_ = w.db.QueryRowContext(ctx, "SELECT count(*) FROM countersign.result").Scan(&got)
	}
}

// TestDatabaseKilledUnderLoad: the database's server is killed and started
// again while transfers are under way. The services find it again without
// hands.
func TestDatabaseKilledUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.underLoad("the database is killed and started again", func(ctx context.Context) {
		killServer(t, w.PIDs()["postgresql"])
		port, err := strconv.Atoi(w.databaseURL().Port())
		if err != nil {
			t.Error(err)
		}
		// With the dead server's guard still there, its last word is a signal
		// to a process that is gone.
		c, err := cluster.Start(ctx, filepath.Join(w.Dir, "postgres"), cluster.Options{Durable: true, Port: port})
		if err != nil {
			t.Errorf("starting the database again: %v", err)
			return
		}
		t.Cleanup(c.Stop)
	})
}

// TestFailoverUnderLoad: the database's server is killed while transfers are
// under way, and a standby, which was made by pg_basebackup and confirms every
// commit, is promoted. The services know both addresses and go on there.
func TestFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	standby := w.startStandby()
	w.useBoth(standby.Addr)
	w.underLoad("the database is killed, its synchronous standby promoted", func(ctx context.Context) {
		killServer(t, w.PIDs()["postgresql"])
		db := openCluster(t, standby)
		if _, err := db.ExecContext(ctx, "SELECT pg_promote()"); err != nil {
			t.Errorf("promoting the standby: %v", err)
		}
		w.db = db
	})
}

func (w *world) databaseURL() *url.URL {
	w.Helper()
	u, err := url.Parse(w.Database)
	if err != nil {
		w.Fatal(err)
	}
	return u
}

// killServer kills PostgreSQL with all its backends, as a crash of its machine
// does.
func killServer(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Error("PostgreSQL does not run")
		return
	}
	// Stopped, it begins no backend that is not found.
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	awaitProcess(t, pid, "stop", func() bool { return strings.Contains("TtZX", processState(pid)) })
	children, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	if err != nil {
		t.Errorf("finding the backends of process %d: %v", pid, err)
	}
	// Another server refuses to start while a backend has its memory, and while the
	// id is taken, also by one whose parent has not heard of its end.
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
			awaitProcess(t, n, "end", func() bool { return strings.Contains("ZX", processState(n)) })
		}
	}
	awaitProcess(t, pid, "end", func() bool { return syscall.Kill(pid, 0) != nil })
}

// awaitProcess waits until a process has done what it is to do.
func awaitProcess(t *testing.T, pid int, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("process %d does not %s", pid, what)
			return
		}
	}
}

// processState is the letter for the state of a process (proc_pid_stat(5)); X if
// there is none.
func processState(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	state, _, _ := strings.Cut(string(bytes.TrimSpace(b[bytes.LastIndexByte(b, ')')+1:])), " ")
	if state == "" {
		return "X"
	}
	return state
}

func openCluster(t *testing.T, c *cluster.Cluster) *sql.DB {
	t.Helper()
	u := &url.URL{
		Scheme: "postgres", User: url.UserPassword(cluster.Owner, string(c.Password.Bytes())), Host: c.Addr, Path: "countersign",
		RawQuery: url.Values{"sslmode": {"verify-ca"}, "sslrootcert": {c.CAFile}}.Encode(),
	}
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// startStandby copies the server and starts the copy as its synchronous
// standby.
func (w *world) startStandby() *cluster.Cluster {
	w.Helper()
	primary := filepath.Join(w.Dir, "postgres")
	w.allowReplication(primary)
	dir := filepath.Join(w.Dir, "standby")
	script := `set -e
cp -a "$1" "$2"
rm -rf "$2/data" "$2/postgres.log"
export PGPASSWORD="$3"
"$(ls -d /usr/lib/postgresql/*/bin | tail -1)/pg_basebackup" -D "$2/data" -R -X stream -c fast -d "$4"
chown -R --reference="$1/data" "$2/data"`
	u := w.databaseURL()
	password, _ := u.User.Password()
	conn := fmt.Sprintf("host=127.0.0.1 port=%s user=%s sslmode=verify-ca sslrootcert=%s/ca.pem sslcert=%[3]s/none sslkey=%[3]s/none application_name=standby", u.Port(), u.User.Username(), dir)
	if out, err := exec.Command("sh", "-c", script, "sh", primary, dir, password, conn).CombinedOutput(); err != nil {
		w.Fatalf("making the standby: %v\n%s", err, out)
	}
	c, err := cluster.Start(w.Context(), dir, cluster.Options{Durable: true})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Stop)
	if _, err := w.db.Exec("ALTER SYSTEM SET synchronous_standby_names = 'standby'"); err != nil {
		w.Fatal(err)
	}
	if _, err := w.db.Exec("SELECT pg_reload_conf()"); err != nil {
		w.Fatal(err)
	}
	end := time.Now().Add(20 * time.Second)
	for state := ""; state != "sync"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(dir, "postgres.log"))
			w.Fatalf("the standby does not follow: %q\n%s", state, log)
		}
		if err := w.db.QueryRow("SELECT coalesce(max(sync_state), '') FROM pg_stat_replication").Scan(&state); err != nil {
			w.Fatal(err)
		}
	}
	return c
}

// allowReplication lets the superuser replicate, over TLS and by SCRAM like
// everybody else.
func (w *world) allowReplication(dir string) {
	w.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("hostssl replication all 127.0.0.1/32 scram-sha-256\n"); err != nil {
		w.Fatal(err)
	}
	if _, err := w.db.Exec("SELECT pg_reload_conf()"); err != nil {
		w.Fatal(err)
	}
}

// useBoth gives every service a second address of the database and starts it
// again.
func (w *world) useBoth(second string) {
	w.Helper()
	first := w.databaseURL().Host
	if _, _, err := net.SplitHostPort(second); err != nil {
		w.Fatal(err)
	}
	for _, service := range services {
		path := filepath.Join(w.Dir, "config", service+".yaml")
		config, err := os.ReadFile(path)
		if err != nil {
			w.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^( *- )` + regexp.QuoteMeta(first) + `$`)
		changed := line.ReplaceAll(config, []byte("${1}"+first+"\n${1}"+second))
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			w.Fatal(err)
		}
		if pid := w.PIDs()[service]; pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
