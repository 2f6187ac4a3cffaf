package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// longestExpires is how long a request may stay open at most.
const longestExpires = 7 * 24 * time.Hour

// page is a flag that says how many entries to show: 1 or more. Left out it is 0,
// and the service says how many.
type page int

func pageFlag(c *cobra.Command, limit *int) {
	c.Flags().Var((*page)(limit), "limit", "how many to show at most")
}

func (p *page) String() string { return strconv.Itoa(int(*p)) }

// Type names the value in the help.
func (*page) Type() string { return "int" }

func (p *page) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a whole number", text)
	case n < 1:
		return fmt.Errorf("%d is below 1", n)
	}
	*p = page(n)
	return nil
}

// span is a flag that is a length of time within bounds.
type span struct {
	value       *time.Duration
	least, most time.Duration // most 0: any
}

func (s span) String() string {
	if s.value == nil {
		return ""
	}
	return s.value.String()
}

// Type names the value in the help.
func (span) Type() string { return "duration" }

func (s span) Set(text string) error {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a length of time: write for example 90s or 2h", text)
	case d < s.least:
		return fmt.Errorf("%s is below %s", d, s.least)
	case s.most > 0 && d > s.most:
		return fmt.Errorf("%s is more than %s", d, s.most)
	}
	*s.value = d
	return nil
}
