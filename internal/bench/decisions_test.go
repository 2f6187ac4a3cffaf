package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/bench/policies"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// TestDecisions: the large document compiles, lets the benchmark's payments
// through on a short past, and is measured.
func TestDecisions(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	d, err := decide(t.Context(), compared{history: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if d.Rules != 200 || d.Listed != 100_000 || d.PerSecond <= 0 || d.P99 < d.P50 {
		t.Fatalf("measured %+v", d)
	}
	t.Logf("%+v", *d)
}

// TestTreasuryOfBenchmark: the template is still the one that the benchmark
// knows how to change, and compiles when it is changed.
func TestTreasuryOfBenchmark(t *testing.T) {
	template, err := os.ReadFile(filepath.Join("..", "..", treasury, "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	simple := &document.Document{Deployment: "00", Expires: document.At(time.Now()), Users: []document.User{{ID: "alice"}}}
	raw, err := policies.Treasury(template, simple, 7, receiver)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sanctions, err := os.ReadFile(filepath.Join("..", "..", treasury, "sanctions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := document.ReadList(sanctions)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"authorization", "fraud", "approval"} {
		if _, err := rules.Compile(doc, role, document.Lists{file.SHA256(): file}); err != nil {
			t.Error(err)
		}
	}
}
