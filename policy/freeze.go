package policy

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
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
	by    map[string][]*freezing
	users atomic.Pointer[[]*freezing] // those that stop a user, for who does not wait
}

// stopped is a wallet or a user; one of them is set.
type stopped struct{ wallet, user string }

func (f *freezing) target() stopped { return stopped{f.Wallet, f.User} }

func newFreezes() freezes {
	return freezes{known: map[string]*freezing{}, of: map[stopped][]*freezing{}, by: map[string][]*freezing{}}
}

// add counts a freeze; the same one twice is one.
func (f *freezes) add(one *freezing) {
	if f.known[one.Request] != nil {
		return
	}
	f.known[one.Request] = one
	f.of[one.target()] = append(f.of[one.target()], one)
	f.by[one.By] = append(f.by[one.By], one)
	if one.User != "" {
		users := append(f.ofUsers(), one) // behind the end of what others read
		f.users.Store(&users)
	}
}

// ofUsers returns the freezes that stop a user. It may be called at any time.
func (f *freezes) ofUsers() []*freezing {
	if users := f.users.Load(); users != nil {
		return *users
	}
	return nil
}

// stops returns a freeze that stops a request, of those before and of this batch;
// nil if there is none.
func (m *memory) stops(r Request) *freezing {
	if r.Meaning.Wallet != "" {
		if of := m.inForce(r, stopped{wallet: r.Meaning.Wallet}, anybody); len(of) > 0 {
			return of[0]
		}
	}
	if len(m.freezes.ofUsers()) == 0 && !slices.ContainsFunc(m.fresh, func(f *freezing) bool { return f.User != "" }) {
		return nil
	}
	// A request whose user is not known is refused for that.
	user, reason := r.User()
	if reason != nil {
		return nil
	}
	if of := m.inForce(r, stopped{user: user.ID}, anybody); len(of) > 0 {
		return of[0]
	}
	return nil
}

// anybody stands for all who freeze.
const anybody = ""

// inForce returns somebody's freezes of a wallet or user that the policy document
// does not take back, the oldest first.
func (m *memory) inForce(r Request, target stopped, by string) (out []*freezing) {
	for _, list := range [][]*freezing{m.freezes.of[target], m.fresh} {
		for _, f := range list {
			if f.target() == target && (by == anybody || f.By == by) && !r.Policy.Thaws(f.Request, f.By, f.Time.Time) {
				out = append(out, f)
			}
		}
	}
	return out
}

// frozen says for a request whether a user is stopped, of whom it is not: who
// agrees to it.
func (m *memory) frozen(r Request) func(user string) bool {
	return func(user string) bool { return len(m.inForce(r, stopped{user: user}, anybody)) > 0 }
}

// Frozen says whether a freeze on record stops a user under a document. It waits
// for no batch that is decided meanwhile.
func (s *Service) Frozen(active *document.Active, user string) bool {
	return slices.ContainsFunc(s.memory.freezes.ofUsers(), func(f *freezing) bool {
		return f.User == user && !active.Thaws(f.Request, f.By, f.Time.Time)
	})
}

func (f *freezing) rejection() Decision {
	what := "wallet " + f.Wallet
	if f.User != "" {
		what = "user " + f.User
	}
	return Decision{Verdict: Reject, Reasons: because(ReasonFrozen,
		fmt.Sprintf("%s is frozen by %s (request %s): %s", what, f.By, f.Request, f.Reason))}
}

// Bounds of what one person's freezes may be.
const (
	// maxSame is how many may stop the same wallet or user. There may be a second
	// one, so that it stops what a document would let through that was signed when
	// only the first was known; but not so many that no document can name them all.
	maxSame = 4
	// maxInForce is how many there may be in all: each is on record for good, and in
	// the memory of every instance.
	maxInForce = 10_000
)

// Reason codes of freezes; they are stable.
const (
	// ReasonThawed: the policy document takes back the freeze that is asked for.
	ReasonThawed = "thawed"
	// ReasonFreezes: the same person has frozen too much.
	ReasonFreezes = "too_many_freezes"
)

// freeze decides on a request to freeze: it is approved for everybody who may ask
// for it, unless it would stop nothing, or add nothing.
func (m *memory) freeze(it *item) Decision {
	user, reason := it.request.User()
	if reason != nil {
		return Decision{Verdict: Reject, Reasons: []message.Reason{*reason}}
	}
	asked, policy := it.request.Meaning.Freeze, it.request.Policy
	if _, known := policy.User(asked.User); asked.User != "" && !known {
		return Decision{Verdict: Reject, Reasons: because(ReasonUnknownUser, "the policy document has no such user")}
	}
	one := &freezing{
		Request: it.task.Request.String(), Wallet: asked.Wallet, User: asked.User,
		By: user.ID, Reason: asked.Reason, Time: message.At(m.watch.Read().Wall),
	}
	old := m.byRequest(one.Request)
	if old != nil {
		if old.target() != one.target() || old.By != one.By {
			return Decision{Verdict: Reject, Reasons: because(ReasonFreezeID, "another freeze was asked for under this id")}
		}
		one = old
	}
	if policy.Thaws(one.Request, one.By, one.Time.Time) {
		return Decision{Verdict: Reject, Reasons: because(ReasonThawed, "the policy document takes back this freeze by "+one.By+": nothing is stopped")}
	}
	if old != nil {
		return Decision{Verdict: Approve}
	}
	if reasons := m.tooMany(it.request, one); reasons != nil {
		return Decision{Verdict: Reject, Reasons: reasons}
	}
	m.fresh = append(m.fresh, one)
	return Decision{Verdict: Approve}
}

// tooMany says why one more freeze by somebody is not kept; nil if it is.
func (m *memory) tooMany(r Request, one *freezing) []message.Reason {
	if of := m.inForce(r, one.target(), one.By); len(of) >= maxSame {
		return because(ReasonFrozen,
			fmt.Sprintf("%s has frozen it %d times already, last by request %s: this one is not kept", one.By, len(of), of[len(of)-1].Request))
	}
	all := 0
	for _, list := range [][]*freezing{m.freezes.by[one.By], m.fresh} {
		for _, f := range list {
			if f.By == one.By && !r.Policy.Thaws(f.Request, f.By, f.Time.Time) {
				all++
			}
		}
	}
	if all < maxInForce {
		return nil
	}
	return because(ReasonFreezes, fmt.Sprintf("%d freezes by %s are in force: a policy document must take them back first", all, one.By))
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
