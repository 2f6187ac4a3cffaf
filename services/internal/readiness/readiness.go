// Package readiness answers GET /readyz: whether a service could do its work
// now, and if not, everything that is missing, each by a stable code.
//
// It trusts the service that it asks. What is wrong in detail goes to the log,
// never into the answer.
package readiness

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Code names one thing that a service lacks. Codes are stable and documented
// in docs/operations.md.
type Code string

// The codes.
const (
	PolicyInactive     Code = "policy_inactive"
	PolicyOld          Code = "policy_old"
	IdentityNotNamed   Code = "identity_not_named"
	KeysNotExchanged   Code = "keys_not_exchanged"
	RecordsBroken      Code = "records_broken"
	RecordsEmpty       Code = "records_empty"
	RecordsUnread      Code = "records_unread"
	DatabaseUnwritable Code = "database_unwritable"
	IssuersUnread      Code = "issuers_unread"
	CheckOverdue       Code = "check_overdue"
	NotReady           Code = "not_ready"
)

// Detail says in a sentence what a code means.
func (c Code) Detail() string {
	switch c {
	case PolicyInactive:
		return "no policy document is active"
	case PolicyOld:
		return "the active policy document is older than one that this role has decided under"
	case IdentityNotNamed:
		return "the active policy document does not name this service's identity key"
	case KeysNotExchanged:
		return "the signing service and the policy services have not exchanged keys"
	case RecordsBroken:
		return "the role's record chain is broken: everything is rejected"
	case RecordsEmpty:
		return "the role's record chain is empty: init was not run, or its records were taken away"
	case RecordsUnread:
		return "the role's record chain cannot be read"
	case DatabaseUnwritable:
		return "the service cannot write to the database"
	case IssuersUnread:
		return "no key of any token issuer is known, and nobody comes in by client certificate"
	case CheckOverdue:
		return "the service has not found out in time"
	}
	return "the log says why"
}

// Cause gives an error its code.
type Cause struct {
	Err  error
	Code Code
}

// Check finds out about one part of a service. Ready returns nil, or an error
// that is, or joins, errors of Causes; any other error is Otherwise.
type Check struct {
	Ready     func(ctx context.Context) error
	Causes    []Cause
	Otherwise Code
}

// codes returns the codes of an error.
func (c Check) codes(err error) []Code {
	if err == nil {
		return nil
	}
	var out []Code
	for _, cause := range c.Causes {
		if errors.Is(err, cause.Err) {
			out = append(out, cause.Code)
		}
	}
	if len(out) == 0 {
		return []Code{c.Otherwise}
	}
	return out
}

// answerTimeout is how long whoever asks waits: probes give up soon after.
const answerTimeout = 2 * time.Second

// Checker answers from all checks of one service. It is safe for concurrent
// use; however many ask, the checks run once at a time.
type Checker struct {
	checks []Check
	log    *slog.Logger
	last   *recent[[]Code]

	mu     sync.Mutex
	logged []Code
	first  bool // something was logged
}

// New returns a checker.
func New(log *slog.Logger, checks ...Check) *Checker {
	c := &Checker{checks: checks, log: log}
	c.last = &recent[[]Code]{ask: c.ask}
	return c
}

// Missing returns the codes of everything that is missing; none: ready.
func (c *Checker) Missing(ctx context.Context) []Code {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	missing, err := c.last.get(ctx)
	if err != nil {
		return []Code{CheckOverdue}
	}
	return missing
}

// ask runs the checks, for everybody who waits for the answer.
func (c *Checker) ask(ctx context.Context) []Code {
	var missing []Code
	var faults []error
	for _, check := range c.checks {
		err := check.Ready(ctx)
		faults = append(faults, err)
		for _, code := range check.codes(err) {
			if !slices.Contains(missing, code) {
				missing = append(missing, code)
			}
		}
	}
	c.tell(missing, errors.Join(faults...))
	return missing
}

// tell logs what has changed since the last time.
func (c *Checker) tell(missing []Code, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first && slices.Equal(missing, c.logged) {
		return
	}
	c.first, c.logged = true, missing
	if len(missing) == 0 {
		c.log.Info("service is ready")
		return
	}
	c.log.Info("service is not ready", "missing", missing, "error", err)
}

// line is one line of an answer that says what is missing.
type line struct {
	Code   Code   `json:"code"`
	Detail string `json:"detail"`
}

// ServeHTTP answers 200 and {"status":"ready"}, or 503 and a line of JSON for
// each thing that is missing.
func (c *Checker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	missing := c.Missing(r.Context())
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	if len(missing) == 0 {
		w.Header().Set("Content-Type", "application/json")
		_ = e.Encode(map[string]string{"status": "ready"})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, code := range missing {
		_ = e.Encode(line{Code: code, Detail: code.Detail()})
	}
}
