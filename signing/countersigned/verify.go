package countersigned

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/signing/internal/cores"
	"github.com/countersign/countersign/transaction"
)

// Reply is what somebody put on the queue as a policy service's answer.
// Nothing in it is believed before it was verified.
type Reply struct {
	Approval   []byte // compact JWS
	Attachment []byte // message.Attachment
}

// Case is one request with its replies, as read from the queue.
type Case struct {
	ID       string // the id that the request lies under
	Envelope []byte
	Replies  []Reply // oldest first
	// Overdue is the database's opinion that the request has expired. It
	// counts only where the statement cannot be read.
	Overdue bool
}

// Ruling says what became of a case.
type Ruling int

// The rulings. Incomplete alone is not an end.
const (
	// Incomplete: approvals are missing, or not usable any more.
	Incomplete Ruling = iota + 1
	// Countersigned: every required role approved; Finding.Request is set.
	Countersigned
	// Rejected: a role rejected, or the signing service itself.
	Rejected
	// Expired: the statement's time is over.
	Expired
)

// Finding is what verification found.
type Finding struct {
	Ruling   Ruling
	Envelope message.Hash
	// Expires is the statement's; zero if that was not read.
	Expires time.Time
	// Request is set if all is verified, and is the only way on.
	Request *Request
	// Reasons say why not; every ruling but Countersigned has one at least.
	Reasons []message.RoleReason
	// Approvals are the SHA-256 values of the compact JWS that the ruling
	// rests on.
	Approvals []message.Hash
	// Missing are the roles to be asked again, in genesis order.
	Missing []string
}

// Reason codes that the signing service gives itself. They are stable.
const (
	CodeInvalidRequest  = "invalid_request"  // the statement is not understood
	CodeExpired         = "expired"          // the statement's time is over
	CodeUnknownRecord   = "unknown_wallet"   // the wallet or account is not there
	CodeRejected        = "rejected"         // a role rejected and gave no reason
	CodeMissing         = "approval_missing" // no approval by a key of this epoch
	CodeApprovalOther   = "approval_other"   // approval of another request or envelope
	CodeApprovalTimes   = "approval_expired" // approval is not, or no longer, valid
	CodeApprovalPolicy  = "approval_policy"  // approval under another policy
	CodeApprovalDiffers = "approval_differs" // approval of something else than what would be signed
	CodeApprovalVotes   = "approval_votes"   // a cited vote is missing or invalid
	CodeApprovalShares  = "approval_shares"  // shares are missing, altered or not the ones needed
)

// examination is one case on its way through Verify.
type examination struct {
	Case
	v      *Verifier
	active *document.Active
	now    time.Time
	hash   message.Hash
	voices []*voice // in the order of the replies

	// What the statement came to, by itself: see read.
	envelope    message.Envelope
	statement   message.Statement
	meaning     transaction.Meaning
	unreadable  error           // why it cannot be read
	unknown     error           // why it cannot be interpreted
	granted     bool            // a user signed it who may ask for it
	userRefusal *message.Reason // why not
}

// Examined is what Verify found of one case.
type Examined struct {
	Finding Finding
	Err     error
}

// Verify examines a case from scratch. An error says that it could not be
// examined (the database cannot be read, no policy is active); whatever the
// case itself is, is a Finding. The signatures of one case do not depend on
// each other, and are verified on all processors.
func (v *Verifier) Verify(ctx context.Context, c Case) (Finding, error) {
	return v.verify(ctx, c, cores.Each)
}

// VerifyAll is Verify for many cases, each of which has one processor to
// itself.
func (v *Verifier) VerifyAll(ctx context.Context, cases []Case) []Examined {
	out := make([]Examined, len(cases))
	each := cores.InTurn
	if len(cases) == 1 {
		each = cores.Each
	}
	cores.Each(len(cases), func(i int) {
		out[i].Finding, out[i].Err = v.verify(ctx, cases[i], each)
	})
	return out
}

func (v *Verifier) verify(ctx context.Context, c Case, each func(int, func(int))) (Finding, error) {
	x := &examination{Case: c, v: v, active: v.cfg.Policy(), now: v.cfg.Now(), hash: message.Sum(c.Envelope)}
	if x.active == nil {
		return Finding{}, ErrNoPolicy
	}
	x.study(ctx, each)
	f, err := x.rule(ctx)
	f.Envelope, f.Expires = x.hash, x.statement.Expires.Time
	return f, err
}

// study does what does not depend on each other: it reads the statement, and
// hears each reply.
func (x *examination) study(ctx context.Context, each func(int, func(int))) {
	x.voices = make([]*voice, len(x.Replies))
	each(1+len(x.Replies), func(i int) {
		if i == 0 {
			x.read(ctx)
		} else {
			x.voices[i-1] = x.v.hear(x.Replies[i-1])
		}
	})
	x.voices = slices.DeleteFunc(x.voices, func(v *voice) bool { return v == nil })
}

