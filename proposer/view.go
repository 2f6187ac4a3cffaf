package proposer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// request shows what the queue knows about a request.
func (s *Server) request(ctx context.Context, v queue.View) (api.Request, error) {
	var envelope message.Envelope
	if err := message.Decode(v.Body, &envelope); err != nil {
		return api.Request{}, fmt.Errorf("reading envelope of %s: %w", v.ID, err)
	}
	statement, err := message.ParseStatement(envelope.Statement, s.deployment)
	if err != nil {
		return api.Request{}, fmt.Errorf("reading statement of %s: %w", v.ID, err)
	}
	out := newRequest(v.Submission, statement, envelope.Received)
	out.Wallet, out.Account = subjects(statement, message.Sum(envelope.Statement))
	out.Payload = statement.Payload
	out.Decisions = s.decisions(v)
	if v.Result != nil {
		out.Result = s.result(ctx, v)
		out.Status = out.Result.Status
		return out, nil
	}
	if out.Waiting = s.waiting(v.Tasks); len(out.Waiting) > 0 {
		out.Status = message.StatusWaiting
	}
	return out, nil
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

// result shows a result that the signing service signed for this very
// envelope. Anything else in its place is shown as the failure that it is.
func (s *Server) result(ctx context.Context, v queue.View) *api.Result {
	r, err := s.verifyResult(ctx, v)
	if err != nil {
		s.log.ErrorContext(ctx, "stored result does not verify", "request", v.ID, "error", err)
		return &api.Result{
			Status: message.StatusFailed,
			Reasons: []message.RoleReason{{Role: "proposer", Reason: message.Reason{
				Code: reasonUnverified, Detail: "the stored result is not signed by the signing service",
			}}},
			Output: jsontext.Value("null"), Time: message.At(v.Result.Created), JWS: "",
		}
	}
	out := &api.Result{Status: r.Status, Reasons: orEmpty(r.Reasons), Output: r.Output, Time: r.Time, JWS: string(v.Result.Body)}
	if out.Output == nil {
		out.Output = jsontext.Value("null")
	}
	return out
}

// verifyResult verifies under the active policy document, and once more after
// a look for a newer one: the signing service may know a new key earlier.
func (s *Server) verifyResult(ctx context.Context, v queue.View) (message.Result, error) {
	r, err := openResult(s.policy.Active(), v, s.deployment)
	if err == nil {
		return r, nil
	}
	if changed, failed := s.policy.Refresh(ctx); failed != nil || !changed {
		return r, err
	}
	return openResult(s.policy.Active(), v, s.deployment)
}

func openResult(active *document.Active, v queue.View, deployment message.Hash) (message.Result, error) {
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
		if r.Deployment != deployment || r.Request != v.ID.String() || r.Envelope != message.Sum(v.Body) {
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
