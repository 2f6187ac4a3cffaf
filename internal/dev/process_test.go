package dev_test

import (
	"slices"
	"testing"

	"github.com/countersign/countersign/internal/dev"
)

// TestServicesShareTheProcessors: half of them each, at least one, unless
// whoever starts the launcher says otherwise.
func TestServicesShareTheProcessors(t *testing.T) {
	for name, c := range map[string]struct {
		own  []string
		cpus int
		want []string
	}{
		"one":       {[]string{"A=b"}, 1, []string{"A=b", "GOMAXPROCS=1"}},
		"two":       {[]string{"A=b"}, 2, []string{"A=b", "GOMAXPROCS=1"}},
		"eight":     {nil, 8, []string{"GOMAXPROCS=4"}},
		"set":       {[]string{"GOMAXPROCS=7", "A=b"}, 8, []string{"GOMAXPROCS=7", "A=b"}},
		"set empty": {[]string{"GOMAXPROCS="}, 8, []string{"GOMAXPROCS="}},
	} {
		if got := dev.Environment(c.own, c.cpus); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
