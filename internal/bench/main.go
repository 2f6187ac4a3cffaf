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
// The full run adds what a long history, a second instance of each service and
// parked requests change, and both the latency at half the saturated rate.
// docs/benchmark.md says what each key means and how it is measured.
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

	"github.com/countersign/countersign/client"
)

func main() {
	isQuick := flag.Bool("quick", false, "measure for a shorter time (under 50 s), and compare nothing")
	bin := flag.String("bin", "bin", "folder of the built binaries")
	out := flag.String("out", "bench.json", "file to write the figures to")
	history := flag.Int("history", 0, "finished requests of the full run (default 1000000)")
	flag.Parse()
	p := fullPlan()
	if *isQuick {
		p = quickPlan()
	} else if *history > 0 {
		p.compared.history = *history
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, p, *bin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p plan, bin, out string) error {
	f, err := measureOne(ctx, p, bin)
	if err != nil {
		return err
	}
	if p.compared.history > 0 {
		if f.comparison, err = compare(ctx, p, bin); err != nil {
			return err
		}
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

// measureOne measures a deployment by itself. It is stopped before anything is
// printed: whoever reads may have gone.
func measureOne(ctx context.Context, p plan, bin string) (figures, error) {
	d, err := start(ctx, bin)
	if err != nil {
		return figures{}, err
	}
	f, err := measure(ctx, p, d)
	return f, errors.Join(err, d.stop())
}

func measure(ctx context.Context, p plan, d *target) (figures, error) {
	var f figures
	accounts, err := d.makeAccounts(ctx, p.wallets)
	if err != nil {
		return f, fmt.Errorf("making %d wallets: %w", p.wallets, err)
	}
	l := &load{clients: []*client.Client{d.client}, accounts: accounts}
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
	signed, err := l.saturate(ctx, p.saturation)
	if err != nil {
		return f, fmt.Errorf("measuring saturation: %w", err)
	}
	f.Signed, f.Requests, f.Failed, f.Clients = signed.perSecond, signed.count, signed.failed, p.saturation.clients
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
	return f, f.halfRate(ctx, p, l)
}

// halfRate measures what is left of the latency when half of the machine is
// free.
func (f *figures) halfRate(ctx context.Context, p plan, l *load) error {
	o, err := l.halfRate(ctx, p.half, f.Signed)
	if err != nil {
		return fmt.Errorf("measuring at half the rate: %w", err)
	}
	f.HalfRate, f.HalfRateFailed = f.Signed/2, o.Failed
	f.HalfRateP50, f.HalfRateP99 = milliseconds(percentile(o.Latencies, 50)), milliseconds(percentile(o.Latencies, 99))
	return nil
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
