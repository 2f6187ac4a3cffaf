// Package docs_test recomputes the known answers of SPEC.md from the page
// itself. `go test ./docs -update` writes the answers anew.
package docs_test

import (
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/message"
)

var update = flag.Bool("update", false, "write the computed answers into SPEC.md")

// block is one ```vector block: its inputs and its answers, in order.
type block struct {
	name    string
	inputs  []line
	answers []line
}

type line struct {
	name, value string
	number      int // in the page, from 0
}

// get returns an input; a name may go on with a remark for people.
func (b block) get(t *testing.T, name string) string {
	t.Helper()
	for _, l := range b.inputs {
		if l.name == name || strings.HasPrefix(l.name, name+" (") {
			return l.value
		}
	}
	t.Fatalf("vector %s has no input %q", b.name, name)
	return ""
}

func (b block) bytes(t *testing.T, name string) []byte {
	t.Helper()
	out, err := hex.DecodeString(b.get(t, name))
	if err != nil {
		t.Fatalf("vector %s, input %q: %v", b.name, name, err)
	}
	return out
}

func (b block) hash(t *testing.T, name string) message.Hash {
	t.Helper()
	h, err := message.ParseHash(b.get(t, name))
	if err != nil {
		t.Fatalf("vector %s, input %q: %v", b.name, name, err)
	}
	return h
}

// all returns the values of every input of one name.
func (b block) all(name string) (out []string) {
	for _, l := range b.inputs {
		if l.name == name {
			out = append(out, l.value)
		}
	}
	return out
}

func parse(t *testing.T, page []string) (out []block) {
	t.Helper()
	in := false
	for i, text := range page {
		switch name, opens := strings.CutPrefix(text, "```vector "); {
		case opens:
			out, in = append(out, block{name: name}), true
		case strings.HasPrefix(text, "```"):
			in = false
		case in:
			rest, isAnswer := strings.CutPrefix(text, "-> ")
			name, value, ok := strings.Cut(rest, " =")
			if !ok {
				t.Fatalf("line %d of a vector has no =: %s", i+1, text)
			}
			l := line{name, strings.TrimPrefix(value, " "), i}
			b := &out[len(out)-1]
			if isAnswer {
				b.answers = append(b.answers, l)
			} else {
				b.inputs = append(b.inputs, l)
			}
		}
	}
	return out
}

// TestSpecVectors computes every answer of the page again.
func TestSpecVectors(t *testing.T) {
	raw, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Split(string(raw), "\n")
	used := map[string]bool{}
	for _, b := range parse(t, page) {
		t.Run(b.name, func(t *testing.T) {
			compute, ok := computers[b.name]
			if !ok {
				t.Fatal("no computation of this name")
			}
			used[b.name] = true
			got := compute(t, b)
			if len(got) != len(b.answers) {
				t.Errorf("%d answers computed, %d in the page", len(got), len(b.answers))
			}
			for _, a := range b.answers {
				if *update {
					page[a.number] = "-> " + a.name + " = " + got[a.name]
					continue
				}
				if got[a.name] != a.value || a.value == "" {
					t.Errorf("%s is\n  %s\nthe page says\n  %s", a.name, got[a.name], a.value)
				}
			}
		})
	}
	for name := range computers {
		if !used[name] {
			t.Errorf("the page has no vector %s", name)
		}
	}
	if *update {
		if err := os.WriteFile("SPEC.md", []byte(strings.Join(page, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpecLabels holds the page's table of labels against the one file that
// has them.
func TestSpecLabels(t *testing.T) {
	page, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../internal/message/labels.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## 2. Labels")
	section, _, _ := strings.Cut(rest, "## 3.")
	quoted := regexp.MustCompile(`"(countersign[^"]*)"`)
	inCode := map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(string(source), -1) {
		inCode[m[1]] = true
		if !strings.Contains(section, "`"+m[1]+"`") {
			t.Errorf("label %s is not in the page", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(countersign[^`]*)`").FindAllStringSubmatch(section, -1) {
		if !inCode[m[1]] {
			t.Errorf("label %s is not in the code", m[1])
		}
	}
	if len(inCode) < 16 {
		t.Errorf("only %d labels found", len(inCode))
	}
}
