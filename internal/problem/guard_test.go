package problem_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/problem"
)

var guarded = problem.Table{Kinds: map[problem.Code]problem.Kind{
	problem.Internal:         {Status: http.StatusInternalServerError, Title: "Ours"},
	problem.Malformed:        {Status: http.StatusBadRequest, Title: "Malformed"},
	problem.NotFound:         {Status: http.StatusNotFound, Title: "Nothing here"},
	problem.MethodNotAllowed: {Status: http.StatusMethodNotAllowed, Title: "Not so"},
}}

// guard serves one route, /a/b, behind a Guard, and returns what it is refused
// with.
func guard(t *testing.T, route http.HandlerFunc) (address string, refused *error) {
	t.Helper()
	refused = new(error)
	mux := http.NewServeMux()
	mux.HandleFunc("/a/b", route)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { guarded.Write(w, problem.New(problem.NotFound, "")) })
	server := httptest.NewUnstartedServer(problem.Guard{
		BodyTime: 50 * time.Millisecond,
		Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
			*refused = err
			guarded.Write(w, err)
		},
	}.Before(mux))
	server.Config.DisableGeneralOptionsHandler = true
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), refused
}

// call sends a call as it stands. A missing answer is a test's failure within
// seconds.
func call(t *testing.T, address, text string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func wantProblem(t *testing.T, response *http.Response, body []byte, code problem.Code) {
	t.Helper()
	var got problem.Problem
	if err := message.DecodeStrict(body, &got); err != nil || got.Code != string(code) || response.Header.Get("Content-Type") != problem.MediaType {
		t.Errorf("%s %q, want problem %s", response.Status, body, code)
	}
	wantHeaders(t, response)
}

func wantHeaders(t *testing.T, response *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=63072000",
	} {
		if got := response.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestAttackTargets plays other spellings of a path and other forms of a
// target: none is cleaned up, redirected, or answered by the library itself.
func TestAttackTargets(t *testing.T) {
	address, _ := guard(t, func(http.ResponseWriter, *http.Request) {})
	for target, code := range map[string]problem.Code{
		"GET /a/../a/b":         problem.NotFound,
		"GET /a//b":             problem.NotFound,
		"GET //a/b":             problem.NotFound,
		"GET /a/b/":             problem.NotFound,
		"GET /a/./b":            problem.NotFound,
		"GET /a/%62":            problem.NotFound,
		"GET /a%2fb":            problem.NotFound,
		"GET /a":                problem.NotFound,
		"GET http://a.test/a/b": problem.Malformed,
		"CONNECT a.test:443":    problem.Malformed,
		"CONNECT /x":            problem.NotFound,
		"CONNECT /a/../a/b":     problem.NotFound,
		"OPTIONS *":             problem.NotFound,
	} {
		t.Run(target, func(t *testing.T) {
			response, body := call(t, address, target+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			wantProblem(t, response, body, code)
		})
	}
	response, _ := call(t, address, "GET /a/b?x HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if response.StatusCode != http.StatusOK {
		t.Errorf("the plain path answers %s", response.Status)
	}
	wantHeaders(t, response)
}

// A panic is answered, and told the log by where it was, not by what it said.
func TestPanicIsAProblem(t *testing.T) {
	address, refused := guard(t, func(http.ResponseWriter, *http.Request) { panic("hunter2") })
	response, body := call(t, address, "GET /a/b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	wantProblem(t, response, body, problem.Internal)
	if text := (*refused).Error(); !strings.Contains(text, "guard_test.go") || strings.Contains(text, "hunter2") {
		t.Errorf("the log says %s", text)
	}
}

// TestAttackBodyThatNeverComes: who sends the head of a call and no body does
// not hold the connection.
func TestAttackBodyThatNeverComes(t *testing.T) {
	arrived := make(chan error, 1)
	address, _ := guard(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		arrived <- err
	})
	call(t, address, "POST /a/b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nConnection: close\r\n\r\n")
	var timeout net.Error
	if err := <-arrived; !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("reading the body: %v", err)
	}
}

func TestNotAllowedSaysWhatIs(t *testing.T) {
	for want, methods := range map[string][]string{
		"GET, HEAD": {"GET"}, "POST": {"POST"}, "POST, GET, HEAD": {"POST", "GET"},
	} {
		w := httptest.NewRecorder()
		guarded.Write(w, problem.NotAllowed(methods...))
		if got := w.Header().Get("Allow"); got != want || w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%v: Allow is %q, %d %s", methods, got, w.Code, w.Body)
		}
	}
}
