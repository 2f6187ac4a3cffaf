package activation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/queue"
)

// maxLooked bounds the memory for bundles that were looked at already. More than
// these are looked at again, which costs time only.
const maxLooked = 4096

// decided marks a bundle that no other round can judge otherwise.
const decided = -1

// past is the succession of documents that this process has accepted.
type past struct {
	head     *document.Signed // the newest; nil at first
	before   document.Quorum  // who was to sign it
	next     document.Quorum  // who signs the one after it
	accepted map[message.PolicyRef]bool
	// round rises with whatever lets a bundle that was refused count: other
	// admins, or the floor.
	round int
}

func newPast(genesis message.Genesis, round int) past {
	return past{next: document.GenesisQuorum(genesis), accepted: map[message.PolicyRef]bool{}, round: round}
}

func (p past) newest() message.PolicyRef {
	if p.head == nil {
		return message.PolicyRef{}
	}
	return p.head.Ref
}

// holds says whether a floor was reached. No floor always is.
func (p past) holds(floor message.PolicyRef) bool {
	return floor == (message.PolicyRef{}) || p.accepted[floor]
}

// startAnew forgets a history that has gone past the floor without reaching it:
// another one does reach it, if the documents are there.
func (h *Holder) startAnew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.past.holds(h.floor) || h.past.newest().Version < h.floor.Version {
		return
	}
	h.log.Error("the policy documents seen do not come from the one decided under before",
		"version", h.past.newest().Version, "least", h.floor.Version)
	h.past, h.active, h.waiting = newPast(h.genesis, h.past.round+1), nil, nil
	clear(h.looked)
}

// candidate is a bundle that may follow.
type candidate struct {
	sum     message.Hash
	version int
	bundle  message.PolicyBundle
}

// walk accepts what follows, in the order of versions. Where that changes what
// counts, bundles that were refused are looked at again.
func (h *Holder) walk(notices []queue.Notice) {
	for {
		round := h.snapshot().round
		for _, c := range h.candidates(notices) {
			h.offer(c)
		}
		if h.snapshot().round == round {
			return
		}
	}
}

func (h *Holder) snapshot() past {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.past
}

// candidates returns the bundles that are not decided, lowest version first.
func (h *Holder) candidates(notices []queue.Notice) (out []candidate) {
	round := h.snapshot().round
	if len(h.looked) > maxLooked {
		clear(h.looked)
	}
	for _, n := range notices {
		sum := message.Sum(n.Body)
		if seen := h.looked[sum]; seen == decided || seen == round {
			continue
		}
		c := candidate{sum: sum}
		err := message.Decode(n.Body, &c.bundle)
		if err == nil {
			c.version, err = document.VersionOf(c.bundle.Document)
		}
		if err == nil && c.version < 1 {
			err = fmt.Errorf("version %d is below 1", c.version)
		}
		if err != nil {
			h.log.Warn("policy document refused", "error", err)
			h.looked[sum] = decided
			continue
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Compare(a.version, b.version) })
	return out
}

// offer accepts one bundle if it follows. What does not verify is logged and
// left: anybody can write into the table, and it may follow once the document is
// there that introduces its admins.
func (h *Holder) offer(c candidate) {
	p := h.snapshot()
	if c.version <= p.newest().Version {
		h.looked[c.sum] = decided
		h.refuseOld(c, p)
		return
	}
	signed, err := document.VerifySigned(c.bundle, p.next, h.genesis, h.deployment)
	if err != nil {
		h.looked[c.sum] = p.round
		h.log.Warn("policy document refused", "error", err)
		return
	}
	if !h.accept(signed) {
		h.looked[c.sum] = p.round
		h.log.Error("policy document does not come from the one decided under before", "version", c.version)
		return
	}
	h.looked[c.sum] = decided
	active, err := signed.Read(h.genesis)
	if err != nil {
		h.log.Error("signed policy document cannot be used", "error", err)
		return
	}
	h.waiting = append(h.waiting, active)
}

// refuseOld says of an older document whether that is remarkable.
func (h *Holder) refuseOld(c candidate, p past) {
	ref := message.PolicyRef{Version: c.version, Hash: message.Sum(c.bundle.Document)}
	if p.accepted[ref] || p.head == nil {
		return
	}
	if c.version < p.head.Ref.Version {
		h.log.Warn("policy document is older than one seen before", "version", c.version, "least", p.head.Ref.Version)
		return
	}
	// If the quorum has signed two documents with one number, the first one
	// stands here; approvals name the hash, so that services that hold different
	// ones sign nothing together.
	if _, err := document.VerifySigned(c.bundle, p.before, h.genesis, h.deployment); err == nil {
		h.log.Error("two signed policy documents have one version", "version", c.version)
	}
}

// accept makes a document the newest of the succession, unless the floor, which
// may have risen meanwhile, forbids that.
func (h *Holder) accept(s *document.Signed) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.past
	if !p.holds(h.floor) && s.Ref.Version >= h.floor.Version && s.Ref != h.floor {
		return false
	}
	if s.Ref == h.floor || !p.next.Equal(s.Next) {
		p.round++
	}
	p.head, p.before, p.next = s, p.next, s.Next
	p.accepted[s.Ref] = true
	return true
}
