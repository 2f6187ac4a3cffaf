package metrics_test

import (
	"strings"
	"testing"
	"time"
)

func TestIssuer(t *testing.T) {
	m := newMetrics(t, "proposer")
	read, failing, keys := time.Time{}, true, 0
	m.Issuer("https://a.example", func() (int, time.Time, bool) { return keys, read, failing })
	m.Issuer("https://b.example", func() (int, time.Time, bool) { return 2, time.UnixMilli(1_700_000_000_500), false })
	check := func(issuer string, wantKeys, wantRead, wantFailing float64) {
		t.Helper()
		_, families := scrape(t, m)
		for name, want := range map[string]float64{
			"countersign_issuer_keys": wantKeys, "countersign_issuer_keys_read_timestamp_seconds": wantRead,
			"countersign_issuer_keys_failing": wantFailing,
		} {
			if got := value(t, families, name, map[string]string{"issuer": issuer}); got != want {
				t.Errorf("%s of %s is %v, want %v", name, issuer, got, want)
			}
		}
	}
	check("https://a.example", 0, 0, 1)
	check("https://b.example", 2, 1_700_000_000.5, 0)
	keys, read, failing = 3, time.Unix(5, 0), false
	check("https://a.example", 3, 5, 0)
}

// The figures of issuers are the proposer's: other services have none.
func TestNoIssuers(t *testing.T) {
	text, _ := scrape(t, newMetrics(t, "proposer"))
	if strings.Contains(text, "issuer") {
		t.Errorf("there are figures of issuers though there is no issuer")
	}
}
