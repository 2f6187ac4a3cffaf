package approval

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/approval/api"
)

// code is the stable code of a problem; docs/errors.md lists the same table.
type code string

const (
	codeMalformed        code = "malformed_request"
	codeUnauthenticated  code = "unauthenticated"
	codeNotApprover      code = "not_an_approver"
	codeSelfApproval     code = "self_approval"
	codeNotFound         code = "not_found"
	codeMethodNotAllowed code = "method_not_allowed"
	codeEnded            code = "request_ended"
	codeNotDecidable     code = "not_decidable"
	codeNotNeeded        code = "no_vote_needed"
	codeOtherPolicy      code = "vote_for_other_policy"
	codeVoteTime         code = "vote_not_of_this_time"
	codeRejected         code = "already_rejected"
	codeTooLarge         code = "vote_too_large"
	codeMediaType        code = "unsupported_media_type"
	codeInvalidVote      code = "invalid_vote"
	codeVoteMismatch     code = "vote_for_other_request"
	codeInternal         code = "internal"
	codeUnavailable      code = "unavailable"
	codeNotReady         code = "not_ready"
)

var problems = map[code]struct {
	status int
	title  string
}{
	codeMalformed:        {http.StatusBadRequest, "The HTTP request is malformed"},
	codeInvalidVote:      {http.StatusBadRequest, "The vote is malformed or its signature does not verify"},
	codeUnauthenticated:  {http.StatusUnauthorized, "No acceptable signature of an approver"},
	codeNotApprover:      {http.StatusForbidden, "The vote is not by an approver who may vote"},
	codeSelfApproval:     {http.StatusForbidden, "The policy forbids agreeing to one's own request"},
	codeNotFound:         {http.StatusNotFound, "There is no such request"},
	codeMethodNotAllowed: {http.StatusMethodNotAllowed, "The method is not allowed here"},
	codeEnded:            {http.StatusConflict, "The request has ended"},
	codeNotDecidable:     {http.StatusConflict, "The request cannot be decided on"},
	codeNotNeeded:        {http.StatusConflict, "The request needs no people"},
	codeOtherPolicy:      {http.StatusConflict, "The vote names another policy document than the active one"},
	codeVoteTime:         {http.StatusConflict, "The vote has ended, or ends after the request"},
	codeRejected:         {http.StatusConflict, "The request was rejected, which is final"},
	codeVoteMismatch:     {http.StatusConflict, "The vote is for another request, envelope or digests"},
	codeTooLarge:         {http.StatusRequestEntityTooLarge, "The vote is too large"},
	codeMediaType:        {http.StatusUnsupportedMediaType, "The body has another media type"},
	codeInternal:         {http.StatusInternalServerError, "Something went wrong inside"},
	codeUnavailable:      {http.StatusServiceUnavailable, "The database is out of reach; try again"},
	codeNotReady:         {http.StatusServiceUnavailable, "The service is not ready"},
}

// failure is an answer that is a problem. Detail is shown to the caller; cause
// goes to the log alone.
type failure struct {
	code   code
	detail string
	cause  error
}

func (f *failure) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%s: %s: %v", f.code, f.detail, f.cause)
	}
	return fmt.Sprintf("%s: %s", f.code, f.detail)
}

func (f *failure) Unwrap() error { return f.cause }

func problem(c code, detail string) error { return &failure{code: c, detail: detail} }

func unavailable(cause error) error { return &failure{code: codeUnavailable, cause: cause} }

// fail answers with a problem; an error that is none becomes "internal" and
// its text stays inside.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: codeInternal, cause: err}
	}
	k := problems[f.code]
	if k.status >= http.StatusInternalServerError && f.cause != nil {
		s.cfg.Log.ErrorContext(r.Context(), "answering an approver failed", "code", string(f.code), "error", f.cause)
	}
	if k.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	write(w, k.status, api.ProblemMediaType, api.Problem{
		Type: api.ProblemType + string(f.code), Title: k.title, Status: k.status, Code: string(f.code), Detail: f.detail,
	})
}

func write(w http.ResponseWriter, status int, mediaType string, v any) {
	b, err := message.Encode(v)
	if err != nil { // none of our answers can do this
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may be gone; there is nobody left to tell
}
