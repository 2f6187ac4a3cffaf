package problem

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"
)

// Guard stands before the routes of an API, so that http.ServeMux neither
// redirects nor answers by itself: all that is no answer is a problem.
type Guard struct {
	// Refuse answers with a problem, and logs what is the service's own fault.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	// BodyTime is how long a body may take to arrive, also where the call is
	// refused before anybody reads it.
	BodyTime time.Duration
}

// Before returns the routes behind the guard.
func (g Guard) Before(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.recover(w, r)
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Strict-Transport-Security", "max-age=63072000")
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.BodyTime))
		}
		if err := plainTarget(r); err != nil {
			g.Refuse(w, r, err)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

// plainTarget accepts a request target that has one spelling only: an absolute
// path without dots, doubled slashes or percent signs. So the path that is
// routed, logged and signed is the same whatever stands in between.
func plainTarget(r *http.Request) error {
	u := r.URL
	if u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return New(Malformed, "the request target must be a path")
	}
	if u.RawPath != "" || !strings.HasPrefix(u.Path, "/") || path.Clean(u.Path) != u.Path {
		return New(NotFound, "")
	}
	target, _, _ := strings.Cut(r.RequestURI, "?")
	if r.RequestURI != "" && target != u.Path {
		return New(NotFound, "")
	}
	return nil
}

// recover answers a panic as an internal problem. The panic's value may hold
// anything and is not logged; the stack is.
func (g Guard) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	g.Refuse(w, r, &Error{Code: Internal, Cause: fmt.Errorf("panic: %s", debug.Stack())})
}
