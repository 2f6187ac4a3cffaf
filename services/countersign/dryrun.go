package main

import (
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// dryRun is what every role would decide.
type dryRun message.DryRun

// dryRunOf returns the output of a dry run; nil of any other request.
func dryRunOf(r api.Request) *dryRun {
	if r.Result == nil || r.Result.Status != message.StatusDone {
		return nil
	}
	var out dryRun
	if json.Unmarshal(r.Result.Output, &out, json.RejectUnknownMembers(true)) != nil || len(out.Decisions) == 0 {
		return nil
	}
	return &out
}

func (d *dryRun) human(w io.Writer) {
	fmt.Fprintln(w, "dry run  nothing was signed, and nothing counts")
	for _, one := range d.Decisions {
		fmt.Fprintf(w, "  %-14s %s\n", one.Role, one.Decision)
		for _, reason := range one.Reasons {
			fmt.Fprintf(w, "    %s: %s\n", reason.Code, reason.Detail)
		}
	}
}

// ended gives a dry run the exit code that the request itself would have: one
// "no" ends it, and people are asked only if there is none.
func (d *dryRun) ended() error {
	asks := false
	for _, one := range d.Decisions {
		switch one.Decision {
		case message.WouldReject:
			return ended{exitRefused, "one that would be rejected"}
		case message.WouldAsk:
			asks = true
		}
	}
	if asks {
		return ended{exitNotEnded, "one that would wait for people"}
	}
	return nil
}
