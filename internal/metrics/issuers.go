package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Issuer shows the state of the keys of one issuer of access tokens, which must
// be told without waiting for anything. The name stands in the configuration:
// no call can bring a new one. It is called once for each issuer, by the
// proposer.
func (m *Metrics) Issuer(name string, state func() (keys int, read time.Time, failing bool)) {
	show := func(metric, help string, value func(keys int, read time.Time, failing bool) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: metric, Help: help, ConstLabels: prometheus.Labels{"issuer": name},
		}, func() float64 { return value(state()) }))
	}
	show("issuer_keys", "Keys of the issuer that verify access tokens now.",
		func(keys int, _ time.Time, _ bool) float64 { return float64(keys) })
	show("issuer_keys_read_timestamp_seconds", "When the issuer's keys were last read, in Unix time; 0: never.",
		func(_ int, read time.Time, _ bool) float64 {
			if read.IsZero() {
				return 0
			}
			return float64(read.UnixMilli()) / 1e3
		})
	show("issuer_keys_failing", "1 if the last attempt to read the issuer's keys failed.",
		func(_ int, _ time.Time, failing bool) float64 { return boolean(failing) })
}
