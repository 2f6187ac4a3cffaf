package countersigned

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

// seat is one announced key in one live epoch.
type seat struct {
	epoch  *epoch
	member *member
}

// voice is a reply whose signature verified under an announced key. What it
// says is the role's own word; whether it fits is not yet known. The attachment
// is nobody's word before it was held against the hashes in the approval.
type voice struct {
	approval   message.Approval
	sum        message.Hash // SHA-256 of the compact JWS
	attachment message.Attachment
	unreadable error  // why the attachment is not readable
	seats      []seat // newest epoch first
}

// approval is a role's approval that was verified in full, with the shares for
// one live epoch. Of a dry run it is what the role would decide.
type approval struct {
	role     string
	sum      message.Hash
	expires  time.Time // the end of the approval, or of a vote that it cites
	seat     seat
	shares   []message.SealedShare
	decision message.Decision
	reasons  []message.Reason
}

// hear returns what a reply says if it was signed by an announced key, or nil.
// The role comes from the key: an approval that claims another one is nobody's.
func (v *Verifier) hear(r Reply) *voice {
	kid, err := message.KeyID(message.TypApproval, r.Approval)
	if err != nil {
		return nil
	}
	seats := v.seats(kid)
	if len(seats) == 0 {
		return nil
	}
	m := seats[0].member
	said := &voice{sum: message.Sum(r.Approval), seats: seats}
	if !said.read(r, v.early.takeSpoken(said.sum, r.Attachment), kid) {
		return nil
	}
	a := &said.approval
	if a.Version != message.Version || a.Deployment != v.cfg.Deployment || v.own[a.Generation] == nil ||
		a.Role != m.role || a.Instance != m.instance {
		return nil
	}
	return said
}

// read verifies what is said under the key of the first seat, which all have,
// unless that was done before.
func (v *voice) read(r Reply, before *spoken, kid string) bool {
	if before != nil {
		v.approval, v.attachment, v.unreadable = before.approval, before.attachment, before.unreadable
		return true
	}
	if message.VerifyEd25519(message.TypApproval, kid, v.seats[0].member.key, r.Approval, &v.approval) != nil {
		return false
	}
	v.unreadable = message.Decode(r.Attachment, &v.attachment)
	return true
}

// seats returns where a key is announced and usable now, newest epoch first.
func (v *Verifier) seats(kid string) []seat {
	var out []seat
	for _, e := range v.live() {
		e.mu.RLock()
		m := e.members[kid]
		e.mu.RUnlock()
		if m != nil && v.usable(m) {
			out = append(out, seat{e, m})
		}
	}
	slices.Reverse(out)
	return out
}

// approvals returns one verified approval of each required role, the newest
// that is valid, or a reason for each role that has none. Several of one role
// count once.
func (x *examination) approvals() (found []approval, refused []message.RoleReason) {
	for _, role := range x.v.cfg.Genesis.Roles {
		a, reason := x.approvalOf(role)
		if reason != nil {
			refused = append(refused, message.RoleReason{Role: role, Reason: *reason})
			continue
		}
		found = append(found, a)
	}
	return found, refused
}

func (x *examination) approvalOf(role string) (approval, *message.Reason) {
	reason := &message.Reason{Code: CodeMissing}
	for _, voice := range slices.Backward(x.voices) {
		if voice.approval.Role != role {
			continue
		}
		a, why := x.check(voice)
		if why == nil {
			return a, nil
		}
		reason = why
	}
	return approval{}, reason
}

// check holds one approval against what this service computed by itself.
func (x *examination) check(v *voice) (approval, *message.Reason) {
	a, m := &v.approval, &x.meaning
	switch {
	case a.Request != x.ID || a.Envelope != x.hash:
		return approval{}, &message.Reason{Code: CodeApprovalOther}
	case !x.wanted(a.Decision):
		return approval{}, &message.Reason{Code: CodeMissing}
	case !timely(x.now, a.Issued, a.Expires):
		return approval{}, &message.Reason{Code: CodeApprovalTimes}
	case a.Policy != x.active.Ref:
		return approval{}, &message.Reason{Code: CodeApprovalPolicy}
	case a.Kind != m.Statement.Kind || a.Wallet != m.Wallet || a.Account != m.Account:
		return approval{}, &message.Reason{Code: CodeApprovalDiffers, Detail: "kind, wallet or account"}
	case a.Descriptor != m.Descriptor:
		return approval{}, &message.Reason{Code: CodeApprovalDiffers, Detail: "descriptor"}
	case !slices.EqualFunc(a.Digests, m.Digests, equalDigest):
		return approval{}, &message.Reason{Code: CodeApprovalDiffers, Detail: "digests"}
	}
	return x.checkAttachment(v)
}

