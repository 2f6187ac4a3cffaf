package metrics_test

import (
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/metrics"
	"github.com/countersign/countersign/queue"
	"github.com/countersign/countersign/secrets"
)

// secret stands wherever a caller could let something slip.
const secret = "hunter2-secret"

var services = append([]string{"proposer", message.RoleSigning}, message.PolicyRoles()...)

// newMetrics returns the metrics of a service whose pool never connects.
func newMetrics(t *testing.T, service string) *metrics.Metrics {
	t.Helper()
	db, err := database.Open(database.Config{
		Addr: "127.0.0.1:1", Name: "countersign", User: database.Role(service),
		Password: secrets.Generate(), RootCAs: x509.NewCertPool(), ServerName: "db.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return metrics.New(metrics.Config{Service: service, DB: db, PolicyVersion: func() int { return 7 }, MemoryLocked: true})
}

// scrape returns what Prometheus would read, as text and parsed.
func scrape(t *testing.T, m *metrics.Metrics) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	return string(body), families
}

func labelsOf(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// value returns the one figure of a family with the given labels among its own.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		own, fits := labelsOf(m), true
		for k, v := range labels {
			fits = fits && own[k] == v
		}
		if fits {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("there is no %s with %v", name, labels)
	return 0
}

func TestPolicyService(t *testing.T) {
	m := newMetrics(t, message.RoleFraud)
	m.Epochs(func() int { return 2 })
	m.Records(func() (int64, bool) { return 41, true })
	m.Settled(message.RoleFraud, []queue.Verdict{
		{Disposition: queue.Done, Reply: &queue.Reply{}},
		{Disposition: queue.Done, Reply: &queue.Reply{}},
		{Disposition: queue.Done, Reply: &queue.Reply{Decisive: true}},
		{Disposition: queue.Park},
		{Disposition: queue.Retry},
	}, 3*time.Millisecond)
	m.Failed(message.RoleFraud, 4, false)
	m.Failed(message.RoleFraud, 6, true)
	_, families := scrape(t, m)
	for _, c := range []struct {
		name, label, value string
		want               float64
	}{
		{"countersign_requests_total", "outcome", "approved", 2},
		{"countersign_requests_total", "outcome", "rejected", 1},
		{"countersign_requests_total", "outcome", "waiting", 1},
		{"countersign_requests_total", "outcome", "other", 0},
		{"countersign_queue_deliveries_total", "end", "settled", 5},
		{"countersign_queue_deliveries_total", "end", "failed", 4},
		{"countersign_queue_deliveries_total", "end", "lease_lost", 6},
		{"countersign_claim_to_settle_seconds", "role", "fraud", 5},
	} {
		if got := value(t, families, c.name, map[string]string{"role": "fraud", c.label: c.value}); got != c.want {
			t.Errorf("%s of %s is %v, want %v", c.name, c.value, got, c.want)
		}
	}
	for name, want := range map[string]float64{
		"countersign_epochs_open": 2, "countersign_policy_version": 7, "countersign_memory_locked": 1,
		"countersign_record_chain_entries": 41, "countersign_record_chain_broken": 1, "countersign_build_info": 1,
		"go_sql_open_connections": 0,
	} {
		if got := value(t, families, name, nil); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	sum := families["countersign_claim_to_settle_seconds"].GetMetric()[0].GetHistogram().GetSampleSum()
	if sum < 0.0149 || sum > 0.0151 {
		t.Errorf("five tasks took %v s together, want 0.015", sum)
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if families[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestOutcomesOfOtherServices(t *testing.T) {
	signing, proposer := newMetrics(t, message.RoleSigning), newMetrics(t, "proposer")
	for _, s := range []message.Status{
		message.StatusSigned, message.StatusDone, message.StatusRejected, message.StatusExpired,
		message.StatusFailed, message.StatusCancelled,
	} {
		signing.Ended(s)
		_, families := scrape(t, signing)
		if got := value(t, families, "countersign_requests_total", map[string]string{"outcome": string(s)}); got != 1 {
			t.Errorf("%s counts %v, want 1", s, got)
		}
	}
	proposer.Submitted([]queue.Outcome{queue.Accepted, queue.Repeated, queue.Accepted, queue.Conflict, 99})
	_, families := scrape(t, proposer)
	for o, want := range map[string]float64{"accepted": 2, "repeated": 1, "conflict": 1, "other": 1} {
		if got := value(t, families, "countersign_requests_total", map[string]string{"outcome": o}); got != want {
			t.Errorf("%s counts %v, want %v", o, got, want)
		}
	}
}

// What a webhook's consumer settles is delivered and decides nothing.
func TestWebhooks(t *testing.T) {
	m := newMetrics(t, "proposer")
	m.Settled("webhook:books", []queue.Verdict{{Disposition: queue.Park}, {Disposition: queue.Done}}, time.Minute)
	for _, end := range []string{"delivered", "delivered", "failed", "given_up", "gone", "unverified", "skipped", "nonsense"} {
		m.Webhook(end)
	}
	_, families := scrape(t, m)
	for end, want := range map[string]float64{"delivered": 2, "failed": 1, "given_up": 1, "gone": 1, "unverified": 1, "skipped": 1, "other": 1} {
		if got := value(t, families, "countersign_webhook_deliveries_total", map[string]string{"end": end}); got != want {
			t.Errorf("%s counts %v, want %v", end, got, want)
		}
	}
	for _, o := range []string{"accepted", "other"} {
		if got := value(t, families, "countersign_requests_total", map[string]string{"outcome": o}); got != 0 {
			t.Errorf("%v requests are %s", got, o)
		}
	}
	if got := value(t, families, "countersign_queue_deliveries_total", map[string]string{"end": "settled"}); got != 2 {
		t.Errorf("%v tasks were settled", got)
	}
	fraud := newMetrics(t, message.RoleFraud)
	fraud.Webhook("delivered") // it has none, and that is no fault
	if _, families := scrape(t, fraud); families["countersign_webhook_deliveries_total"] != nil {
		t.Error("a policy service counts webhooks")
	}
}

// TestAttackSecretOrIdentityInMetricLabels gives the metrics secrets, ids and
// names wherever a request, a row or a caller's mistake could carry them, and
// holds every label against the closed set.
func TestAttackSecretOrIdentityInMetricLabels(t *testing.T) {
	allowed := map[string][]string{
		"role": services,
		"outcome": {
			"approved", "rejected", "waiting", "signed", "done", "expired", "failed", "cancelled",
			"accepted", "repeated", "conflict", "other",
		},
		"end": {
			"settled", "failed", "lease_lost",
			"delivered", "given_up", "gone", "unverified", "skipped", "other",
		},
		"db_name": {"countersign"},
	}
	// Labels of the process itself: the same at every request.
	ofProcess := []string{"version", "revision", "go_version", "quantile", "le", "code", "cause"}
	id := uuid.Must(uuid.NewV7()).String()
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			m := newMetrics(t, service)
			before, _ := scrape(t, m)
			m.Settled(secret, []queue.Verdict{
				{Disposition: queue.Park, Note: secret},
				{Disposition: queue.Done, Note: id, Reply: &queue.Reply{Sender: secret, Body: []byte(secret)}},
				{Disposition: queue.Disposition(99), Reply: &queue.Reply{Sender: id, Decisive: true}},
			}, time.Hour)
			m.Failed(id, 1, true)
			m.Failed(secret, 1, false)
			m.Ended(message.Status(secret))
			m.Request(metrics.Outcome("alice " + id))
			m.Webhook("https://alice.example/" + id)
			m.Submitted([]queue.Outcome{-1, 1 << 30})
			text, families := scrape(t, m)
			for _, word := range []string{secret, id, "alice", "127.0.0.1", "db.test", database.Role(service)} {
				if strings.Contains(text, word) {
					t.Errorf("the metrics tell %q", word)
				}
			}
			if a, b := series(before), series(text); !slices.Equal(a, b) {
				t.Errorf("there were %d series, now %d", len(a), len(b))
			}
			for name, family := range families {
				for _, metric := range family.GetMetric() {
					for label, v := range labelsOf(metric) {
						if !slices.Contains(allowed[label], v) && !slices.Contains(ofProcess, label) {
							t.Errorf("%s has label %s=%q", name, label, v)
						}
					}
				}
			}
		})
	}
}

// series returns the names and labels of all our figures.
func series(text string) []string {
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "countersign_") {
			found[line[:strings.LastIndex(line, " ")]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Two services in one process, as in a test, have nothing in common.
func TestNothingIsGlobal(t *testing.T) {
	one, other := newMetrics(t, message.RoleFraud), newMetrics(t, message.RoleFraud)
	one.Request(metrics.Approved)
	_, families := scrape(t, other)
	if got := value(t, families, "countersign_requests_total", map[string]string{"outcome": "approved"}); got != 0 {
		t.Errorf("the other counts %v", got)
	}
}
