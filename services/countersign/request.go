package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// How long commands wait for a request's end, and how long a request is open,
// unless told otherwise.
const (
	defaultWait    = 30 * time.Second
	defaultExpires = time.Hour
	// firstLook is the first wait: a request that needs no people has ended
	// long before, one that does is reported without making anybody wait.
	firstLook = 2 * time.Second
	// longestLook is the longest that the service waits in one call.
	longestLook = 60 * time.Second
)

// submitFlags are the flags of every command that makes a request.
type submitFlags struct {
	wait    time.Duration
	expires time.Duration
	dryRun  bool
}

func (f *submitFlags) add(c *cobra.Command) {
	f.addTimes(c)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only ask what would be decided: nothing is signed, nothing counts")
}

// addTimes adds the flags of what has no dry run too.
func (f *submitFlags) addTimes(c *cobra.Command) {
	f.wait, f.expires = defaultWait, defaultExpires
	c.Flags().Var(span{value: &f.wait}, "wait", "how long to wait for the end; 0 returns at once")
	c.Flags().Var(span{value: &f.expires, least: time.Second, most: longestExpires}, "expires", "how long the request stays open, at most 168h")
}

// submission is what a command asks for.
type submission struct {
	kind    message.Kind
	wallet  string
	account string
	payload any
}

// submit signs and sends a request, waits, and shows how it stands.
func (a *app) submit(ctx context.Context, c *client.Client, s submission, f submitFlags) error {
	statement, err := c.NewStatement(s.kind, s.wallet, s.account, s.payload, f.expires)
	if err != nil {
		return advise(err, "%s", problemSteps["invalid_statement"])
	}
	statement.DryRun = f.dryRun
	r, err := c.Submit(ctx, statement, min(f.wait, firstLook))
	if err != nil {
		return adviseSubmitted(err, statement)
	}
	if r, err = await(ctx, c, r, f.wait-firstLook); err != nil {
		return advise(fmt.Errorf("waiting for request %s: %w", statement.ID, err), "it goes on without you: countersign request watch %s", statement.ID)
	}
	r.Payload = nil // whoever asks has just said it
	return a.showRequest(r, f.wait > 0)
}

// adviseSubmitted says what to do where the statement is at fault, or may have
// been accepted although no answer came.
func adviseSubmitted(err error, s message.Statement) error {
	if next := nextStep(err); next != "" {
		return err
	}
	return advise(err, "it may have been accepted: countersign request show %s", s.ID)
}

// await waits until the request has ended, waits for people, or the time is
// over.
func await(ctx context.Context, c *client.Client, r api.Request, wait time.Duration) (api.Request, error) {
	for deadline := time.Now().Add(wait); !r.Ended() && r.Status != message.StatusWaiting; {
		left := time.Until(deadline)
		if left <= 0 {
			break
		}
		var err error
		if r, err = c.Wait(ctx, r.ID, min(left, longestLook, firstLook)); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (a *app) requestCommand() *cobra.Command {
	return a.userFlags(group("request", "List, show, follow and cancel requests",
		a.requestList(), a.requestShow(), a.requestWatch(), a.requestCancel()))
}

func (a *app) requestList() *cobra.Command {
	var f client.Filter
	var status, kind string
	c := &cobra.Command{
		Use:   "list",
		Short: "List your requests, newest first",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			f.Status, f.Kind = message.Status(status), message.Kind(kind)
			page, err := c.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.show(page, func(w io.Writer) {
				for _, r := range page.Requests {
					fmt.Fprintf(w, "%s  %-9s  %-21s  %s\n", r.ID, r.Status, r.Kind, r.Submitted.Format(time.RFC3339))
				}
				showNext(w, page.Next)
			})
		},
	}
	c.Flags().StringVar(&status, "status", "", "only those with this status: pending, waiting, signed, done, rejected, expired, cancelled or failed")
	oneOf(c, "status", message.StatusPending, message.StatusWaiting, message.StatusSigned, message.StatusDone,
		message.StatusRejected, message.StatusExpired, message.StatusCancelled, message.StatusFailed)
	c.Flags().StringVar(&kind, "kind", "", "only those of this kind")
	oneOf(c, "kind", message.KindWalletCreate, message.KindAccountCreate,
		message.KindEthereumTransaction, message.KindEthereumMessage, message.KindEthereumTypedData,
		message.KindPolicyUpdate, message.KindWalletFreeze, message.KindUserFreeze)
	c.Flags().StringVar(&f.Wallet, "wallet", "", "only those of this wallet")
	pageFlag(c, &f.Limit)
	c.Flags().StringVar(&f.Cursor, "cursor", "", "go on from here")
	return c
}

func showNext(w io.Writer, cursor string) {
	if cursor != "" {
		fmt.Fprintf(w, "more: --cursor %s\n", cursor)
	}
}

func (a *app) requestShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a request with its decisions and result",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			r, err := c.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showRequest(r, false)
		},
	}
}

