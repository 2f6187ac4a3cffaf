package proposer

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/message"
	rfc9457 "github.com/countersign/countersign/internal/problem"
)

// Code is the stable code of a problem. docs/errors.md lists the same table;
// a test compares them.
type Code = rfc9457.Code

// The problem codes of the API.
const (
	CodeMalformedRequest     Code = rfc9457.Malformed
	CodeUnknownParameter     Code = "unknown_parameter"
	CodeInvalidParameter     Code = "invalid_parameter"
	CodeInvalidPreference    Code = "invalid_preference"
	CodeInvalidStatement     Code = "invalid_statement"
	CodeUnknownKind          Code = "unknown_kind"
	CodeWrongAudience        Code = "wrong_audience"
	CodeExpiryOutOfRange     Code = "expiry_out_of_range"
	CodeMissingSignature     Code = "missing_signature"
	CodeInvalidSignature     Code = "invalid_signature"
	CodeDigestMismatch       Code = "content_digest_mismatch"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeNotFound             Code = rfc9457.NotFound
	CodeMethodNotAllowed     Code = rfc9457.MethodNotAllowed
	CodeBodyTimeout          Code = "body_timeout"
	CodeIDConflict           Code = "id_conflict"
	CodeTooLate              Code = "too_late"
	CodeStatementTooLarge    Code = "statement_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeRateLimited          Code = "rate_limited"
	CodeTooManyStreams       Code = "too_many_streams"
	CodeInternal             Code = rfc9457.Internal
	CodeUnavailable          Code = "unavailable"
	CodeNotReady             Code = "not_ready"
	CodeIssuerUnavailable    Code = "issuer_unavailable"
)

// problems is the one table of codes.
var problems = rfc9457.Table{Challenge: `Bearer realm="countersign"`, Kinds: map[Code]rfc9457.Kind{
	CodeMalformedRequest:     {Status: http.StatusBadRequest, Title: "The HTTP request is malformed"},
	CodeUnknownParameter:     {Status: http.StatusBadRequest, Title: "A query parameter is not known here"},
	CodeInvalidParameter:     {Status: http.StatusBadRequest, Title: "A query parameter has no valid value"},
	CodeInvalidPreference:    {Status: http.StatusBadRequest, Title: "The Prefer header is malformed"},
	CodeInvalidStatement:     {Status: http.StatusBadRequest, Title: "The statement is malformed"},
	CodeUnknownKind:          {Status: http.StatusBadRequest, Title: "The statement's kind is not known"},
	CodeWrongAudience:        {Status: http.StatusBadRequest, Title: "The statement is for another deployment"},
	CodeExpiryOutOfRange:     {Status: http.StatusBadRequest, Title: "The statement's expiry is out of range"},
	CodeMissingSignature:     {Status: http.StatusBadRequest, Title: "The statement carries no HTTP message signature"},
	CodeInvalidSignature:     {Status: http.StatusBadRequest, Title: "The HTTP message signature is malformed"},
	CodeDigestMismatch:       {Status: http.StatusBadRequest, Title: "Content-Digest is not that of the body"},
	CodeUnauthenticated:      {Status: http.StatusUnauthorized, Title: "No acceptable access token or client certificate"},
	CodeNotFound:             {Status: http.StatusNotFound, Title: "There is nothing here that you may see"},
	CodeMethodNotAllowed:     {Status: http.StatusMethodNotAllowed, Title: "The method is not allowed here"},
	CodeBodyTimeout:          {Status: http.StatusRequestTimeout, Title: "The body did not arrive in time"},
	CodeIDConflict:           {Status: http.StatusConflict, Title: "The request id is taken by another statement"},
	CodeTooLate:              {Status: http.StatusConflict, Title: "The request has ended otherwise"},
	CodeStatementTooLarge:    {Status: http.StatusRequestEntityTooLarge, Title: "The statement is too large"},
	CodeUnsupportedMediaType: {Status: http.StatusUnsupportedMediaType, Title: "The body must be plain application/json"},
	CodeRateLimited:          {Status: http.StatusTooManyRequests, Title: "You call faster than your limit"},
	CodeTooManyStreams:       {Status: http.StatusTooManyRequests, Title: "Too many event streams are open"},
	CodeInternal:             {Status: http.StatusInternalServerError, Title: "Something went wrong inside"},
	CodeUnavailable:          {Status: http.StatusServiceUnavailable, Title: "The queue is out of reach; try again"},
	CodeNotReady:             {Status: http.StatusServiceUnavailable, Title: "The service is not ready"},
	CodeIssuerUnavailable:    {Status: http.StatusServiceUnavailable, Title: "The keys of the token's issuer cannot be had; try again"},
}}

// Codes returns every problem code with its HTTP status.
func Codes() map[Code]int {
	out := make(map[Code]int, len(problems.Kinds))
	for code, kind := range problems.Kinds {
		out[code] = kind.Status
	}
	return out
}

// problemError is an answer that is a problem.
type problemError = rfc9457.Error

func problem(code Code, format string, args ...any) *problemError {
	return rfc9457.New(code, format, args...)
}

// isNotFound says whether an error is the answer that there is nothing here.
func isNotFound(err error) bool {
	var p *problemError
	return errors.As(err, &p) && p.Code == CodeNotFound
}

// unavailable is the answer when the database does not: the caller may try
// again, the cause stays inside.
func unavailable(cause error) *problemError {
	return &problemError{Code: CodeUnavailable, Cause: cause}
}

// writeProblem answers with a problem; an error that is none becomes
// "internal" and its text stays inside.
func writeProblem(w http.ResponseWriter, err error) {
	limitWriting(w)
	problems.Write(w, err)
}

// writeJSON writes one whole answer.
func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	b, err := message.Encode(v)
	if err != nil { // only a stored output that is no JSON can do this
		writeProblem(w, err)
		return
	}
	write(w, status, mediaType, b)
}

// write sends one whole answer.
func write(w http.ResponseWriter, status int, mediaType string, b []byte) {
	limitWriting(w)
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may be gone; there is nobody left to tell
}

// limitWriting gives the peer writeTime from now. The deadline is set only when
// the answer is there, because a call may wait for its result much longer.
func limitWriting(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
}
