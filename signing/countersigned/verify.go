package countersigned

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
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
	v        *Verifier
	active   *document.Active
	now      time.Time
	envelope message.Envelope
	hash     message.Hash
	meaning  transaction.Meaning
	voices   []voice
}

// Verify examines a case from scratch. An error says that it could not be
// examined (the database cannot be read, no policy is active); whatever the
// case itself is, is a Finding.
func (v *Verifier) Verify(ctx context.Context, c Case) (Finding, error) {
	x := &examination{Case: c, v: v, active: v.cfg.Policy(), now: v.cfg.Now(), hash: message.Sum(c.Envelope)}
	if x.active == nil {
		return Finding{}, ErrNoPolicy
	}
	f, err := x.examine(ctx)
	f.Envelope = x.hash
	if err == nil && f.Ruling != Countersigned {
		// Something did not fit: if it was a record, read it anew next time.
		v.records.forget(x.meaning.Wallet, x.meaning.Account)
	}
	return f, err
}

func (x *examination) examine(ctx context.Context) (Finding, error) {
	x.voices = x.v.listen(x.Replies)
	// A rejection wins over everything, the expiry included: it is final.
	if f, ok := x.rejected(); ok {
		return f, nil
	}
	parsed, err := x.parse()
	if err != nil {
		return x.unreadable(err), nil
	}
	statement := parsed.Statement()
	if !x.now.Before(statement.Expires.Time) {
		return x.expired(statement), nil
	}
	if x.meaning, err = x.v.cfg.Interpreter.Meaning(ctx, parsed); err != nil {
		x.meaning.Statement = statement
		return x.uninterpreted(err)
	}
	approvals, refused := x.approvals()
	if len(refused) > 0 {
		return incomplete(refused), nil
	}
	// The user's own signature, by a key to which this document grants wallet
	// and kind: no policy service's word is taken for it.
	if _, reason := document.VerifyUser(x.active, x.envelope, x.meaning, x.now); reason != nil {
		return Finding{Ruling: Rejected, Reasons: own(*reason), Approvals: hashes(approvals)}, nil
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
// the same envelope again.
func (x *examination) rejected() (Finding, bool) {
	f := Finding{Ruling: Rejected}
	seen := map[string]bool{}
	for _, voice := range x.voices {
		a := voice.approval
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
	return f, len(f.Approvals) > 0
}

// maxReasons and maxCode bound, with maxDetail, what one role's rejection adds
// to a signed result: the result must always fit into a message, or a role that
// was taken over could keep a request from ever ending.
const (
	maxReasons = 16
	maxCode    = 64
)

// reasonsOf returns a role's reasons within those bounds, one at least.
func reasonsOf(a message.Approval) []message.RoleReason {
	var out []message.RoleReason
	for _, r := range a.Reasons[:min(len(a.Reasons), maxReasons)] {
		if r.Code == "" || len(r.Code) > maxCode {
			r.Code = CodeRejected
		}
		out = append(out, message.RoleReason{Role: a.Role, Reason: message.Reason{Code: r.Code, Detail: cut(r.Detail)}})
	}
	if len(out) == 0 {
		out = append(out, message.RoleReason{Role: a.Role, Reason: message.Reason{Code: CodeRejected}})
	}
	return out
}

// unreadable rules on a statement that cannot be read or means nothing here.
// The policy services see the same and reject it, and their rejections end it.
// If all of them have spoken and said otherwise, or its time is over by the
// database's clock, the signing service ends it alone.
func (x *examination) unreadable(err error) Finding {
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

func (x *examination) expired(s message.Statement) Finding {
	x.meaning.Statement = s
	text := "the statement expired at " + s.Expires.Format(time.RFC3339)
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
// interpreted. A missing record may only be late.
func (x *examination) uninterpreted(err error) (Finding, error) {
	switch {
	case errors.Is(err, transaction.ErrNoRecord):
		reason := message.Reason{Code: CodeUnknownRecord, Detail: detail(err)}
		return Finding{Ruling: Incomplete, Reasons: own(reason), Missing: x.v.cfg.Genesis.Roles}, nil
	case errors.Is(err, transaction.ErrPayload), errors.Is(err, transaction.ErrDescriptor):
		return x.unreadable(err), nil
	}
	return Finding{}, fmt.Errorf("interpreting request %s: %w", x.ID, err)
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

func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "")
	}
	return text
}

func hashes(approvals []approval) []message.Hash {
	out := make([]message.Hash, 0, len(approvals))
	for _, a := range approvals {
		out = append(out, a.sum)
	}
	return out
}
