package policy

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
)

// freezing is what a role keeps of one freeze: it stops every later request of
// the wallet or user, for this role and so for all, until a policy document takes
// it back.
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
	known map[string]*freezing // by request
	of    map[stopped][]*freezing
	users bool // whether any stops a user
}

// stopped is a wallet or a user; one of them is set.
type stopped struct{ wallet, user string }

func (f *freezing) target() stopped { return stopped{f.Wallet, f.User} }

func newFreezes() freezes {
	return freezes{known: map[string]*freezing{}, of: map[stopped][]*freezing{}}
}

// add counts a freeze; the same one twice is one.
func (f *freezes) add(one *freezing) {
	if f.known[one.Request] != nil {
		return
	}
	f.known[one.Request] = one
	f.of[one.target()] = append(f.of[one.target()], one)
	f.users = f.users || one.User != ""
}

// stops returns a freeze that stops a request, of those before and of this batch;
// nil if there is none.
func (m *memory) stops(r Request) *freezing {
	anybody := func(*freezing) bool { return true }
	if r.Meaning.Wallet != "" {
		if f := m.inForce(r, stopped{wallet: r.Meaning.Wallet}, anybody); f != nil {
			return f
		}
	}
	if !m.freezes.users && !slices.ContainsFunc(m.fresh, func(f *freezing) bool { return f.User != "" }) {
		return nil
	}
	// A request whose user is not known is refused for that.
	user, reason := r.User()
	if reason != nil {
		return nil
	}
	return m.inForce(r, stopped{user: user.ID}, anybody)
}

// inForce returns a freeze of a wallet or user that the policy document does not
// take back, and that is one of those wanted.
func (m *memory) inForce(r Request, target stopped, wanted func(*freezing) bool) *freezing {
	for _, list := range [][]*freezing{m.freezes.of[target], m.fresh} {
		for _, f := range list {
			if f.target() == target && wanted(f) && !r.Policy.Thaws(f.Request, f.By, f.Time.Time) {
				return f
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

// freeze decides on a request to freeze: it is approved for everybody who may ask
// for it. One person's second freeze of what the first one stops is not recorded:
// a document would have to thaw each.
func (m *memory) freeze(it *item) Decision {
	user, reason := it.request.User()
	if reason != nil {
		return Decision{Verdict: Reject, Reasons: []message.Reason{*reason}}
	}
	asked := it.request.Meaning.Freeze
	if _, known := it.request.Policy.User(asked.User); asked.User != "" && !known {
		return Decision{Verdict: Reject, Reasons: because(ReasonUnknownUser, "the policy document has no such user")}
	}
	one := &freezing{
		Request: it.task.Request.String(), Wallet: asked.Wallet, User: asked.User,
		By: user.ID, Reason: asked.Reason, Time: message.At(m.watch.Read().Wall),
	}
	if old := m.byRequest(one.Request); old != nil {
		if old.target() != one.target() || old.By != one.By {
			return Decision{Verdict: Reject, Reasons: because(ReasonFreezeID, "another freeze was asked for under this id")}
		}
		return Decision{Verdict: Approve}
	}
	mine := func(f *freezing) bool { return f.By == one.By }
	if f := m.inForce(it.request, one.target(), mine); f != nil {
		return Decision{Verdict: Approve, Reasons: because(ReasonFrozen, "request "+f.Request+" has frozen it already, and is the one to thaw")}
	}
	m.fresh = append(m.fresh, one)
	return Decision{Verdict: Approve}
}

// byRequest returns the freeze that a request has made; nil if it made none.
func (m *memory) byRequest(id string) *freezing {
	if f := m.freezes.known[id]; f != nil {
		return f
	}
	if i := slices.IndexFunc(m.fresh, func(f *freezing) bool { return f.Request == id }); i >= 0 {
		return m.fresh[i]
	}
	return nil
}

// inOrder is the order in which a batch is decided: freezes first, so that they
// stop what came with them.
func inOrder(items []*item) []*item {
	out := make([]*item, 0, len(items))
	for _, first := range []bool{true, false} {
		for _, it := range items {
			if (it.request.Meaning.Freeze != nil) == first {
				out = append(out, it)
			}
		}
	}
	return out
}

// made returns the freeze that an item has just made; nil if it made none.
func (m *memory) made(it *item) *freezing {
	if it.decision.Verdict != Approve || it.request.Meaning.Freeze == nil || len(m.fresh) == 0 {
		return nil
	}
	if last := m.fresh[len(m.fresh)-1]; last.Request == it.task.Request.String() {
		return last
	}
	return nil
}
