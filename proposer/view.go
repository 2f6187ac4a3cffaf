package proposer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// reasonUnverified is the reason of a stored result that the signing service
// did not sign: somebody wrote it into the database.
const reasonUnverified = "result_unverified"

// maxNote is the longest note that is shown, in characters.
const maxNote = 200

// newRequest shows a request that was just accepted, without asking the
// database again.
func newRequest(s queue.Submission, statement message.Statement, received message.Time) api.Request {
	r := api.Request{
		ID: s.ID.String(), Kind: statement.Kind, Status: message.StatusPending,
		Submitted: received, Expires: statement.Expires,
		Decisions: []api.Decision{}, Waiting: []api.Waiting{},
	}
	r.Wallet, r.Account = subjects(statement, s.Fingerprint)
	return r
}

// subjects are the wallet and account that a statement is about, or will make.
func subjects(s message.Statement, hash message.Hash) (wallet, account string) {
	switch s.Kind {
	case message.KindWalletCreate:
		return hash.String(), ""
	case message.KindAccountCreate:
		return s.Wallet, hash.String()
	}
	return s.Wallet, s.Account
}

// request shows what the queue knows about a request. One whose envelope cannot
// be read hides neither its own end nor other requests: it is shown without a
// payload.
func (s *Server) request(ctx context.Context, v queue.View) api.Request {
	out, err := s.asked(v)
	if err != nil {
		s.log.ErrorContext(ctx, "stored envelope cannot be read", "request", v.ID, "error", err)
		out = columns(v)
	}
	out.Decisions = s.decisions(v)
	if v.Result != nil {
		out.Result = s.result(ctx, v)
		out.Status = out.Result.Status
		return out
	}
	if out.Waiting = s.waiting(v.Tasks); len(out.Waiting) > 0 {
		out.Status = message.StatusWaiting
	}
	return out
}

// asked shows what was asked for, as the stored envelope has it.
func (s *Server) asked(v queue.View) (api.Request, error) {
	envelope, statement, err := s.read(v)
	if err != nil {
		return api.Request{}, err
	}
	out := newRequest(v.Submission, statement, envelope.Received)
	out.Wallet, out.Account = subjects(statement, message.Sum(envelope.Statement))
	out.Payload = statement.Payload
	return out, nil
}

// errAltered says that the database has other bytes than were written.
var errAltered = errors.New("the bytes are not those that were hashed, or of another request")

// read decodes the stored envelope of a request, and its statement.
func (s *Server) read(v queue.View) (message.Envelope, message.Statement, error) {
	var envelope message.Envelope
	if message.Sum(v.Body) != v.Hash {
		return envelope, message.Statement{}, fmt.Errorf("reading envelope of %s: %w", v.ID, errAltered)
	}
	if err := message.Decode(v.Body, &envelope); err != nil {
		return envelope, message.Statement{}, fmt.Errorf("reading envelope of %s: %w", v.ID, err)
	}
	statement, err := message.ParseStatement(envelope.Statement, s.deployment)
	if err == nil && statement.ID != v.ID.String() {
		err = errAltered
	}
	if err != nil {
		return envelope, statement, fmt.Errorf("reading statement of %s: %w", v.ID, err)
	}
	return envelope, statement, nil
}

// kindUnknown is shown for a kind that cannot be one.
const kindUnknown message.Kind = "unknown"

// columns shows a request by what the proposer wrote beside its envelope when
// it was submitted. None of that is verified, and so nothing of it is shown
// that does not have the form it should have.
func columns(v queue.View) api.Request {
	statement := message.Statement{Kind: message.Kind(v.Kind), Wallet: v.Wallet, Expires: shownTime(v.Expires)}
	if !kindName(v.Kind) {
		statement.Kind = kindUnknown
	}
	if _, err := message.ParseHash(v.Wallet); err != nil {
		statement.Wallet = ""
	}
	return newRequest(v.Submission, statement, shownTime(v.Submitted))
}

