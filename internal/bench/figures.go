package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/bench/past"
)

// figures is bench.json. docs/benchmark.md says what each key means.
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

	HalfRate       float64 `json:"half_rate_per_second"`
	HalfRateP50    float64 `json:"half_rate_p50_ms"`
	HalfRateP99    float64 `json:"half_rate_p99_ms"`
	HalfRateFailed int     `json:"half_rate_failed"`

	*comparison // of a full run
}

// comparison is what the deployments that are compared have shown.
type comparison struct {
	Empty float64 `json:"empty_per_second"`

	Requests        int                `json:"history_requests"`
	History         float64            `json:"history_per_second"`
	HistoryFraction float64            `json:"history_fraction"`
	HistoryFailed   int                `json:"history_failed"`
	HistoryRSS      map[string]float64 `json:"history_rss_mib"`
	ChainVerify     float64            `json:"history_chain_verify_s"`

	Replica         float64 `json:"replica_per_second"`
	ReplicaFraction float64 `json:"replica_fraction"`
	ReplicaFailed   int     `json:"replica_failed"`

	Parked         int     `json:"parked_requests"`
	Unparked       float64 `json:"unparked_per_second"`
	BesideParked   float64 `json:"parked_per_second"`
	ParkedFraction float64 `json:"parked_fraction"`
	ParkedFailed   int     `json:"parked_failed"`

	Simple         float64 `json:"policy_simple_per_second"`
	Treasury       float64 `json:"policy_treasury_per_second"`
	PolicyFraction float64 `json:"policy_fraction"`
	PolicyFailed   int     `json:"policy_failed"`

	// RSS is the most of any instance that was compared, but for the history's.
	RSS map[string]float64 `json:"compared_rss_mib"`

	*decisions

	history history
	windows map[string]windows // by the name of a rate, for people
}

// history is how the finished requests were made.
type history struct {
	chain past.Chain
	took  time.Duration
}

// fromTurns takes over the rates of the deployments that were loaded in turn.
func (c *comparison) fromTurns(p compared, empty, full, twice windows) {
	c.windows = map[string]windows{"empty": empty, "history": full, "replica": twice}
	c.Requests = p.history
	c.Empty, c.History, c.Replica = empty.perSecond(), full.perSecond(), twice.perSecond()
	c.HistoryFraction, c.ReplicaFraction = c.History/c.Empty, c.Replica/c.Empty
	c.HistoryFailed, c.ReplicaFailed = full.failed(), twice.failed()
	c.ChainVerify = c.history.chain.Verify.Seconds()
}

// fromParked takes over the rates beside parked requests and without them.
func (c *comparison) fromParked(p compared, without, with windows) {
	c.windows["unparked"], c.windows["parked"] = without, with
	c.Parked = p.parked
	c.Unparked, c.BesideParked = without.perSecond(), with.perSecond()
	c.ParkedFraction = c.BesideParked / c.Unparked
	c.ParkedFailed = with.failed()
}

// fromPolicies takes over the rates under two documents.
func (c *comparison) fromPolicies(simple, treasury windows) {
	c.windows["simple"], c.windows["treasury"] = simple, treasury
	c.Simple, c.Treasury = simple.perSecond(), treasury.perSecond()
	c.PolicyFraction = c.Treasury / c.Simple
	c.PolicyFailed = simple.failed() + treasury.failed()
}

func (f figures) print(out string) {
	fmt.Printf("one at a time   median %.2f ms, p99 %.2f ms; one durable commit %.3f ms: %.1f commits\n",
		f.LatencyP50, f.LatencyP99, f.CommitP50, f.Latency)
	fmt.Printf("saturation      %.0f signed per second with %d clients (%d requests, %d failed)\n",
		f.Signed, f.Clients, f.Requests, f.Failed)
	fmt.Printf("floor           %.0f per second (cryptography and coding %.0f, rows %.0f): fraction %.2f\n",
		f.Floor, f.FloorCPU, f.FloorRows, f.FloorFraction)
	printMemory("peak memory    ", f.RSS)
	fmt.Printf("half the rate   %.0f per second: median %.2f ms, p99 %.2f ms (%d failed)\n",
		f.HalfRate, f.HalfRateP50, f.HalfRateP99, f.HalfRateFailed)
	if f.comparison != nil {
		f.comparison.print()
	}
	fmt.Println("written to", out)
}

func (c *comparison) print() {
	fmt.Printf("history         %d finished requests (written in %v, %d chain entries): %v of %v per second, fraction %.2f (%d failed)\n",
		c.Requests, c.history.took.Round(time.Second), c.history.chain.Entries, c.windows["history"], c.windows["empty"], c.HistoryFraction, c.HistoryFailed)
	fmt.Printf("                verifying the longest record chain takes %.1f s, every few minutes\n", c.ChainVerify)
	printMemory("                peak memory", c.HistoryRSS)
	fmt.Printf("two instances   %v of %v per second: fraction %.2f (%d failed)\n",
		c.windows["replica"], c.windows["empty"], c.ReplicaFraction, c.ReplicaFailed)
	fmt.Printf("parked          beside %d requests that wait: %v of %v per second, fraction %.2f (%d failed)\n",
		c.Parked, c.windows["parked"], c.windows["unparked"], c.ParkedFraction, c.ParkedFailed)
	fmt.Printf("policy          under the treasury template %v of %v per second under the simplest: fraction %.2f (%d failed)\n",
		c.windows["treasury"], c.windows["simple"], c.PolicyFraction, c.PolicyFailed)
	printMemory("compared        peak memory", c.RSS)
	c.decisions.print()
}

// String shows the mean and what it is the mean of.
func (w windows) String() string {
	out := fmt.Sprintf("%.0f (", w.perSecond())
	for i, s := range w {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%.0f", s.perSecond)
	}
	return out + ")"
}

func printMemory(title string, rss map[string]float64) {
	var names []string
	for name := range rss {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Printf("%s %-14s %.0f MiB\n", title, name, rss[name])
	}
}
