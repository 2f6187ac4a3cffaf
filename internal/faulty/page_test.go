package faulty_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page's place in the repository.
var pageFile = filepath.Join("..", "..", "docs", "reliability.md")

// TestPageKnowsTheSchema: every table of the database is spoilt by the hostile
// database's run, and docs/reliability.md says of each of its columns that it was
// changed: after a change of the schema the long run is due (make test-long). The
// run that writes the page does not look at the old one.
func TestPageKnowsTheSchema(t *testing.T) {
	t.Parallel()
	columns := columnsOfMigrations(t)
	for _, table := range tables {
		if len(columns[table]) == 0 {
			t.Errorf("the schema has no table %s", table)
		}
	}
	for table := range columns {
		if !slices.Contains(tables, table) {
			t.Errorf("table %s is not among those that are spoilt", table)
		}
	}
	if os.Getenv(pageVariable) != "" {
		return
	}
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	for table, names := range columns {
		row := regexp.MustCompile(`(?m)^\| ` + table + ` \|.*$`).FindString(string(text))
		for _, name := range names {
			if !strings.Contains(row, "changed "+name+" ") {
				t.Errorf("%s says nothing of %s.%s", pageFile, table, name)
			}
		}
	}
}

// columnsOfMigrations reads the columns of all tables out of the migrations.
func columnsOfMigrations(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "database", "migrations", "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	created := regexp.MustCompile(`(?ms)^CREATE TABLE countersign\.(\w+) \(\n(.*?)^\)`)
	column := regexp.MustCompile(`(?m)^    ([a-z_]+) +[a-z]`)
	added := regexp.MustCompile(`(?m)^ALTER TABLE countersign\.(\w+) ADD COLUMN (\w+) `)
	out := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range created.FindAllStringSubmatch(string(text), -1) {
			for _, c := range column.FindAllStringSubmatch(table[2], -1) {
				out[table[1]] = append(out[table[1]], c[1])
			}
		}
		for _, c := range added.FindAllStringSubmatch(string(text), -1) {
			out[c[1]] = append(out[c[1]], c[2])
		}
	}
	return out
}
