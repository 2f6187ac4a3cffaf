// Package metrics counts what a service does and shows it to Prometheus.
//
// It trusts whoever calls it with figures, and nobody with names: each label's
// values are a closed set that is fixed when the service starts, so that no
// id, user, wallet, address or note can reach a metric. It decides nothing and
// keeps nothing but numbers.
package metrics

import (
	"database/sql"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/release"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

const namespace = "countersign"

// Outcome is what became of a request at one service.
type Outcome string

// The outcomes. A policy service decides, the signing service ends, the
// proposer accepts.
const (
	Approved  Outcome = "approved"
	Rejected  Outcome = "rejected"
	Waiting   Outcome = "waiting"
	Signed    Outcome = "signed"
	Done      Outcome = "done"
	Expired   Outcome = "expired"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
	Accepted  Outcome = "accepted"
	Repeated  Outcome = "repeated"
	Conflict  Outcome = "conflict"
	// Other stands for what is none of these.
	Other Outcome = "other"
)

// outcomes are the outcomes that there are at a service.
func outcomes(service string) []Outcome {
	switch service {
	case "proposer":
		return []Outcome{Accepted, Repeated, Conflict, Other}
	case message.RoleSigning:
		return []Outcome{Signed, Done, Rejected, Expired, Failed, Cancelled, Other}
	}
	return []Outcome{Approved, Rejected, Waiting, Other}
}

// Ends of a delivery.
const (
	endSettled = "settled"
	endFailed  = "failed"
	endLost    = "lease_lost"
)

// Config is what there is to show from the start.
type Config struct {
	// Service is the name of the service, which is the label "role".
	Service string
	// DB is the service's pool of connections.
	DB *sql.DB
	// PolicyVersion returns the active document's version; 0: none is active.
	PolicyVersion func() int
	// MemoryLocked says that no page of the process is written to swap.
	MemoryLocked bool
}

// Metrics are one service's. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests map[Outcome]prometheus.Counter
	ends     map[string]prometheus.Counter
	took     prometheus.Histogram
	service  string
	webhooks map[string]prometheus.Counter // of the proposer
}

// New returns the metrics of a service, in a registry of their own.
func New(cfg Config) *Metrics {
	m := &Metrics{
		service:  cfg.Service,
		registry: prometheus.NewRegistry(),
		requests: map[Outcome]prometheus.Counter{}, ends: map[string]prometheus.Counter{},
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewDBStatsCollector(cfg.DB, namespace),
		build(),
		gauge("policy_version", "Version of the active policy document; 0 if none is active.",
			func() float64 { return float64(cfg.PolicyVersion()) }),
		gauge("memory_locked", "1 if no page of the process is ever written to swap.",
			func() float64 { return boolean(cfg.MemoryLocked) }),
	)
	m.count(cfg.Service)
	return m
}

// count makes the counters, all of which stand at zero from the start.
func (m *Metrics) count(service string) {
	role := prometheus.Labels{"role": service}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "requests_total", ConstLabels: role,
		Help: "Requests by what this service made of them; one that is decided again counts again.",
	}, []string{"outcome"})
	for _, o := range outcomes(service) {
		m.requests[o] = requests.WithLabelValues(string(o))
	}
	ends := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "queue_deliveries_total", ConstLabels: role,
		Help: "Tasks that the queue has delivered, by how the delivery ended.",
	}, []string{"end"})
	for _, end := range []string{endSettled, endFailed, endLost} {
		m.ends[end] = ends.WithLabelValues(end)
	}
	m.took = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "claim_to_settle_seconds", ConstLabels: role,
		Help: "Time from a task's claim until its batch was settled.",
		// From a commit of a fast disk to twice the lease.
		Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
	})
	m.registry.MustRegister(requests, ends, m.took)
	if service == secrets.ServiceProposer {
		m.countWebhooks()
	}
}

