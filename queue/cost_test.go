package queue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cost is what the database's server and this process have spent so far.
type cost struct {
	server, clients time.Duration
	commits         int64
}

// cost reads processor times, which tell more than the clock where others use
// the machine too.
func (p *pipeline) cost(b *testing.B) (c cost) {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	c.clients = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	var backend int
	if err := p.db.Owner.QueryRow(`SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		b.Fatal(err)
	}
	server := process(fmt.Sprintf("/proc/%d", backend)).parent
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if one := process(dir); one.parent == server {
			c.server += one.used
		}
	}
	time.Sleep(1100 * time.Millisecond) // backends report their statistics once a second
	if err := p.db.Owner.QueryRow(`SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&c.commits); err != nil {
		b.Fatal(err)
	}
	return c
}

type usage struct {
	parent int
	used   time.Duration
}

// process reads a process' parent, and its processor time from the scheduler,
// which counts exactly where stat counts ticks.
func process(dir string) (u usage) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u // it has ended
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if fields := strings.Fields(rest); len(fields) > 1 {
		u.parent, _ = strconv.Atoi(fields[1])
	}
	used, _ := os.ReadFile(filepath.Join(dir, "schedstat"))
	if fields := strings.Fields(string(used)); len(fields) > 0 {
		n, _ := strconv.ParseInt(fields[0], 10, 64)
		u.used = time.Duration(n)
	}
	return u
}

func (p *pipeline) report(b *testing.B, before cost, requests int) {
	b.Helper()
	after := p.cost(b)
	b.ReportMetric(float64((after.server-before.server).Microseconds())/float64(requests), "server-µs/op")
	b.ReportMetric(float64((after.clients-before.clients).Microseconds())/float64(requests), "clients-µs/op")
	b.ReportMetric(float64(after.commits-before.commits)/float64(requests), "transactions/op")
}
