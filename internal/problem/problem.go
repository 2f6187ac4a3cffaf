// Package problem is how the HTTP APIs say no: problem details (RFC 9457) with
// stable codes.
//
// Each API has its own table of codes; docs/errors.md lists them all. The
// package trusts its callers to put nothing into a detail that the peer must
// not know. An error that is no *Error tells the peer nothing but "internal".
package problem

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// MediaType is the media type of a Problem (RFC 9457 section 3).
const MediaType = "application/problem+json"

// TypePrefix is the prefix of every problem's type.
const TypePrefix = "urn:countersign:problem:"

// Problem is an error answer. Code is stable and documented in docs/errors.md;
// Type is TypePrefix plus Code; Detail is for people and may change.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Code is the stable code of a problem. It never changes its meaning.
type Code string

// Codes that every table holds.
const (
	// Internal is the code of an error that nobody has given one.
	Internal Code = "internal"
	// Malformed, NotFound and MethodNotAllowed are what Guard and NotAllowed
	// answer with.
	Malformed        Code = "malformed_request"
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
)

// Kind is what a code always says: the HTTP status and the title.
type Kind struct {
	Status int
	Title  string
}

// Error is an answer that is a problem. Detail is shown to the caller; Cause
// is for the log only.
type Error struct {
	Code   Code
	Detail string
	Cause  error
	After  time.Duration // when to try a 429 or 503 again; 0: after a second
	Allow  []string      // of a 405: the methods that the path has
}

// New returns a problem with a detail for the caller.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// NotAllowed is the answer where a path has other methods than the call's. HEAD
// goes with GET.
func NotAllowed(methods ...string) *Error {
	var allow []string
	for _, method := range methods {
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	e := New(MethodNotAllowed, "allowed: %s", strings.Join(allow, ", "))
	e.Allow = allow
	return e
}

// Error is for the log.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// retryAfter is how long a caller is asked to wait before it tries a 429 or 503
// again, where nothing better is known.
const retryAfter = time.Second

// retry is Retry-After (RFC 9110 section 10.2.3) in whole seconds, rounded up.
func (e *Error) retry() string {
	after := max(e.After, retryAfter)
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}

// Table is all codes of one API.
type Table struct {
	Kinds map[Code]Kind
	// Challenge is the WWW-Authenticate of a 401; "": none is sent.
	Challenge string
}

// Of returns what an error is answered with. An error that is no *Error, or
// has a code that the table lacks, is Internal.
func (t Table) Of(err error) (*Error, Kind) {
	var e *Error
	if errors.As(err, &e) {
		if kind, ok := t.Kinds[e.Code]; ok {
			return e, kind
		}
	}
	return &Error{Code: Internal, Cause: err}, t.Kinds[Internal]
}

// Write answers with a problem. Deadlines are the caller's business.
func (t Table) Write(w http.ResponseWriter, err error) {
	e, kind := t.Of(err)
	body, err := message.Encode(Problem{
		Type: TypePrefix + string(e.Code), Title: kind.Title, Status: kind.Status, Code: string(e.Code),
		Detail: strings.ToValidUTF8(e.Detail, "?"),
	})
	if err != nil { // text can always be encoded
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", MediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch kind.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", e.retry())
	case http.StatusMethodNotAllowed: // a MUST of RFC 9110 section 15.5.6
		h.Set("Allow", strings.Join(e.Allow, ", "))
	case http.StatusUnauthorized:
		if t.Challenge != "" {
			h.Set("WWW-Authenticate", t.Challenge)
		}
	}
	w.WriteHeader(kind.Status)
	_, _ = w.Write(body) // the peer may be gone; there is nobody left to tell
}
