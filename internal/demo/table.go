package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one thing that happened.
type row struct {
	what, came string
	took       time.Duration
}

// table is the demo's account of itself.
type table struct {
	began  time.Time
	rows   []row
	failed []error
}

// add tells a row at once and keeps it for the end.
func (t *table) add(what, came string, took time.Duration) {
	fmt.Printf("  %-52s %s\n", what, came)
	t.rows = append(t.rows, row{what, came, took})
}

// fail keeps going, so that the table is whole.
func (t *table) fail(what string, err error) {
	t.add(what, "FAILED: "+firstLine(err.Error()), 0)
	t.failed = append(t.failed, fmt.Errorf("%s: %w", what, err))
}

func (t *table) failure() error { return errors.Join(t.failed...) }

func (t *table) print(w io.Writer) {
	fmt.Fprintln(w)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "WHAT\tTIME\tWHAT CAME OF IT")
	for _, r := range t.rows {
		took := ""
		if r.took > 0 {
			took = r.took.Round(time.Millisecond / 10).String()
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", r.what, took, r.came)
	}
	_ = out.Flush()
	fmt.Fprintf(w, "\nall of it took %v\n", time.Since(t.began).Round(100*time.Millisecond))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
