package approval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/fairness"
	"github.com/countersign/countersign/internal/message"
	rfc9457 "github.com/countersign/countersign/internal/problem"
	"github.com/countersign/countersign/policy/approval/api"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/transaction"
)

// Stored is a request as it lies on the queue. Nothing of it is trusted.
type Stored struct {
	ID        uuid.UUID
	Envelope  []byte
	Submitted time.Time
	// Ended says that the request has its result: for display and to spare
	// people a vote that changes nothing.
	Ended bool
}

// ErrNotFound says that there is no such request.
var ErrNotFound = errors.New("no such request")

// Requests reads requests; package approvalpg has the real one.
type Requests interface {
	// Waiting returns the requests that this role has not finished with, at
	// most limit: those set aside first, then the users' in turn, each one's
	// oldest first.
	Waiting(ctx context.Context, limit int) ([]Stored, error)
	// Request returns one request; ErrNotFound if there is none.
	Request(ctx context.Context, id uuid.UUID) (Stored, error)
}

// Runtime is what the API needs of the policy runtime; *policy.Service is
// one.
type Runtime interface {
	// Append writes a record to the role's chain and gives it to the decider's
	// Replay. When it returns nil, the record is durable.
	Append(ctx context.Context, body []byte) error
	// Unpark has the role decide again on a request, however often it is
	// called and whether or not the request is parked.
	Unpark(ctx context.Context, request uuid.UUID) error
	// Overrule has the role decide on a request at once and say so if it is a
	// rejection, though it may have approved the request already.
	Overrule(ctx context.Context, request uuid.UUID, envelope []byte) (rejected bool, err error)
	// Frozen says whether a freeze stops a user under a document.
	Frozen(active *document.Active, user string) bool
}

// Policy holds the active policy document; *activation.Holder does.
type Policy interface {
	// Active returns nil as long as no document is active.
	Active() *document.Active
}

// Interpreter says what a statement means; transaction.Interpreter does.
type Interpreter interface {
	Interpret(ctx context.Context, raw []byte) (transaction.Meaning, error)
}

// Config is everything that the API needs.
type Config struct {
	Deployment  message.Hash
	Decider     *Decider
	Requests    Requests
	Runtime     Runtime
	Interpreter Interpreter
	Policy      Policy
	// Authorities are the hosts ("name" or "name:port") that signed reading
	// requests may be for. Empty: whatever host the request names, so that a
	// signature for another approval service would be accepted for the minute
	// that it lives, if the same key may vote at both.
	Authorities []string
	Limits      Limits
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger     // nil: no logs
}

// Server is the approval service's HTTP API. It decides nothing: it shows
// what waits and takes votes in. It is safe for concurrent use.
type Server struct {
	cfg   Config
	reads *fairness.Buckets
	votes *fairness.Buckets
	turns *fairness.Turns // of one approver's lists
	lists chan struct{}   // as many as may be read at once
}

// NewServer checks the configuration and returns the API.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Decider == nil || cfg.Requests == nil || cfg.Runtime == nil ||
		cfg.Interpreter == nil || cfg.Policy == nil || cfg.Deployment.IsZero() {
		return nil, errors.New("approval API: configuration is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	limits := cfg.Limits.withDefaults()
	if !limits.Reads.Valid() || !limits.Votes.Valid() {
		return nil, errors.New("approval API: rate of reads or votes is out of range")
	}
	return &Server{
		cfg: cfg, reads: fairness.NewBuckets(limits.Reads), votes: fairness.NewBuckets(limits.Votes),
		turns: fairness.NewTurns(1), lists: make(chan struct{}, maxLists),
	}, nil
}

// Bounds of one call.
const (
	// maxVote is the most bytes of a vote: its digests are few and short.
	maxVote = 64 << 10
	// bodyTime is how long a body may take to arrive, writeTime how long an
	// answer may take to leave.
	bodyTime  = 10 * time.Second
	writeTime = 30 * time.Second
	// maxListed is how many requests one list shows: more than a person reads.
	maxListed = 100
	// maxLists is how many lists are read at once: each may hold a hundred
	// statements of 128 KiB, and this process also decides.
	maxLists = 2
)

// Handler returns the API's routes. The server around it speaks TLS and sets
// header timeouts.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(api.Path, s.only(http.MethodGet, s.signed(s.list)))
	mux.Handle(api.Path+"/{id}", s.only(http.MethodGet, s.signed(s.show)))
	mux.Handle(api.Path+"/{id}/votes", s.only(http.MethodPost, s.handle(s.vote)))
	mux.Handle("/", s.handle(func(*http.Request) (any, error) { return nil, problem(codeNotFound, "") }))
	return rfc9457.Guard{Refuse: s.fail, BodyTime: bodyTime}.Before(mux)
}

