package policy

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// freezing is what a role keeps of one freeze: it stops every later request of
// the wallet or user, for this role and so for all, until a policy document
// names Request under "thaw".
type freezing struct {
	Request string       `json:"request"`
	Wallet  string       `json:"wallet,omitempty"`
	User    string       `json:"user,omitempty"`
	By      string       `json:"by"`
	Reason  string       `json:"reason"`
	Time    message.Time `json:"time"`
}

// freezes are all freezes on record, thawed ones included: a document that no
// longer thaws one lets it count again.
type freezes struct {
	known map[string]bool // by request
	of    map[stopped][]*freezing
	users bool // whether any stops a user
}

// stopped is a wallet or a user; one of them is set.
type stopped struct{ wallet, user string }

func (f *freezing) target() stopped { return stopped{f.Wallet, f.User} }

func newFreezes() freezes {
	return freezes{known: map[string]bool{}, of: map[stopped][]*freezing{}}
}

// add takes a freeze over; the same one twice is one.
func (f *freezes) add(one *freezing) {
	if f.known[one.Request] {
		return
	}
	f.known[one.Request] = true
	f.of[one.target()] = append(f.of[one.target()], one)
	f.users = f.users || one.User != ""
}

// stops returns a freeze that stops a request, of those before and of this batch;
// nil if there is none.
func (m *memory) stops(r Request) *freezing {
	targets := []stopped{{wallet: r.Meaning.Wallet}}
	if m.freezes.users || slices.ContainsFunc(m.fresh, func(f *freezing) bool { return f.User != "" }) {
		// A request whose user is not known is refused for that.
		if user, reason := r.User(); reason == nil {
			targets = append(targets, stopped{user: user.ID})
		}
	}
	for _, target := range targets {
		if target == (stopped{}) {
			continue
		}
		for _, list := range [][]*freezing{m.freezes.of[target], m.fresh} {
			for _, f := range list {
				if f.target() == target && !r.Policy.Thaws(f.Request) {
					return f
				}
			}
		}
	}
	return nil
}

func (f *freezing) rejection() Decision {
	what := "wallet " + f.Wallet
	if f.User != "" {
		what = "user " + f.User
	}
	return Decision{Verdict: Reject, Reasons: because(ReasonFrozen,
		fmt.Sprintf("%s is frozen by %s (request %s): %s", what, f.By, f.Request, f.Reason))}
}

// freeze decides on a request to freeze: whoever may ask for it alone has it.
func (m *memory) freeze(it *item) Decision {
	user, reason := it.request.User()
	if reason != nil {
		return Decision{Verdict: Reject, Reasons: []message.Reason{*reason}}
	}
	asked := it.request.Meaning.Freeze
	m.fresh = append(m.fresh, &freezing{
		Request: it.task.Request.String(), Wallet: asked.Wallet, User: asked.User,
		By: user.ID, Reason: asked.Reason, Time: message.At(m.watch.Read().Wall),
	})
	return Decision{Verdict: Approve}
}

// inOrder is the order in which a batch is decided: freezes first, so that they
// stop what came with them.
func inOrder(items []*item) []*item {
	out := make([]*item, 0, len(items))
	for _, freezes := range []bool{true, false} {
		for _, it := range items {
			if (it.request.Meaning.Freeze != nil) == freezes {
				out = append(out, it)
			}
		}
	}
	return out
}

// made returns the freeze that an item has just made; nil if it made none, or
// one that is known.
func (m *memory) made(it *item) *freezing {
	if it.decision.Verdict != Approve || it.request.Meaning.Freeze == nil || m.freezes.known[it.task.Request.String()] {
		return nil
	}
	return m.fresh[len(m.fresh)-1]
}