// shownTime is a time of the database's in the form of the API, to the nearest
// second; one that this form has no room for becomes the year 1.
func shownTime(t time.Time) message.Time {
	t = t.UTC().Round(time.Second)
	if t.Year() < 1 || t.Year() > 9999 {
		t = time.Time{}
	}
	return message.At(t)
}

// decisions shows the newest reply of each role, in the genesis document's
// order. They are shown as they lie in the database; only the result is
// verified.
func (s *Server) decisions(v queue.View) []api.Decision {
	newest := map[string]api.Decision{}
	for _, reply := range v.Replies { // newest last
		var a message.Approval
		if err := message.Peek(reply.Body, &a); err != nil || a.Role != reply.Sender || a.Request != v.ID.String() {
			continue
		}
		newest[a.Role] = api.Decision{Role: a.Role, Decision: a.Decision, Reasons: orEmpty(a.Reasons), Time: a.Issued}
	}
	out := []api.Decision{}
	for _, role := range s.roles {
		if d, ok := newest[role]; ok {
			out = append(out, d)
		}
	}
	return out
}

// waiting shows the roles that have put the request aside until people agree.
func (s *Server) waiting(tasks []queue.TaskView) []api.Waiting {
	out := []api.Waiting{}
	for _, t := range tasks {
		if t.State == "parked" && slices.Contains(s.roles, t.Consumer) {
			out = append(out, api.Waiting{Role: t.Consumer, Note: printable(t.Note)})
		}
	}
	return out
}

// printable cuts a note from the database to what a terminal may be shown.
func printable(note string) string {
	clean := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, note))
	return string(clean[:min(len(clean), maxNote)])
}

// result shows a result that the signing service signed for this request, and
// for the envelope that was hashed when the request was written: also where these
// bytes are there no more, since what was signed stays signed. Anything else in
// its place is shown as the failure that it is.
func (s *Server) result(ctx context.Context, v queue.View) *api.Result {
	r, err := s.verifyResult(ctx, v, v.Hash)
	if err != nil {
		s.log.ErrorContext(ctx, "stored result does not verify", "request", v.ID, "error", err)
		return &api.Result{
			Status: message.StatusFailed,
			Reasons: []message.RoleReason{{Role: "proposer", Reason: message.Reason{
				Code: reasonUnverified, Detail: "the stored result is not signed by the signing service",
			}}},
			Output: jsontext.Value("null"), Time: shownTime(v.Result.Created), JWS: "",
		}
	}
	out := &api.Result{Status: r.Status, Reasons: orEmpty(r.Reasons), Output: r.Output, Time: r.Time, JWS: string(v.Result.Body)}
	if out.Output == nil {
		out.Output = jsontext.Value("null")
	}
	return out
}

// verifyResult verifies that a result is of a request and of the envelope with a
// hash. It does so under the active policy document, and once more after a look
// for a newer one: the signing service may know a new key earlier.
func (s *Server) verifyResult(ctx context.Context, v queue.View, envelope message.Hash) (message.Result, error) {
	r, err := openResult(s.policy.Active(), v, envelope, s.deployment)
	if err == nil {
		return r, nil
	}
	if changed, failed := s.policy.Refresh(ctx); failed != nil || !changed {
		return r, err
	}
	return openResult(s.policy.Active(), v, envelope, s.deployment)
}

func openResult(active *document.Active, v queue.View, envelope, deployment message.Hash) (message.Result, error) {
	var r message.Result
	if active == nil {
		return r, errors.New("no policy document names the signing service's key")
	}
	for _, key := range active.SigningKeys() {
		err := message.VerifyEd25519(message.TypResult, key.ID, key.Public, v.Result.Body, &r)
		if errors.Is(err, message.ErrHeader) {
			continue // not by this key
		}
		if err != nil {
			return r, err
		}
		if r.Deployment != deployment || r.Request != v.ID.String() || r.Envelope != envelope {
			return r, fmt.Errorf("result is of request %s, not of this one", r.Request)
		}
		return r, nil
	}
	return r, errors.New("the policy document does not name the result's key")
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
