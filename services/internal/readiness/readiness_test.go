package readiness_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/services/internal/readiness"
)

var (
	errPolicy = errors.New("no policy")
	errKeys   = errors.New("no keys")
)

// checking returns a check that finds what is said.
func checking(err error) readiness.Check {
	return readiness.Check{
		Ready: func(context.Context) error { return err }, Otherwise: readiness.NotReady,
		Causes: []readiness.Cause{{Err: errPolicy, Code: readiness.PolicyInactive}, {Err: errKeys, Code: readiness.KeysNotExchanged}},
	}
}

var quiet = slog.New(slog.DiscardHandler)

// ask returns the status and the codes of an answer.
func ask(t *testing.T, c *readiness.Checker) (int, []readiness.Code, string) {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	body := w.Body.String()
	var codes []readiness.Code
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		var line struct {
			Code   readiness.Code `json:"code"`
			Detail string         `json:"detail"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q is no line of JSON: %v", lines.Text(), err)
		}
		if line.Code != "" {
			codes = append(codes, line.Code)
			if line.Detail != line.Code.Detail() || line.Detail == "" {
				t.Errorf("%s is explained by %q", line.Code, line.Detail)
			}
		}
	}
	return w.Code, codes, body
}

func TestAnswer(t *testing.T) {
	secret := errors.New("database password is hunter2")
	writable := func(err error) readiness.Check {
		return readiness.Check{Ready: func(context.Context) error { return err }, Otherwise: readiness.DatabaseUnwritable}
	}
	for name, tt := range map[string]struct {
		checks []readiness.Check
		status int
		want   []readiness.Code
	}{
		"ready": {
			checks: []readiness.Check{checking(nil), writable(nil)}, status: http.StatusOK,
		},
		"fail/one-thing": {
			checks: []readiness.Check{checking(fmt.Errorf("asking: %w", errKeys)), writable(nil)},
			status: http.StatusServiceUnavailable, want: []readiness.Code{readiness.KeysNotExchanged},
		},
		"fail/everything": {
			checks: []readiness.Check{checking(errors.Join(errKeys, errPolicy)), writable(secret)},
			status: http.StatusServiceUnavailable,
			want:   []readiness.Code{readiness.PolicyInactive, readiness.KeysNotExchanged, readiness.DatabaseUnwritable},
		},
		"fail/unknown-error-tells-nothing": {
			checks: []readiness.Check{checking(secret), writable(nil)},
			status: http.StatusServiceUnavailable, want: []readiness.Code{readiness.NotReady},
		},
		"fail/one-code-of-two-checks": {
			checks: []readiness.Check{writable(secret), writable(secret)},
			status: http.StatusServiceUnavailable, want: []readiness.Code{readiness.DatabaseUnwritable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, codes, body := ask(t, readiness.New(quiet, tt.checks...))
			if status != tt.status || !slices.Equal(codes, tt.want) {
				t.Errorf("answers %d %v, want %d %v", status, codes, tt.status, tt.want)
			}
			if strings.Contains(body, "hunter2") {
				t.Errorf("the answer tells what is inside: %q", body)
			}
		})
	}
}

// However many ask, a check runs once at a time, and one that hangs holds up
// nobody for longer than probes wait.
func TestCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		end := make(chan struct{})
		c := readiness.New(quiet, readiness.Check{Otherwise: readiness.NotReady, Ready: func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-end
			return nil
		}})
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				began := time.Now()
				missing := c.Missing(t.Context())
				if !slices.Equal(missing, []readiness.Code{readiness.CheckOverdue}) || time.Since(began) > 2*time.Second {
					t.Errorf("after %v: %v", time.Since(began), missing)
				}
			})
		}
		asking.Wait()
		if most.Load() != 1 {
			t.Errorf("the check ran %d times at once", most.Load())
		}
		close(end)
		synctest.Wait()
		if missing := c.Missing(t.Context()); missing != nil {
			t.Errorf("afterwards: %v", missing)
		}
	})
}

// What changes is logged once, with its cause.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	var state error
	c := readiness.New(slog.New(slog.NewTextHandler(&log, nil)), readiness.Check{
		Ready: func(context.Context) error { return state }, Otherwise: readiness.NotReady,
	})
	for _, err := range []error{errKeys, errKeys, nil, nil, errKeys} {
		state = err
		c.Missing(t.Context())
	}
	text := log.String()
	if n := strings.Count(text, "service is not ready"); n != 2 || strings.Count(text, "service is ready") != 1 || !strings.Contains(text, "no keys") {
		t.Errorf("the log says:\n%s", text)
	}
}
