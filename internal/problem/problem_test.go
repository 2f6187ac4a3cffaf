package problem_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/problem"
)

const (
	busy     problem.Code = "busy"
	stranger problem.Code = "stranger"
	absent   problem.Code = "absent"
)

var table = problem.Table{Challenge: `Bearer realm="test"`, Kinds: map[problem.Code]problem.Kind{
	busy:             {Status: http.StatusServiceUnavailable, Title: "Busy"},
	stranger:         {Status: http.StatusUnauthorized, Title: "Who are you"},
	absent:           {Status: http.StatusNotFound, Title: "Nothing here"},
	problem.Internal: {Status: http.StatusInternalServerError, Title: "Ours"},
}}

func TestWrite(t *testing.T) {
	cause := errors.New("password is hunter2")
	tests := map[string]struct {
		err    error
		status int
		code   problem.Code
		title  string
		detail string
		header map[string]string
	}{
		"detail":              {problem.New(absent, "no %s", "wallet"), 404, absent, "Nothing here", "no wallet", nil},
		"wrapped":             {fmt.Errorf("asking: %w", problem.New(absent, "")), 404, absent, "Nothing here", "", nil},
		"cause-stays-inside":  {&problem.Error{Code: busy, Cause: cause}, 503, busy, "Busy", "", map[string]string{"Retry-After": "1"}},
		"retry-is-rounded-up": {&problem.Error{Code: busy, After: 2001 * time.Millisecond}, 503, busy, "Busy", "", map[string]string{"Retry-After": "3"}},
		"challenge":           {problem.New(stranger, ""), 401, stranger, "Who are you", "", map[string]string{"WWW-Authenticate": `Bearer realm="test"`}},
		"no-problem":          {cause, 500, problem.Internal, "Ours", "", nil},
		"code-of-another-api": {problem.New("elsewhere", "hunter2"), 500, problem.Internal, "Ours", "", nil},
		"detail-is-no-text":   {problem.New(absent, "a\xffb"), 404, absent, "Nothing here", "a?b", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			table.Write(w, tt.err)
			var got problem.Problem
			if err := message.DecodeStrict(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := problem.Problem{
				Type: "urn:countersign:problem:" + string(tt.code), Title: tt.title, Status: tt.status,
				Code: string(tt.code), Detail: tt.detail,
			}
			if got != want || w.Code != tt.status {
				t.Errorf("status %d, %+v, want %+v", w.Code, got, want)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Error("the answer tells what is inside")
			}
			for name, value := range map[string]string{
				"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
				"Content-Length": fmt.Sprint(w.Body.Len()), "Retry-After": tt.header["Retry-After"],
				"WWW-Authenticate": tt.header["WWW-Authenticate"],
			} {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
		})
	}
}

// The log, unlike the answer, tells why.
func TestErrorTellsTheLog(t *testing.T) {
	cause := errors.New("connection refused")
	err := &problem.Error{Code: busy, Detail: "later", Cause: cause}
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "busy") {
		t.Errorf("the log says %q", err)
	}
}