// read finds what the statement means, and whether a user who may ask for that
// signed it: by a key to which this document grants wallet and kind, for no
// policy service's word is taken for it.
func (x *examination) read(ctx context.Context) {
	if r := x.v.early.takeReading(x); r != nil {
		x.envelope, x.statement, x.meaning = r.envelope, r.statement, r.meaning
		x.granted = !x.overtime()
		return
	}
	parsed, err := x.parse()
	if err != nil {
		x.unreadable = err
		return
	}
	x.statement = parsed.Statement()
	if x.overtime() {
		return
	}
	if x.meaning, x.unknown = x.v.cfg.Interpreter.Meaning(ctx, parsed); x.unknown != nil {
		return
	}
	_, x.userRefusal = document.VerifyUser(x.active, x.envelope, x.meaning, x.now)
	x.granted = x.userRefusal == nil
}

func (x *examination) overtime() bool { return !x.now.Before(x.statement.Expires.Time) }

// rule decides from what was studied. A rejection wins over everything, the
// expiry included: it is final.
func (x *examination) rule(ctx context.Context) (Finding, error) {
	if f, ok := x.rejected(); ok {
		return f, nil
	}
	f, err := x.judge(ctx)
	if err == nil && f.Ruling != Countersigned {
		// Something did not fit: if it was a record, read it anew next time.
		x.v.records.forget(x.meaning.Wallet, x.meaning.Account)
	}
	return f, err
}

// judge decides where no role has rejected, in the order in which the rulings
// win.
func (x *examination) judge(ctx context.Context) (Finding, error) {
	switch {
	case x.unreadable != nil:
		return x.meaningless(x.unreadable), nil
	case x.overtime():
		return x.expired(), nil
	case x.unknown != nil:
		return x.uninterpreted(x.unknown)
	}
	approvals, refused := x.approvals()
	switch {
	case len(refused) > 0:
		return incomplete(refused), nil
	case x.userRefusal != nil && x.userRefusal.Code == document.CodeEarly:
		return Finding{Ruling: Incomplete, Reasons: own(*x.userRefusal)}, nil // time alone mends it
	case x.userRefusal != nil:
		return Finding{Ruling: Rejected, Reasons: own(*x.userRefusal), Approvals: hashes(approvals)}, nil
	case !x.granted:
		return Finding{}, ErrUnverified
	}
	if why := x.unfit(ctx); why != nil {
		return Finding{Ruling: Rejected, Reasons: own(*why), Approvals: hashes(approvals)}, nil
	}
	return Finding{Ruling: Countersigned, Request: x.request(approvals), Approvals: hashes(approvals)}, nil
}

// parse reads the envelope and the statement in it, which must be the one that
// this id belongs to.
func (x *examination) parse() (transaction.Parsed, error) {
	if err := message.Decode(x.Envelope, &x.envelope); err != nil {
		return transaction.Parsed{}, err
	}
	if x.envelope.Version != message.Version || x.envelope.Deployment != x.v.cfg.Deployment {
		return transaction.Parsed{}, ErrOrigin
	}
	p, err := x.v.cfg.Interpreter.Parse(x.envelope.Statement)
	if err != nil {
		return transaction.Parsed{}, err
	}
	if p.Statement().ID != x.ID {
		return transaction.Parsed{}, errors.New("statement has another id than the request")
	}
	return p, nil
}

// rejected looks for a verified rejection of this very envelope. Its lifetime
// and policy version do not matter: a role that has rejected never approves
// the same envelope again. One that says no more than what this service's clock
// says too, that the statement's time is over, is an expiry.
func (x *examination) rejected() (Finding, bool) {
	f := Finding{Ruling: Rejected}
	seen := map[string]bool{}
	for _, voice := range x.voices {
		a := &voice.approval
		if a.Decision != message.Reject || a.Request != x.ID || a.Envelope != x.hash {
			continue
		}
		f.Approvals = append(f.Approvals, voice.sum)
		if seen[a.Role] {
			continue
		}
		seen[a.Role] = true
		f.Reasons = append(f.Reasons, reasonsOf(a)...)
	}
	if x.unreadable == nil && x.overtime() && onlyLate(f.Reasons) {
		f.Ruling = Expired
	}
	return f, len(f.Approvals) > 0
}

// onlyLate says that the roles found nothing wrong but the time.
func onlyLate(reasons []message.RoleReason) bool {
	return !slices.ContainsFunc(reasons, func(r message.RoleReason) bool { return r.Code != CodeExpired })
}

