package proposer

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// Code is the stable code of a problem. docs/errors.md lists the same table;
// a test compares them.
type Code string

// The problem codes of the API.
const (
	CodeMalformedRequest     Code = "malformed_request"
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
	CodeNotFound             Code = "not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeBodyTimeout          Code = "body_timeout"
	CodeIDConflict           Code = "id_conflict"
	CodeStatementTooLarge    Code = "statement_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeRateLimited          Code = "rate_limited"
	CodeTooManyStreams       Code = "too_many_streams"
	CodeInternal             Code = "internal"
	CodeUnavailable          Code = "unavailable"
	CodeNotReady             Code = "not_ready"
)

// kindOfProblem is what a code always says.
type kindOfProblem struct {
	status int
	title  string
}

// problems is the one table of codes.
var problems = map[Code]kindOfProblem{
	CodeMalformedRequest:     {http.StatusBadRequest, "The HTTP request is malformed"},
	CodeUnknownParameter:     {http.StatusBadRequest, "A query parameter is not known here"},
	CodeInvalidParameter:     {http.StatusBadRequest, "A query parameter has no valid value"},
	CodeInvalidPreference:    {http.StatusBadRequest, "The Prefer header is malformed"},
	CodeInvalidStatement:     {http.StatusBadRequest, "The statement is malformed"},
	CodeUnknownKind:          {http.StatusBadRequest, "The statement's kind is not known"},
	CodeWrongAudience:        {http.StatusBadRequest, "The statement is for another deployment"},
	CodeExpiryOutOfRange:     {http.StatusBadRequest, "The statement's expiry is out of range"},
	CodeMissingSignature:     {http.StatusBadRequest, "The statement carries no HTTP message signature"},
	CodeInvalidSignature:     {http.StatusBadRequest, "The HTTP message signature is malformed"},
	CodeDigestMismatch:       {http.StatusBadRequest, "Content-Digest is not that of the body"},
	CodeUnauthenticated:      {http.StatusUnauthorized, "No acceptable access token or client certificate"},
	CodeNotFound:             {http.StatusNotFound, "There is nothing here that you may see"},
	CodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "The method is not allowed here"},
	CodeBodyTimeout:          {http.StatusRequestTimeout, "The body did not arrive in time"},
	CodeIDConflict:           {http.StatusConflict, "The request id is taken by another statement"},
	CodeStatementTooLarge:    {http.StatusRequestEntityTooLarge, "The statement is too large"},
	CodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "The body must be plain application/json"},
	CodeRateLimited:          {http.StatusTooManyRequests, "You call faster than your limit"},
	CodeTooManyStreams:       {http.StatusTooManyRequests, "Too many event streams are open"},
	CodeInternal:             {http.StatusInternalServerError, "Something went wrong inside"},
	CodeUnavailable:          {http.StatusServiceUnavailable, "The queue is out of reach; try again"},
	CodeNotReady:             {http.StatusServiceUnavailable, "The service is not ready"},
}

// Codes returns every problem code with its HTTP status.
func Codes() map[Code]int {
	out := make(map[Code]int, len(problems))
	for code, p := range problems {
		out[code] = p.status
	}
	return out
}

// problemError is an answer that is a problem. Detail is shown to the caller;
// cause goes to the log only.
type problemError struct {
	code   Code
	detail string
	cause  error
	after  time.Duration // when to try again; 0: after retryAfter
}

func (p *problemError) Error() string {
	if p.cause != nil {
		return fmt.Sprintf("%s: %s: %v", p.code, p.detail, p.cause)
	}
	return fmt.Sprintf("%s: %s", p.code, p.detail)
}

func (p *problemError) Unwrap() error { return p.cause }

func problem(code Code, format string, args ...any) *problemError {
	return &problemError{code: code, detail: fmt.Sprintf(format, args...)}
}

// unavailable is the answer when the database does not: the caller may try
// again, the cause stays inside.
func unavailable(cause error) *problemError {
	return &problemError{code: CodeUnavailable, cause: cause}
}

// retryAfter is how long a caller is asked to wait before it tries a 503 or 429
// again, where nothing better is known.
const retryAfter = time.Second

// retry is Retry-After in whole seconds, rounded up.
func (p *problemError) retry() string {
	after := max(p.after, retryAfter)
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}

// writeProblem answers with a problem; an error that is none becomes
// "internal" and its text stays inside.
func writeProblem(w http.ResponseWriter, err error) {
	var p *problemError
	if !errors.As(err, &p) {
		p = &problemError{code: CodeInternal, cause: err}
	}
	k := problems[p.code]
	body := api.Problem{
		Type: api.ProblemType + string(p.code), Title: k.title, Status: k.status, Code: string(p.code), Detail: p.detail,
	}
	switch k.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", p.retry())
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="countersign"`)
	}
	writeJSON(w, k.status, api.ProblemMediaType, body)
}

// writeJSON writes one whole answer.
func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	b, err := message.Encode(v)
	if err != nil { // only a stored output that is no JSON can do this
		status, mediaType = http.StatusInternalServerError, api.ProblemMediaType
		b = []byte(`{"type":"urn:countersign:problem:internal","title":"Something went wrong inside","status":500,"code":"internal"}`)
	}
	write(w, status, mediaType, b)
}

// write sends one whole answer, within writeTime from now. The deadline is set
// only here, because a call may wait for its result much longer than that.
func write(w http.ResponseWriter, status int, mediaType string, b []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer may be gone; there is nobody left to tell
}