// only answers a path's one method; HEAD goes with GET.
func (s *Server) only(method string, answer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == method || (r.Method == http.MethodHead && method == http.MethodGet) {
			answer.ServeHTTP(w, r)
			return
		}
		s.fail(w, r, rfc9457.NotAllowed(method))
	})
}

// handle turns an answer or an error into a response. No path has a query.
func (s *Server) handle(answer func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			s.fail(w, r, problem(codeMalformed, "there are no query parameters here"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxVote)
		v, err := answer(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		write(w, v)
	})
}

// signed lets in requests that an approver has signed, and nobody else. Who is
// refused is not told why.
func (s *Server) signed(answer func(*http.Request) (any, error)) http.Handler {
	return s.handle(func(r *http.Request) (any, error) {
		caller, err := s.authenticate(r)
		if err != nil {
			return nil, err
		}
		if err := s.allow(s.reads, caller); err != nil {
			return nil, err
		}
		return answer(r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

func (s *Server) list(r *http.Request) (any, error) {
	end, err := s.listTurn(r.Context(), callerOf(r.Context()))
	if err != nil {
		return nil, unavailable(err)
	}
	defer end()
	stored, err := s.cfg.Requests.Waiting(r.Context(), maxListed+1)
	if err != nil {
		return nil, unavailable(fmt.Errorf("reading waiting requests: %w", err))
	}
	out := api.List{Approvals: []api.Summary{}, More: len(stored) > maxListed}
	if out.More {
		stored = stored[:maxListed]
	}
	for _, one := range stored {
		v, err := s.examine(r.Context(), one)
		if err != nil {
			// What cannot be decided ends with a reason of the runtime's; it
			// must not hide the others from people.
			continue
		}
		if v.denied == nil && v.open() {
			out.Approvals = append(out.Approvals, v.summary())
		}
	}
	slices.SortFunc(out.Approvals, func(a, b api.Summary) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (s *Server) show(r *http.Request) (any, error) {
	v, err := s.load(r)
	if err == nil {
		err = v.denied
	}
	if err != nil {
		return nil, err
	}
	out := v.approval()
	out.You = callerOf(r.Context())
	return out, nil
}

// load reads the request that the path names.
func (s *Server) load(r *http.Request) (*view, error) {
	id := r.PathValue("id")
	if err := message.CheckRequestID(id); err != nil {
		return nil, problem(codeNotFound, "")
	}
	stored, err := s.cfg.Requests.Request(r.Context(), uuid.MustParse(id))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, problem(codeNotFound, "")
	case err != nil:
		return nil, unavailable(fmt.Errorf("reading request %s: %w", id, err))
	}
	return s.examine(r.Context(), stored)
}

// body reads a vote.
func (s *Server) body(r *http.Request) (string, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != api.VoteMediaType || len(params) > 0 || len(r.Header.Values("Content-Type")) != 1 {
		return "", problem(codeMediaType, "a vote is "+api.VoteMediaType)
	}
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return "", problem(codeMediaType, "the body must not be encoded")
	}
	raw, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", problem(codeTooLarge, fmt.Sprintf("a vote has at most %d bytes", maxVote))
	case err != nil:
		return "", &failure{Code: codeMalformed, Detail: "the body did not arrive", Cause: err}
	}
	return string(raw), nil
}
