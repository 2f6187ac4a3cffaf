package cluster_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/database"
)

// child is the environment variable that makes the test binary a process that
// starts a server and is then killed.
const child = "COUNTERSIGN_CLUSTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		c, err := cluster.Start(context.Background(), dir, cluster.Options{Temporary: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.Addr)
		select {}
	}
	os.Exit(m.Run())
}

// dir is reachable by the server's user, which t.TempDir is not for root.
func dir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("", "countersign-cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

func open(t *testing.T, c *cluster.Cluster) *sql.DB {
	t.Helper()
	db, err := database.Open(c.Config("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestDataSurvivesStopAndKill(t *testing.T) {
	d := dir(t)
	for i, end := range []func(*cluster.Cluster){(*cluster.Cluster).Stop, (*cluster.Cluster).Kill, (*cluster.Cluster).Stop} {
		c, err := cluster.Start(t.Context(), d, cluster.Options{Durable: true})
		if err != nil {
			t.Fatal(err)
		}
		db := open(t, c)
		if i == 0 {
			_, err = db.Exec("CREATE TABLE public.kept (n int)")
		}
		if _, insertErr := db.Exec("INSERT INTO public.kept VALUES ($1)", i); err != nil || insertErr != nil {
			t.Fatal(err, insertErr)
		}
		var n int
		if err := db.QueryRow("SELECT count(*) FROM public.kept").Scan(&n); err != nil || n != i+1 {
			t.Errorf("%d rows after start %d, %v", n, i, err)
		}
		end(c)
		select {
		case <-c.Exited():
		default:
			t.Error("the server runs on")
		}
	}
}

// A launcher that is killed leaves neither server nor temporary directory.
func TestAttackKilledLauncherLeavesNothing(t *testing.T) {
	d := filepath.Join(dir(t), "server")
	if err := os.Chmod(filepath.Dir(d), 0o777); err != nil { // the guard removes d as the server's user
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+d)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, statErr := os.Stat(d)
		conn, dialErr := net.Dial("tcp", strings.TrimSpace(addr))
		if dialErr == nil {
			_ = conn.Close()
		}
		if errors.Is(statErr, os.ErrNotExist) && dialErr != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("directory: %v; server: %v", statErr, dialErr)
		}
	}
}

func TestRefuses(t *testing.T) {
	if _, err := cluster.Start(t.Context(), dir(t), cluster.Options{Bin: "/nowhere"}); err == nil {
		t.Error("fail/no-programs: no error")
	}
	if os.Geteuid() == 0 {
		closed := filepath.Join(dir(t), "closed")
		if err := os.Mkdir(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Start(t.Context(), filepath.Join(closed, "server"), cluster.Options{}); !errors.Is(err, cluster.ErrUnreachable) {
			t.Errorf("fail/unreachable: %v", err)
		}
	}
}