func (a *app) requestWatch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Follow a request until it ends",
		Long:  "Show each role's decision as it comes, and then how the request ended. With --json only the end is shown.",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			shown := map[string]string{}
			r, err := c.Watch(cmd.Context(), args[0], func(r api.Request) error {
				if !a.json {
					writeNews(printable{a.out}, shown, r)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.showRequest(r, true)
		},
	}
}

func (a *app) requestCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "Take a request back of which nothing is signed yet",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.connect(false)
			if err != nil {
				return err
			}
			r, err := c.Cancel(cmd.Context(), args[0])
			if err != nil {
				return adviseRequest(err, args[0])
			}
			return a.showRequest(r, !r.Ended())
		},
	}
}

// writeNews writes a line for each role of whom it has something new to say, and
// for the request itself; shown is what it said last. A role can wait beside a
// decision of earlier, which has lapsed.
func writeNews(w io.Writer, shown map[string]string, r api.Request) {
	say := func(who, of, what string) {
		if shown[who+of] != what {
			fmt.Fprintf(w, "%s  %-14s %s\n", time.Now().Format(time.TimeOnly), who, what)
			shown[who+of] = what
		}
	}
	for _, d := range r.Decisions {
		say(d.Role, " decides", decisionText(d))
	}
	for _, v := range r.Waiting {
		say(v.Role, " waits", "waits for people: "+v.Note)
	}
	say("request", "", string(r.Status))
}

// decisionText is a decision with the codes of its reasons.
func decisionText(d api.Decision) string {
	out := string(d.Decision)
	for _, reason := range d.Reasons {
		out += " " + reason.Code
	}
	return out
}

// showRequest writes a request. If its end was awaited, one that did not end
// well gives an exit code of its own.
func (a *app) showRequest(r api.Request, awaited bool) error {
	if err := a.show(r, func(w io.Writer) { writeRequest(w, r) }); err != nil {
		return err
	}
	if would := dryRunOf(r); awaited && would != nil {
		return would.ended()
	}
	switch {
	case !awaited || r.Status == message.StatusSigned || r.Status == message.StatusDone:
		return nil
	case r.Ended():
		return ended{exitRefused, string(r.Status)}
	}
	return ended{exitNotEnded, string(r.Status)}
}

func writeRequest(w io.Writer, r api.Request) {
	fmt.Fprintf(w, "request  %s\nkind     %s\nstatus   %s\n", r.ID, r.Kind, r.Status)
	if r.Wallet != "" {
		fmt.Fprintf(w, "wallet   %s\n", r.Wallet)
	}
	if r.Account != "" {
		fmt.Fprintf(w, "account  %s\n", r.Account)
	}
	if len(r.Payload) > 0 {
		fmt.Fprintf(w, "payload  %s\n", r.Payload)
	}
	for _, d := range r.Decisions {
		fmt.Fprintf(w, "  %-14s %s\n", d.Role, d.Decision)
	}
	for _, v := range r.Waiting {
		fmt.Fprintf(w, "  %-14s waits for people: %s\n", v.Role, v.Note)
	}
	if r.Result == nil {
		writeOpen(w, r)
		return
	}
	for _, reason := range r.Result.Reasons {
		fmt.Fprintf(w, "reason   %s: %s (%s)\n", reason.Role, reason.Detail, reason.Code)
	}
	if would := dryRunOf(r); would != nil {
		would.human(w)
		return
	}
	if len(r.Result.Output) > 0 && string(r.Result.Output) != "null" {
		fmt.Fprintf(w, "output   %s\n", r.Result.Output)
	}
}

func writeOpen(w io.Writer, r api.Request) {
	if r.Status == message.StatusWaiting {
		fmt.Fprintf(w, "next     an approver runs: countersign approve %s --key FILE\n", r.ID)
		return
	}
	fmt.Fprintf(w, "next     countersign request watch %s\n", r.ID)
}
