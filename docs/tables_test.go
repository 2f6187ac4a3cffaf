package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTablesRender: rows without a head above them are shown as text. An empty
// line within a table makes such rows of all that follow.
func TestTablesRender(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("decisions/*.md")
	if err != nil || len(pages) < 10 || len(decisions) < 2 {
		t.Fatalf("%d pages and %d decisions, %v", len(pages), len(decisions), err)
	}
	for _, page := range slices.Concat(pages, decisions, []string{"../README.md"}) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		before, lines := "", strings.Split(string(text), "\n")
		for i, line := range lines {
			begins := strings.HasPrefix(line, "|") && !strings.HasPrefix(before, "|")
			if begins && (i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "| ---")) {
				t.Errorf("%s:%d: a row without a head", page, i+1)
			}
			before = line
		}
	}
}

// readinessCode is how a code of readiness is written in the source.
var readinessCode = regexp.MustCompile(`(?m)^\s*[A-Z][A-Za-z]+\s+Code = "([a-z_]+)"`)

// TestReadinessCodes: docs/operations.md lists what a service may lack, each
// code once, and nothing else.
func TestReadinessCodes(t *testing.T) {
	source, err := os.ReadFile("../services/internal/readiness/readiness.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := section(t, "operations.md", "Readiness and metrics")
	found := readinessCode.FindAllStringSubmatch(string(source), -1)
	if len(found) < 8 {
		t.Fatalf("only %d codes were found in the source", len(found))
	}
	for _, m := range found {
		if _, ok := listed[m[1]]; !ok {
			t.Errorf("%s is not listed", m[1])
		}
		delete(listed, m[1])
	}
	for code := range listed {
		if !strings.HasPrefix(code, "countersign_") { // a metric
			t.Errorf("%s is listed, but there is none", code)
		}
	}
}
