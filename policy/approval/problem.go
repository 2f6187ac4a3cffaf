package approval

import (
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/message"
	rfc9457 "github.com/countersign/countersign/internal/problem"
)

// code is the stable code of a problem; docs/errors.md lists the same table.
type code = rfc9457.Code

const (
	codeMalformed        code = "malformed_request"
	codeUnauthenticated  code = "unauthenticated"
	codeNotApprover      code = "not_an_approver"
	codeSelfApproval     code = "self_approval"
	codeFrozen           code = "approver_frozen"
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
	codeRateLimited      code = "rate_limited"
	codeInvalidVote      code = "invalid_vote"
	codeVoteMismatch     code = "vote_for_other_request"
	codeInternal         code = "internal"
	codeUnavailable      code = "unavailable"
	codeNotReady         code = "not_ready"
)

var problems = rfc9457.Table{Kinds: map[code]rfc9457.Kind{
	codeMalformed:        {Status: http.StatusBadRequest, Title: "The HTTP request is malformed"},
	codeInvalidVote:      {Status: http.StatusBadRequest, Title: "The vote is malformed or its signature does not verify"},
	codeUnauthenticated:  {Status: http.StatusUnauthorized, Title: "No acceptable signature of an approver"},
	codeNotApprover:      {Status: http.StatusForbidden, Title: "The vote is not by an approver who may vote"},
	codeSelfApproval:     {Status: http.StatusForbidden, Title: "The policy forbids agreeing to one's own request"},
	codeFrozen:           {Status: http.StatusForbidden, Title: "A freeze stops the person who agrees"},
	codeNotFound:         {Status: http.StatusNotFound, Title: "There is no such path or request"},
	codeMethodNotAllowed: {Status: http.StatusMethodNotAllowed, Title: "The method is not allowed here"},
	codeEnded:            {Status: http.StatusConflict, Title: "The request has ended"},
	codeNotDecidable:     {Status: http.StatusConflict, Title: "The request cannot be decided on"},
	codeNotNeeded:        {Status: http.StatusConflict, Title: "The request needs no people"},
	codeOtherPolicy:      {Status: http.StatusConflict, Title: "The vote names another policy document than the active one"},
	codeVoteTime:         {Status: http.StatusConflict, Title: "The vote has ended, or ends after the request"},
	codeRejected:         {Status: http.StatusConflict, Title: "The request was rejected, which is final"},
	codeVoteMismatch:     {Status: http.StatusConflict, Title: "The vote is for another request, envelope or digests"},
	codeTooLarge:         {Status: http.StatusRequestEntityTooLarge, Title: "The vote is too large"},
	codeMediaType:        {Status: http.StatusUnsupportedMediaType, Title: "The body has another media type"},
	codeRateLimited:      {Status: http.StatusTooManyRequests, Title: "You call faster than your limit"},
	codeInternal:         {Status: http.StatusInternalServerError, Title: "Something went wrong inside"},
	codeUnavailable:      {Status: http.StatusServiceUnavailable, Title: "The database is out of reach; try again"},
	codeNotReady:         {Status: http.StatusServiceUnavailable, Title: "The service is not ready"},
}}

// failure is an answer that is a problem.
type failure = rfc9457.Error

func problem(c code, detail string) error { return &failure{Code: c, Detail: detail} }

func unavailable(cause error) error { return &failure{Code: codeUnavailable, Cause: cause} }

// fail answers with a problem; an error that is none becomes "internal" and
// its text stays inside.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, kind := problems.Of(err)
	if kind.Status >= http.StatusInternalServerError && f.Cause != nil {
		s.cfg.Log.ErrorContext(r.Context(), "answering an approver failed", "code", string(f.Code), "error", f.Cause)
	}
	limitWriting(w)
	problems.Write(w, f)
}

// write answers with what was asked for.
func write(w http.ResponseWriter, v any) {
	limitWriting(w)
	b, err := message.Encode(v)
	if err != nil { // none of our answers can do this
		problems.Write(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the peer may be gone; there is nobody left to tell
}

// limitWriting gives the peer writeTime from now, whatever the call took.
func limitWriting(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
}
