// Command bench measures Countersign as it runs: five service processes and a
// private PostgreSQL with durable commits, TLS everywhere, simple transfers on
// 64 wallets. It gives every figure as a ratio to something measured in the
// same run, because times alone mean little on a shared machine:
//
//	latency_commits  median time from POST to signature, one request at a
//	                 time, in durable commits of a single row
//	floor_fraction   requests signed per second at saturation, as a fraction
//	                 of the rate that the parts alone would allow (floor.go)
//	rss_mib          peak memory (VmHWM) by service
//
// It writes bench.json and prints the same for people. It judges nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// plan is how long each part is measured.
type plan struct {
	wallets   int
	commits   int           // single-row commits
	latencies int           // requests one at a time
	clients   int           // at saturation
	warm      time.Duration // of saturation, not counted
	counted   time.Duration
	floor     time.Duration // each half of the floor
}

var (
	full  = plan{wallets: 64, commits: 1000, latencies: 500, clients: 256, warm: 5 * time.Second, counted: 30 * time.Second, floor: 5 * time.Second}
	quick = plan{wallets: 64, commits: 400, latencies: 150, clients: 256, warm: 2 * time.Second, counted: 8 * time.Second, floor: 2 * time.Second}
)

// figures is bench.json.
type figures struct {
	LatencyP50    float64            `json:"latency_p50_ms"`
	LatencyP99    float64            `json:"latency_p99_ms"`
	CommitP50     float64            `json:"commit_p50_ms"`
	Latency       float64            `json:"latency_commits"`
	Signed        float64            `json:"signed_per_second"`
	Floor         float64            `json:"floor_per_second"`
	FloorCPU      float64            `json:"floor_cpu_per_second"`
	FloorRows     float64            `json:"floor_rows_per_second"`
	FloorFraction float64            `json:"floor_fraction"`
	Clients       int                `json:"clients"`
	Requests      int                `json:"requests"`
	Failed        int                `json:"failed"`
	RSS           map[string]float64 `json:"rss_mib"`
}

func main() {
	isQuick := flag.Bool("quick", false, "measure for a shorter time (under 50 s)")
	bin := flag.String("bin", "bin", "folder of the built binaries")
	out := flag.String("out", "bench.json", "file to write the figures to")
	flag.Parse()
	p := full
	if *isQuick {
		p = quick
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, p, *bin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p plan, bin, out string) error {
	d, err := start(ctx, bin)
	if err != nil {
		return err
	}
	f, err := measure(ctx, p, d)
	// Stopped before anything is printed: whoever reads may have gone.
	if err := errors.Join(err, d.stop()); err != nil {
		return err
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, append(b, '\n'), 0o644); err != nil {
		return err
	}
	f.print(out)
	return nil
}

func measure(ctx context.Context, p plan, d *target) (figures, error) {
	var f figures
	accounts, err := d.makeAccounts(ctx, p.wallets)
	if err != nil {
		return f, fmt.Errorf("making %d wallets: %w", p.wallets, err)
	}
	l := &load{client: d.client, accounts: accounts}
	commits, latencies, err := measureLatency(ctx, p, d, l)
	if err != nil {
		return f, err
	}
	f.CommitP50 = milliseconds(percentile(commits, 50))
	f.LatencyP50, f.LatencyP99 = milliseconds(percentile(latencies, 50)), milliseconds(percentile(latencies, 99))
	f.Latency = f.LatencyP50 / f.CommitP50
	// The floor, like the commits, is measured on both sides of what it is
	// compared with, because a shared machine changes its speed.
	before, err := measureFloor(ctx, d.db, p.floor/2)
	if err != nil {
		return f, fmt.Errorf("measuring the floor: %w", err)
	}
	signed, err := l.saturate(ctx, p)
	if err != nil {
		return f, fmt.Errorf("measuring saturation: %w", err)
	}
	f.Signed, f.Requests, f.Failed, f.Clients = signed.perSecond, signed.count, signed.failed, p.clients
	if f.RSS, err = d.peakMemory(); err != nil {
		return f, err
	}
	after, err := measureFloor(ctx, d.db, p.floor/2)
	if err != nil {
		return f, fmt.Errorf("measuring the floor: %w", err)
	}
	floor := before.mean(after)
	f.Floor, f.FloorCPU, f.FloorRows = floor.perSecond(), floor.cpu, floor.rows
	f.FloorFraction = f.Signed / f.Floor
	return f, nil
}

// measureLatency returns the times of single-row commits, half of them made
// before and half after the requests, and those of requests one at a time.
func measureLatency(ctx context.Context, p plan, d *target, l *load) (commits, requests []time.Duration, err error) {
	before, err := measureCommits(ctx, d.db, p.commits/2)
	if err != nil {
		return nil, nil, fmt.Errorf("measuring commits: %w", err)
	}
	if requests, err = l.oneAtATime(ctx, p.latencies); err != nil {
		return nil, nil, fmt.Errorf("measuring latency: %w", err)
	}
	after, err := measureCommits(ctx, d.db, p.commits/2)
	if err != nil {
		return nil, nil, fmt.Errorf("measuring commits: %w", err)
	}
	return append(before, after...), requests, nil
}

func (f figures) print(out string) {
	fmt.Printf("one at a time   median %.2f ms, p99 %.2f ms; one durable commit %.3f ms: %.1f commits\n",
		f.LatencyP50, f.LatencyP99, f.CommitP50, f.Latency)
	fmt.Printf("saturation      %.0f signed per second with %d clients (%d requests, %d failed)\n",
		f.Signed, f.Clients, f.Requests, f.Failed)
	fmt.Printf("floor           %.0f per second (cryptography and coding %.0f, rows %.0f): fraction %.2f\n",
		f.Floor, f.FloorCPU, f.FloorRows, f.FloorFraction)
	var names []string
	for name := range f.RSS {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Printf("peak memory     %-14s %.0f MiB\n", name, f.RSS[name])
	}
	fmt.Println("written to", out)
}

// percentile returns the p-th percentile (nearest rank) of times.
func percentile(times []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