// webhookEnds are how deliveries to webhooks end; what is none of these is other.
var webhookEnds = []string{"delivered", "failed", "given_up", "gone", "unverified", "skipped", string(Other)}

func (m *Metrics) countWebhooks() {
	deliveries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_deliveries_total",
		Help: "Attempts to tell a webhook how a request has ended, by what came of them.",
	}, []string{"end"})
	m.webhooks = map[string]prometheus.Counter{}
	for _, end := range webhookEnds {
		m.webhooks[end] = deliveries.WithLabelValues(end)
	}
	m.registry.MustRegister(deliveries)
}

// Webhook counts how a delivery to a webhook ended; only the proposer has any.
func (m *Metrics) Webhook(end string) {
	c, ok := m.webhooks[end]
	if !ok {
		c = m.webhooks[string(Other)]
	}
	if c != nil {
		c.Inc()
	}
}

// Epochs shows how many epochs are open at this service: to the signing
// service its own, to a policy service those that it has announced its key to.
// It is called once.
func (m *Metrics) Epochs(open func() int) {
	m.registry.MustRegister(gauge("epochs_open", "Epochs that are open.", func() float64 { return float64(open()) }))
}

// Records shows the state of the role's record chain, which must be told
// without waiting for anything. It is called once, by a policy service.
func (m *Metrics) Records(state func() (entries int64, broken bool)) {
	m.registry.MustRegister(
		gauge("record_chain_entries", "Entries of the role's record chain that this instance has verified.",
			func() float64 { n, _ := state(); return float64(n) }),
		gauge("record_chain_broken", "1 if the role's record chain is broken: everything is rejected then.",
			func() float64 { _, broken := state(); return boolean(broken) }),
	)
}

// Request counts one request. An outcome that this service does not know
// counts as Other.
func (m *Metrics) Request(o Outcome) {
	c, ok := m.requests[o]
	if !ok {
		c = m.requests[Other]
	}
	c.Inc()
}

// Settled counts a batch; it makes Metrics a queue.Observer. What a policy
// service has decided its verdicts say; those of a consumer of another name, such as
// a webhook's, decide nothing, and take as long as somebody else does.
func (m *Metrics) Settled(consumer string, verdicts []queue.Verdict, took time.Duration) {
	m.ends[endSettled].Add(float64(len(verdicts)))
	if consumer != m.service {
		return
	}
	for _, v := range verdicts {
		m.took.Observe(took.Seconds())
		switch {
		case v.Reply != nil && v.Reply.Decisive:
			m.Request(Rejected)
		case v.Reply != nil:
			m.Request(Approved)
		case v.Disposition == queue.Park:
			m.Request(Waiting)
		}
	}
}

// Failed counts a delivery that ended with an error.
func (m *Metrics) Failed(_ string, tasks int, lost bool) {
	end := endFailed
	if lost {
		end = endLost
	}
	m.ends[end].Add(float64(tasks))
}

// Submitted counts what became of submissions.
func (m *Metrics) Submitted(list []queue.Outcome) {
	names := map[queue.Outcome]Outcome{queue.Accepted: Accepted, queue.Repeated: Repeated, queue.Conflict: Conflict}
	for _, o := range list {
		m.Request(names[o])
	}
}

// Ended counts a request that the signing service has ended.
func (m *Metrics) Ended(s message.Status) { m.Request(Outcome(s)) }

// maxScrapes is how many scrapes may run at once: one is usual.
const maxScrapes = 4

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, MaxRequestsInFlight: maxScrapes,
		// What cannot be had, such as what /proc hides of a process that cannot
		// be dumped, is left out.
		ErrorHandling: promhttp.ContinueOnError,
	})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// build says what this process was built from.
func build() prometheus.Collector {
	r := release.This()
	labels := prometheus.Labels{"version": r.Version, "revision": r.Revision, "go_version": r.Go}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", ConstLabels: labels, Help: "What this process was built from; always 1.",
	})
	g.Set(1)
	return g
}
