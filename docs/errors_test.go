package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/proposer"
)

// row is a row of a table of codes: the code, and the status where there is
// one.
var row = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|(?: ([0-9]{3}) \\|)?")

// section returns the codes of one section of a page, with the status of each or
// "".
func section(t *testing.T, name, title string) map[string]string {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", name, title)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	codes := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if _, twice := codes[m[1]]; twice {
			t.Errorf("%s: %s stands twice", title, m[1])
		}
		codes[m[1]] = m[2]
	}
	return codes
}

func TestErrorsOfProposer(t *testing.T) {
	listed := section(t, "errors.md", "Problems of the proposer")
	for code, status := range proposer.Codes() {
		if listed[string(code)] != fmt.Sprint(status) {
			t.Errorf("%s: listed with status %q, is %d", code, listed[string(code)], status)
		}
		delete(listed, string(code))
	}
	for code := range listed {
		t.Errorf("%s is listed, but there is none", code)
	}
}

// constant is how a code is written in the source.
var constant = regexp.MustCompile(`(?m)^\s*(?:const )?(?:code|Code|Reason|reason)[A-Za-z0-9]+\s+(?:code |Code |string )?= "([a-z0-9_]+)"`)

// TestErrorsOfServices looks for the codes in the services' source: each must
// be listed in its section, and nothing else.
func TestErrorsOfServices(t *testing.T) {
	for title, paths := range map[string][]string{
		"Problems of the approval service": {"policy/approval/problem.go"},
		"Reasons of every policy service":  {"policy/*.go"},
		"Reasons of authorization":         {"policy/authorization", "policy/document"},
		"Reasons of rules":                 {"policy/rules", "policy/judge"},
		"Reasons of approval":              {"policy/approval/[^p]*.go", "policy/exposure"},
		"Reasons of the signing service":   {"signing"},
	} {
		t.Run(title, func(t *testing.T) {
			listed := section(t, "errors.md", title)
			found := codesIn(t, paths)
			if len(found) == 0 {
				t.Fatal("no code was found in the source")
			}
			for code := range found {
				if _, ok := listed[code]; !ok {
					t.Errorf("%s is not listed", code)
				}
				delete(listed, code)
			}
			for code := range listed {
				t.Errorf("%s is listed, but there is none", code)
			}
		})
	}
}

// codesIn finds the codes in the Go files that match, and below folders.
func codesIn(t *testing.T, paths []string) map[string]bool {
	t.Helper()
	codes := map[string]bool{}
	for _, pattern := range paths {
		matches, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil || len(matches) == 0 {
			t.Fatalf("nothing matches %s: %v", pattern, err)
		}
		for _, match := range matches {
			err := filepath.WalkDir(match, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
					return err
				}
				source, err := os.ReadFile(path)
				for _, m := range constant.FindAllStringSubmatch(string(source), -1) {
					codes[m[1]] = true
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return codes
}
