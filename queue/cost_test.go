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
	server := process(fmt.Sprintf("/proc/%d/stat", backend)).parent
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		if one := process(file); one.parent == server {
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

// process reads parent and processor time from a stat file of /proc.
func process(file string) (u usage) {
	text, err := os.ReadFile(file)
	if err != nil {
		return u // it has ended
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from field 3, the state, on
	if len(fields) < 13 {
		return u
	}
	u.parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	u.used = time.Duration(user+system) * 10 * time.Millisecond
	return u
}

func (p *pipeline) report(b *testing.B, before cost, requests int) {
	b.Helper()
	after := p.cost(b)
	b.ReportMetric(float64((after.server-before.server).Microseconds())/float64(requests), "server-µs/op")
	b.ReportMetric(float64((after.clients-before.clients).Microseconds())/float64(requests), "clients-µs/op")
	b.ReportMetric(float64(after.commits-before.commits)/float64(requests), "transactions/op")
}
