package faulty_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pageVariable names the file that a run writes its results to: make test-long
// writes docs/reliability.md.
const pageVariable = "COUNTERSIGN_RELIABILITY"

// section is one table of the page.
type section struct {
	title, text string
	columns     []string
	rows        [][]string
}

// page collects what the tests of one run have found.
var page = struct {
	sync.Mutex
	statements, load, clocks, hostile section
}{
	statements: section{
		title: "A connection cut, or a service killed, at every statement",
		text: `A proxy stands between one service and PostgreSQL. It breaks the first statement that the service sends after a request was
submitted, then, for the next request, the second, and so on (at most 12, since services also send statements of their own accord), until
a request ends without coming that far: before the server has seen the statement, and after the server has done it and before the
service hears of that. The connection is cut, or the service killed (SIGKILL) and started again by its launcher. Each request must end
as it would have; what a killed service had leased waits for its lease, 5 s.`,
		columns: []string{"service", "request", "fault", "statements broken", "slowest end"},
	},
	load: section{
		title: "Faults under load",
		text: `Transfers are sent by 32 clients at once. Where the wallet's limit of 24 hours is at stake exactly as many must be signed as it
allows; elsewhere all. A full disk is a small file system below the database, which is filled, with the room for the log too where
PostgreSQL gives up, and freed later.`,
		columns: []string{"what happens meanwhile", "requests", "signed", "rejected by the limit", "lost or signed twice"},
	},
	clocks: section{
		title: "Clocks",
		text: `The wall clocks of services are put ahead or back while transfers run; apart from the clock the services are as they are built for use
([decisions/clock-faults.md](decisions/clock-faults.md)). Clocks that differ by 30 s are allowed for. With a greater difference requests may
wait until the clock is right again; then all must end by themselves.`,
		columns: []string{"whose clock", "what it does", "requests", "signed", "rejected by the limit", "ended while it was wrong", "first end after it was right"},
	},
	hostile: section{
		title: "A hostile database",
		text: `The database's superuser spoils one table, column by column and row by row, while transfers run: changes and exchanges values, deletes
rows, inserts older ones again, and puts older states of the whole table back. Allowed are the transfer that was asked for, signed by its
account; no signature, with a reason; or a delay. Afterwards the tables are put right, and transfers must be signed again.`,
		columns: []string{"table", "mutations", "of them", "transfers", "ended in time"},
	},
}

// TestMain writes the page when all has passed.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, bin := range built.dirs {
		_ = os.RemoveAll(bin)
	}
	if path := os.Getenv(pageVariable); path != "" && code == 0 {
		if err := os.WriteFile(path, []byte(renderPage()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func (s *section) add(cells ...any) {
	page.Lock()
	defer page.Unlock()
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	s.rows = append(s.rows, row)
}

func renderPage() string {
	var out strings.Builder
	out.WriteString("# Reliability\n\nWhat happens to requests when something breaks. This page is written by `make test-long`: every line is a run of real service\n" +
		"processes against a real PostgreSQL ([internal/faulty](../internal/faulty)), and a run that loses a request, signs one twice or passes a\n" +
		"limit fails. `make test` runs a short form of the same.\n")
	for _, s := range []section{page.statements, page.load, page.clocks, page.hostile} {
		s.render(&out)
	}
	return out.String()
}

func (s section) render(out *strings.Builder) {
	if len(s.rows) == 0 {
		return
	}
	slices.SortStableFunc(s.rows, slices.Compare)
	fmt.Fprintf(out, "\n## %s\n\n%s\n\n", s.title, s.text)
	line := func(cells []string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	line(s.columns)
	line(slices.Repeat([]string{"---"}, len(s.columns)))
	for _, row := range s.rows {
		line(row)
	}
}
