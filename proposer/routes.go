package proposer

import (
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	rfc9457 "github.com/countersign/countersign/internal/problem"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/proposer/token"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document of the API, as served at
// /openapi.json. The caller must not change it.
func OpenAPI() []byte { return openAPI }

// handler answers one call of a user; an error is answered as a problem.
type handler func(w http.ResponseWriter, r *http.Request, user string) error

// route is one method on one path. Query lists the parameters that it knows.
type route struct {
	method, path string
	query        []string
	open         bool // needs no user
	freezes      bool // lets in who asks for a freeze
	handle       handler
}

// routes is the one table of what the API answers.
func (s *Server) routes() []route {
	page := []string{"limit", "cursor"}
	return []route{
		{method: http.MethodPost, path: "/v1/requests", freezes: true, handle: s.propose},
		{method: http.MethodGet, path: "/v1/requests", query: append([]string{"status", "kind", "wallet"}, page...), handle: s.list},
		{method: http.MethodGet, path: "/v1/requests/{id}", handle: s.show},
		{method: http.MethodGet, path: "/v1/requests/{id}/events", handle: s.events},
		{method: http.MethodPost, path: "/v1/requests/{id}/cancel", handle: s.cancel},
		{method: http.MethodGet, path: "/v1/wallets", query: page, handle: s.listWallets},
		{method: http.MethodGet, path: "/v1/wallets/{id}", handle: s.wallet},
		{method: http.MethodGet, path: "/v1/wallets/{id}/accounts", query: page, handle: s.listAccounts},
		{method: http.MethodGet, path: "/openapi.json", open: true, handle: describeAPI},
		{method: http.MethodGet, path: "/healthz", open: true, handle: healthy},
		{method: http.MethodGet, path: "/readyz", open: true, handle: s.ready},
	}
}

// Routes returns "METHOD path" of everything that the API answers.
func Routes() []string {
	var out []string
	for _, r := range (&Server{}).routes() {
		out = append(out, r.method+" "+r.path)
	}
	return out
}

// Handler returns the API. It wants a connection that TLSConfig has let in;
// Serve gives it one, with timeouts.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]route{}
	for _, r := range s.routes() {
		methods[r.path] = append(methods[r.path], r)
	}
	for pattern, routes := range methods {
		mux.Handle(pattern, s.dispatch(routes))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, problem(CodeNotFound, "")) })
	return rfc9457.Guard{Refuse: s.refuse, BodyTime: s.limits.BodyTime}.Before(mux)
}

// dispatch chooses the route by method.
func (s *Server) dispatch(routes []route) http.Handler {
	var methods []string
	for _, r := range routes {
		methods = append(methods, r.method)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range routes {
			if r.Method == route.method || (r.Method == http.MethodHead && route.method == http.MethodGet) {
				s.call(w, r, route)
				return
			}
		}
		s.refuse(w, r, rfc9457.NotAllowed(methods...))
	})
}

func (s *Server) call(w http.ResponseWriter, r *http.Request, route route) {
	start := time.Now()
	user, rated, err := s.enter(w, r, route)
	if err != nil {
		s.refuse(w, r, s.stranger(r, err))
		return
	}
	if err := s.allow(route, rated); err != nil {
		s.refuse(w, r, err)
		return
	}
	if route.method != http.MethodPost && r.ContentLength != 0 {
		s.refuse(w, r, problem(CodeMalformedRequest, "%s takes no body here", r.Method))
		return
	}
	if err := checkQuery(r.URL, route.query); err != nil {
		s.refuse(w, r, err)
		return
	}
	if err := route.handle(w, r, user); err != nil {
		s.refuse(w, r, err)
		return
	}
	if !route.open && s.log.Enabled(r.Context(), slog.LevelDebug) {
		s.log.DebugContext(r.Context(), "api call answered", "method", route.method, "route", route.path, "user", user, "duration", time.Since(start))
	}
}

// enter says who calls, and whose rate the call counts against.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, route route) (user, rated string, err error) {
	if route.open {
		return "", "", nil
	}
	user, err = s.door.user(r)
	if errors.Is(err, errNoCredential) && route.freezes {
		return s.freezer(w, r)
	}
	return user, user, err
}

// stranger turns a failed entry into the one answer that all of them get,
// unless it may succeed later; why it failed is for the log.
func (s *Server) stranger(r *http.Request, err error) error {
	var p *problemError
	if errors.As(err, &p) {
		return err
	}
	s.log.InfoContext(r.Context(), "entry refused", "peer", r.RemoteAddr, "reason", err.Error())
	if errors.Is(err, token.ErrKeysUnavailable) {
		// Not 401: that would send the user to log in again, where nobody is,
		// with a token that may be good.
		return problem(CodeIssuerUnavailable, "the token can be neither accepted nor refused now")
	}
	return problem(CodeUnauthenticated, "send a valid access token (Authorization: Bearer) or use a client certificate that the policy names")
}

// checkQuery accepts each known parameter once.
func checkQuery(u *url.URL, known []string) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return problem(CodeMalformedRequest, "the query is malformed")
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return problem(CodeUnknownParameter, "known here: %s", knownParameters(known))
		}
		if len(values) != 1 {
			return problem(CodeInvalidParameter, "%s stands %d times", name, len(values))
		}
	}
	return nil
}

func knownParameters(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

// refuse answers with a problem and logs what is our own fault.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, kind := problems.Of(err)
	// That an issuer is down, package token has logged.
	if kind.Status >= http.StatusInternalServerError && p.Code != CodeIssuerUnavailable {
		s.log.LogAttrs(r.Context(), slog.LevelError, "api call failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	writeProblem(w, err)
}

func describeAPI(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, mediaType, openAPI)
	return nil
}

func healthy(w http.ResponseWriter, _ *http.Request, _ string) error {
	writeJSON(w, http.StatusOK, mediaType, api.Health{Status: "ok"})
	return nil
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := s.recentlyReady(r.Context()); err != nil {
		return &problemError{Code: CodeNotReady, Cause: err}
	}
	writeJSON(w, http.StatusOK, mediaType, api.Health{Status: "ready"})
	return nil
}
