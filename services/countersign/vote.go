package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/transaction"
)

// approverIdentity is who votes where.
type approverIdentity struct {
	deployment message.Hash
	key        ed25519.PrivateKey
}

// ballot is one of the two commands that vote.
type ballot struct {
	use, short string
	decision   message.Decision
}

var (
	approving = ballot{"approve", "Agree to a request that waits for people", message.Approve}
	rejecting = ballot{"reject", "Refuse a request that waits for people; that is final", message.Reject}
)

// voteView is a vote as the commands show it.
type voteView struct {
	Request string           `json:"request"`
	Kind    message.Kind     `json:"kind"`
	User    string           `json:"user"`
	Effects []string         `json:"effects"`
	Digests []message.Digest `json:"digests"`
	Expires message.Time     `json:"expires"`
	// Asks are the rules that ask people, as the service says.
	Asks []api.Ask `json:"asks"`
	// Signals are what is out of the ordinary, as the service says: only the
	// services have the past and the lists that this is read from.
	Signals []message.Reason `json:"signals"`
	Vote    *api.Recorded    `json:"vote,omitempty"`
}

func (a *app) approvalsCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List what waits for people, oldest first",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.connectApprover()
			if err != nil {
				return err
			}
			page, err := c.Approvals(cmd.Context())
			if err != nil {
				return adviseApprover(err)
			}
			return a.show(page, func(w io.Writer) {
				for _, s := range page.Approvals {
					fmt.Fprintf(w, "%s  %-21s  %d of %d  until %s\n", s.ID, s.Kind, s.Approvals, s.Quorum, s.Expires.Format(time.RFC3339))
				}
			})
		},
	}
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show what a request would do, computed here from its bytes",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, who, err := a.connectApprover()
			if err != nil {
				return err
			}
			_, v, err := examine(cmd.Context(), c, who, args[0])
			if err != nil {
				return err
			}
			return a.show(v, v.human)
		},
	}
	return a.approverFlags(group("approvals", "See what waits for people", list, show))
}

func (a *app) voteCommand(b ballot) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   b.use + " ID --key FILE",
		Short: b.short,
		Long: b.short + `.

What the request does and the digests to be signed are computed here from the
request's own bytes; the vote names them, so that it is good for nothing else.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, who, err := a.connectApprover()
			if err != nil {
				return err
			}
			return a.vote(cmd.Context(), c, who, args[0], b, yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask, also on a terminal")
	return a.approverFlags(c)
}

func (a *app) vote(ctx context.Context, c *client.Approver, who approverIdentity, id string, b ballot, yes bool) error {
	vote, v, err := examine(ctx, c, who, id)
	if err != nil {
		return err
	}
	if !a.json {
		v.human(printable{a.out})
	}
	if !yes && !a.json && isTerminal(os.Stdin) && !confirm(a.out, os.Stdin, b.use) {
		return advise(errors.New("nothing was signed"), "to sign, run it again and type yes")
	}
	vote.Decision = b.decision
	public, err := message.NewJWK(who.key.Public())
	if err != nil {
		return err
	}
	jws, err := message.SignEd25519(message.TypVote, public.Thumbprint(), who.key, vote)
	if err != nil {
		return fmt.Errorf("signing vote: %w", err)
	}
	recorded, err := c.Vote(ctx, id, jws)
	if err != nil {
		return adviseRequest(adviseApprover(fmt.Errorf("voting on request %s: %w", id, err)), id)
	}
	v.Vote = &recorded
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "vote     %s by %s: %d of %d have agreed\n", recorded.Decision, recorded.Approver, recorded.Approvals, recorded.Quorum)
	})
}

// examine fetches a request and works out for itself what it means. What the
// service says of it is used for nothing but to be compared.
func examine(ctx context.Context, c *client.Approver, who approverIdentity, id string) (message.Vote, voteView, error) {
	shown, err := c.Approval(ctx, id)
	if err != nil {
		return message.Vote{}, voteView{}, adviseRequest(adviseApprover(err), id)
	}
	var envelope message.Envelope
	if err := message.Decode(shown.Envelope, &envelope); err != nil {
		return message.Vote{}, voteView{}, distrust(err)
	}
	meaning, err := interpret(ctx, who.deployment, envelope.Statement, shown.Descriptor)
	if err != nil {
		return message.Vote{}, voteView{}, distrust(err)
	}
	if err := compare(shown, meaning, envelope, who.deployment, id); err != nil {
		return message.Vote{}, voteView{}, distrust(err)
	}
	vote := message.Vote{
		Version: message.Version, Deployment: who.deployment, Request: id, Envelope: message.Sum(shown.Envelope),
		Digests: meaning.Digests, Policy: shown.Policy.Hash, Expires: meaning.Statement.Expires,
		Approver: shown.You,
	}
	if vote.Digests == nil {
		vote.Digests = []message.Digest{}
	}
	return vote, voteView{
		Request: id, Kind: meaning.Statement.Kind, User: shown.User, Effects: describe(meaning),
		Digests: vote.Digests, Expires: meaning.Statement.Expires,
		Asks: append([]api.Ask{}, shown.Asks...), Signals: shown.Signals(),
	}, nil
}

func distrust(err error) error {
	return advise(fmt.Errorf("the approval service shows a request that does not hold together: %w", err),
		"do not vote; tell the operators")
}

// compare holds what the service says against what was computed here.
func compare(shown api.Approval, m transaction.Meaning, e message.Envelope, deployment message.Hash, id string) error {
	switch {
	case m.Statement.ID != id || shown.ID != id:
		return errors.New("it is another request")
	case e.Deployment != deployment:
		return errors.New("its envelope is of another deployment")
	case shown.EnvelopeHash != message.Sum(shown.Envelope):
		return errors.New("its hash is not that of its envelope")
	case len(shown.Digests) != len(m.Digests):
		return errors.New("its digests are not those of its statement")
	}
	for i, d := range m.Digests {
		if shown.Digests[i].Algorithm != d.Algorithm || string(shown.Digests[i].Value) != string(d.Value) {
			return errors.New("its digests are not those of its statement")
		}
	}
	return nil
}

func confirm(out io.Writer, in io.Reader, verb string) bool {
	fmt.Fprintf(out, "%s this? type yes: ", verb)
	line, _ := bufio.NewReader(in).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (v voteView) human(w io.Writer) {
	fmt.Fprintf(w, "request  %s\nkind     %s\nuser     %q (as the service says)\n", v.Request, v.Kind, v.User)
	for _, e := range v.Effects {
		fmt.Fprintf(w, "effect   %s\n", e)
	}
	for _, d := range v.Digests {
		fmt.Fprintf(w, "digest   %s %x\n", d.Algorithm, []byte(d.Value))
	}
	for _, a := range v.Asks {
		fmt.Fprintf(w, "asks     %q: %d of %d have agreed, of %q: %q (as the service says)\n",
			a.Rule, a.Approvals, a.Quorum, a.Approvers, a.Reason)
	}
	for _, r := range v.Signals {
		fmt.Fprintf(w, "signal   %q (as the service says)\n", r.Detail)
	}
	fmt.Fprintf(w, "until    %s\n", v.Expires.Format(time.RFC3339))
}