// maxReasons and maxCode bound, with maxDetail, what one role's rejection adds
// to a signed result: the result must always fit into a message, or a role that
// was taken over could keep a request from ever ending.
const (
	maxReasons = 16
	maxCode    = 64
)

// reasonsOf returns a role's reasons within those bounds, one at least.
func reasonsOf(a *message.Approval) []message.RoleReason {
	var out []message.RoleReason
	for _, r := range bounded(a.Reasons) {
		out = append(out, message.RoleReason{Role: a.Role, Reason: r})
	}
	if len(out) == 0 {
		out = append(out, message.RoleReason{Role: a.Role, Reason: message.Reason{Code: CodeRejected}})
	}
	return out
}

func bounded(reasons []message.Reason) []message.Reason {
	var out []message.Reason
	for _, r := range reasons[:min(len(reasons), maxReasons)] {
		if r.Code == "" || len(r.Code) > maxCode {
			r.Code = CodeRejected
		}
		out = append(out, message.Reason{Code: r.Code, Detail: cut(r.Detail)})
	}
	return out
}

// meaningless rules on a statement that cannot be read or means nothing here.
// The policy services see the same and reject it, and their rejections end it.
// If all of them have spoken and said otherwise, or its time is over by the
// database's clock, the signing service ends it alone.
func (x *examination) meaningless(err error) Finding {
	f := Finding{Ruling: Incomplete, Reasons: own(message.Reason{Code: CodeInvalidRequest, Detail: detail(err)})}
	switch {
	case len(x.silent()) == 0:
		f.Ruling = Rejected
	case x.Overdue:
		f.Ruling = Expired
	default:
		f.Missing = x.v.cfg.Genesis.Roles
	}
	return f
}

func (x *examination) expired() Finding {
	text := "the statement expired at " + x.statement.Expires.Format(time.RFC3339)
	if silent := x.silent(); len(silent) > 0 {
		text += "; no usable approval of " + strings.Join(silent, ", ")
	}
	return Finding{Ruling: Expired, Reasons: own(message.Reason{Code: CodeExpired, Detail: text})}
}

// silent lists the roles of which nothing was heard in a live epoch.
func (x *examination) silent() []string {
	var out []string
	for _, role := range x.v.cfg.Genesis.Roles {
		heard := false
		for _, voice := range x.voices {
			heard = heard || voice.approval.Role == role && voice.approval.Envelope == x.hash
		}
		if !heard {
			out = append(out, role)
		}
	}
	return out
}

// uninterpreted rules on a statement that is well-formed but cannot be
// interpreted. A missing record may only be late. A dry run does not wait for
// it: no role would ever reject it for earnest.
func (x *examination) uninterpreted(err error) (Finding, error) {
	switch {
	case errors.Is(err, transaction.ErrNoRecord) && x.statement.DryRun && len(x.silent()) == 0:
		return Finding{Ruling: Rejected, Reasons: x.spoken()}, nil
	case errors.Is(err, transaction.ErrNoRecord):
		reason := message.Reason{Code: CodeUnknownRecord, Detail: detail(err)}
		return Finding{Ruling: Incomplete, Reasons: own(reason), Missing: x.v.cfg.Genesis.Roles}, nil
	case errors.Is(err, transaction.ErrPayload), errors.Is(err, transaction.ErrDescriptor):
		return x.meaningless(err), nil
	}
	return Finding{}, fmt.Errorf("interpreting request %s: %w", x.ID, err)
}

// spoken is what the roles gave as their reasons, one role after the other.
func (x *examination) spoken() []message.RoleReason {
	var out []message.RoleReason
	seen := map[string]bool{}
	for _, voice := range x.voices {
		if a := &voice.approval; a.Envelope == x.hash && !seen[a.Role] {
			seen[a.Role] = true
			out = append(out, reasonsOf(a)...)
		}
	}
	return out
}

func incomplete(refused []message.RoleReason) Finding {
	f := Finding{Ruling: Incomplete, Reasons: refused}
	for _, r := range refused {
		f.Missing = append(f.Missing, r.Role)
	}
	return f
}

func own(r message.Reason) []message.RoleReason {
	return []message.RoleReason{{Role: message.RoleSigning, Reason: r}}
}

// maxDetail bounds, in bytes, what one text may add to a signed result.
const maxDetail = 300

// detail is an error's text for people. The errors that come here are about
// the user's own statement and public descriptors; they hold no secrets.
func detail(err error) string { return cut(err.Error()) }

func cut(text string) string { return message.Cut(text, maxDetail) }

func hashes(approvals []approval) []message.Hash {
	out := make([]message.Hash, 0, len(approvals))
	for _, a := range approvals {
		out = append(out, a.sum)
	}
	return out
}
