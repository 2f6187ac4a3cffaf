package main

import "time"

// plan is how long each part is measured.
type plan struct {
	wallets    int
	commits    int // single-row commits
	latencies  int // requests one at a time
	saturation stretch
	floor      time.Duration // each half of the floor
	half       time.Duration // at half the rate
	compared   compared
}

// stretch is a time of saturation: clients requests are under way, for warm
// without being counted, then for counted.
type stretch struct {
	clients       int
	warm, counted time.Duration
}

// compared is how the comparisons are measured.
type compared struct {
	history int     // finished requests; 0: nothing is compared
	parked  int     // requests that wait for a person
	prime   stretch // of each deployment, before anything is compared
	window  stretch
}

// clients is enough to saturate the services.
const clients = 256

func fullPlan() plan {
	return plan{
		wallets: 64, commits: 1000, latencies: 500, floor: 5 * time.Second, half: 20 * time.Second,
		saturation: stretch{clients, 5 * time.Second, 30 * time.Second},
		compared: compared{
			history: 1_000_000, parked: 1000,
			prime:  stretch{clients, 0, 5 * time.Second},
			window: stretch{clients, 2 * time.Second, 12 * time.Second},
		},
	}
}

func quickPlan() plan {
	return plan{
		wallets: 64, commits: 400, latencies: 150, floor: 2 * time.Second, half: 5 * time.Second,
		saturation: stretch{clients, 2 * time.Second, 8 * time.Second},
	}
}
