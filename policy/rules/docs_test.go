package rules_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

var update = flag.Bool("update", false, "write the tables of docs/rules.md")

const page = "../../docs/rules.md"

// tables are what the page must say of the declarations.
func tables() map[string]string {
	return map[string]string{
		"variables": variableTable(), "elements": elementTable(), "signals": functionTable("signal."),
		"history": functionTable("history."), "functions": functionTable(""), "forms": formTable(),
	}
}

func variableTable() string {
	out := "| variable | type | of | what |\n| --- | --- | --- | --- |\n"
	for _, v := range rules.Variables() {
		out += fmt.Sprintf("| `%s` | `%s` | %s | %s |\n", v.Name, typeOf(v.Type), v.Of, v.Doc)
	}
	return out
}

func elementTable() string {
	out := "| element | field | type | what |\n| --- | --- | --- | --- |\n"
	for _, s := range rules.Structs() {
		for _, f := range s.Fields {
			out += fmt.Sprintf("| `%s` | `%s` | `%s` | %s |\n", s.Name, f.Name, f.Type, f.Doc)
		}
	}
	return out
}

// functionTable lists the functions that begin with a prefix; "" means those
// that have none.
func functionTable(prefix string) string {
	out := "| function | gives | cost | what |\n| --- | --- | --- | --- |\n"
	for _, f := range rules.Functions() {
		signal, history := strings.HasPrefix(f.Name, "signal."), strings.HasPrefix(f.Name, "history.")
		if prefix == "" && (signal || history) || !strings.HasPrefix(f.Name, prefix) {
			continue
		}
		out += fmt.Sprintf("| `%s` | `%s` | %d | %s |\n", callOf(f), typeOf(f.Result), f.Cost, f.Doc)
	}
	return out
}

// typeOf writes a type as conditions do.
func typeOf(t fmt.Stringer) string {
	return strings.NewReplacer("google.protobuf.Timestamp", "timestamp", "google.protobuf.Duration", "duration").Replace(t.String())
}

func callOf(f rules.Function) string {
	var args []string
	for _, a := range f.Args {
		args = append(args, a.Name)
	}
	if strings.HasPrefix(f.Name, "get") {
		return args[0] + "." + f.Name + "(" + args[1] + ")"
	}
	return f.Name + "(" + strings.Join(args, ", ") + ")"
}

func formTable() string {
	seen := map[string]bool{}
	out := "| argument | must be |\n| --- | --- |\n"
	for _, f := range rules.Functions() {
		for _, a := range f.Args {
			row := fmt.Sprintf("| `%s` | %s |\n", a.Name, a.Form)
			if a.Form != rules.Any && !seen[row] {
				seen[row] = true
				out += row
			}
		}
	}
	return out
}

// TestTablesOfTheDocs holds docs/rules.md against the declarations; -update
// writes them.
func TestTablesOfTheDocs(t *testing.T) {
	text := readPage(t)
	for name, table := range tables() {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->\n"
		before, rest, ok := strings.Cut(text, begin)
		old, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("the page has no table %s", name)
		}
		if old != table && !*update {
			t.Errorf("table %s is not as declared; run go test ./policy/rules -run Docs -update", name)
		}
		text = before + begin + table + end + after
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var block = regexp.MustCompile("(?s)```cel\n(.*?)```")

// TestExamplesOfTheDocs compiles every condition that the page shows.
func TestExamplesOfTheDocs(t *testing.T) {
	count := 0
	for _, found := range block.FindAllStringSubmatch(readPage(t), -1) {
		for _, when := range strings.Split(found[1], "\n\n") {
			if strings.TrimSpace(when) == "" {
				continue
			}
			count++
			if _, err := rules.Compile(documentOf(document.Rule{ID: "r", Effect: "allow", When: when}), "approval", nil); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d examples were found", count)
	}
}

var code = regexp.MustCompile(`(?m)^\s*((?:Code|Warn)[A-Za-z]+) += "([a-z_]+)"`)

// TestCodesAreListed: reasons stand in docs/errors.md, warnings in
// docs/rules.md.
func TestCodesAreListed(t *testing.T) {
	errors, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{"Code": string(errors), "Warn": readPage(t)}
	found := 0
	for _, file := range []string{"rules.go", "signals.go", "check.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(source), -1) {
			found++
			if !strings.Contains(pages[m[1][:4]], "| `"+m[2]+"` |") {
				t.Errorf("%s is not listed", m[2])
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d codes were found", found)
	}
}
