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
	statements, load, stops, clocks, hostile section
}{
	statements: section{
		title: "A connection cut, or a service killed, at every statement",
		text: fmt.Sprintf(`A proxy stands between one service and PostgreSQL. It breaks the first statement that the service sends after a request was
submitted, then, for the next request, the second, and so on (at most %d, since services also send statements of their own accord), until
%d requests in a row end without coming that far: before the server has seen the statement, and after the server has done it and before the
service hears of that. The connection is cut, or the service killed (SIGKILL) and started again by its launcher. Each request must end
as it would have, and for the same reason; what a killed service had leased waits for its lease, 5 s. After the freeze of a wallet a
transfer of that wallet must be rejected, and one of another signed; after the freeze of the user a transfer of theirs must be rejected, until
a policy document takes the freeze back. A request that is to expire lives for %.0f s. The deployments of this table, three for each
service, run at once and share one machine: its load is part of the slowest ends.`, mostStatements(), mostMisses, shortLife.Seconds()),
		columns: []string{"service", "request", "fault", "statements broken", "slowest end"},
	},
	load: section{
		title: "Faults under load",
		text: fmt.Sprintf(`Transfers are sent by %d clients at once. Most are of 1 wei, and all of these must be signed. Where some are rejected, others of 0.9 ether
were sent beside them, of which the wallet's limit of 24 hours allows %d: exactly so many must be signed. A full disk is a small file system below
the database, which is filled, with the room for the log too where PostgreSQL gives up, and freed later. The last column counts, in the database,
requests without a result, with two, or with another than the audit log's; no task may be left either.`, clients, spendable()),
		columns: []string{"what happens meanwhile", "requests", "signed", "rejected by the limit", "lost or signed twice"},
	},
	stops: section{
		title: "Orderly stops",
		text: `Each service is sent SIGTERM while transfers are under way, and started again by its launcher. It must end within ` + fmt.Sprintf("%.0f s", stopsWithin.Seconds()) + `, with
exit code 0, and leave no task leased: nobody has to wait for a lease then.`,
		columns: []string{"service", "stops", "slowest stop", "tasks left leased"},
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
		text: `The database's superuser spoils one table, column by column and row by row, while requests run: changes and exchanges values, deletes
rows, inserts older ones again, and puts older states of the whole table back. Allowed are the transfer that was asked for, signed by its
account, or the wallet or account that was asked for; none of these, with a reason; or a delay. Beside those that may be carried out run requests that
must not be: transfers to a denied destination, transfers of more than may be moved without people (nobody votes), transfers beyond what is left of
a wallet's limit of 24 hours, and wallets for somebody else. One that is signed or done fails the run. Afterwards the tables are put right, and
transfers must be signed again.`,
		columns: []string{"table", "mutations", "of them", "requests that may be carried out", "ended in time", "requests that must not be", "carried out"},
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
	for _, s := range []section{page.statements, page.load, page.stops, page.clocks, page.hostile} {
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