// wanted says whether a decision may count for this request: what a role would
// decide is never taken for what it has decided.
func (x *examination) wanted(d message.Decision) bool {
	if !x.statement.DryRun {
		return d == message.Approve
	}
	return d == message.WouldApprove || d == message.WouldAsk || d == message.WouldReject
}

func (x *examination) checkAttachment(v *voice) (approval, *message.Reason) {
	if v.unreadable != nil {
		return approval{}, &message.Reason{Code: CodeApprovalShares, Detail: "attachment is not readable"}
	}
	ends, err := x.checkVotes(&v.approval, v.attachment.Evidence)
	if err != nil {
		return approval{}, &message.Reason{Code: CodeApprovalVotes, Detail: detail(err)}
	}
	for _, s := range v.seats {
		if shares, ok := sharesFor(s.epoch.id, &v.approval, &v.attachment, x.meaning.Releases); ok {
			a := &v.approval
			return approval{a.Role, v.sum, ends, s, shares, a.Decision, a.Reasons}, nil
		}
	}
	return approval{}, &message.Reason{Code: CodeApprovalShares, Detail: "missing, altered or not the ones needed"}
}

// checkVotes verifies every vote that the approval cites, under the active
// policy document: what stands beside the approval must be exactly what it
// names. It returns the end of the approval, or of a vote if that ends earlier.
func (x *examination) checkVotes(a *message.Approval, votes []string) (ends time.Time, err error) {
	ends = a.Expires.Time
	if len(votes) != len(a.Evidence) {
		return ends, fmt.Errorf("%d votes are cited, %d are there", len(a.Evidence), len(votes))
	}
	want := message.Vote{
		Version: message.Version, Deployment: x.v.cfg.Deployment, Request: x.ID, Envelope: x.hash,
		Digests: x.meaning.Digests, Decision: message.Approve, Expires: x.meaning.Statement.Expires,
	}
	for i, compact := range votes {
		if message.Sum([]byte(compact)) != a.Evidence[i] || slices.Contains(votes[:i], compact) {
			return ends, fmt.Errorf("vote %d is not the one that is cited", i)
		}
		_, vote, err := document.VerifyVote(x.active, compact, want, x.now)
		if err != nil {
			return ends, fmt.Errorf("vote %d: %w", i, err)
		}
		if vote.Expires.Before(ends) {
			ends = vote.Expires.Time
		}
	}
	return ends, nil
}

// sharesFor returns the sealed shares for one epoch, if the approval names the
// epoch once, their hash is the one that it names, and they are exactly the
// shares that the request needs.
func sharesFor(id message.EpochID, a *message.Approval, at *message.Attachment, releases []transaction.Release) ([]message.SealedShare, bool) {
	named := only(a.Epochs, func(e message.EpochShares) bool { return e.Epoch == id })
	beside := only(at.Shares, func(s message.Shares) bool { return s.Epoch == id })
	if named == nil || beside == nil {
		return nil, false
	}
	sum, err := beside.Hash()
	if err != nil || sum != named.Shares {
		return nil, false
	}
	fits := slices.EqualFunc(beside.Shares, releases, func(s message.SealedShare, r transaction.Release) bool {
		return s.Scope == r.Scope && s.ID == r.ID && s.Generation == r.Generation
	})
	return beside.Shares, fits
}

// only returns the one element that is meant; nil if there is none, or more
// than one.
func only[T any](list []T, meant func(T) bool) *T {
	i := slices.IndexFunc(list, meant)
	if i < 0 || slices.ContainsFunc(list[i+1:], meant) {
		return nil
	}
	return &list[i]
}

// timely reports whether a message that says these times counts now: not from
// the future (but for Skew), not over, and not longer than MaxLifetime.
func timely(now time.Time, issued, expires message.Time) bool {
	return !issued.After(now.Add(Skew)) && now.Before(expires.Time) &&
		issued.Before(expires.Time) && expires.Sub(issued.Time) <= MaxLifetime
}

func equalDigest(a, b message.Digest) bool {
	return a.Algorithm == b.Algorithm && bytes.Equal(a.Value, b.Value)
}

func equalRoles(a, b []string) bool { return slices.Equal(a, b) }
