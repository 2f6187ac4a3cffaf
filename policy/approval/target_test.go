package approval_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/problem"
	"github.com/countersign/countersign/policy/approval"
	"github.com/countersign/countersign/policy/approval/api"
)

// raw sends a call's first line as it stands: clients would clean it up.
func (w *world) raw(line string) answer {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	conn, err := tls.Dial("tcp", w.host(), &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS13})
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, line+" HTTP/1.1\r\nHost: "+w.host()+"\r\nConnection: close\r\n\r\n"); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.answered(res)
	if err := message.DecodeStrict(a.body, &a.problem); err != nil || res.Header.Get("Content-Type") != problem.MediaType {
		w.t.Fatalf("%s is answered with %s, %q", line, res.Status, a.body)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=63072000",
	} {
		if got := res.Header.Values(name); len(got) != 1 || got[0] != want {
			w.t.Errorf("%s: %s is %q", line, name, got)
		}
	}
	return a
}

// TestAttackPaths plays other spellings of a path and other forms of a target:
// each is answered with a problem, none cleaned up or redirected.
func TestAttackPaths(t *testing.T) {
	w := newWorld(t, nil)
	id := w.transfer(twoEther).Meaning.Statement.ID
	for line, code := range map[string]string{
		"GET /v1/../v1/approvals":                   "not_found",
		"GET //v1/approvals":                        "not_found",
		"GET /v1/approvals/":                        "not_found",
		"GET /v1/approvals//" + id:                  "not_found",
		"GET /v1/%61pprovals":                       "not_found",
		"GET /v1/approvals/" + id + "%2fvotes":      "not_found",
		"POST /v1/approvals//votes":                 "not_found",
		"POST /v1/approvals/" + id + "/./votes":     "not_found",
		"CONNECT /v1/../v1/approvals":               "not_found",
		"CONNECT /":                                 "not_found",
		"CONNECT approvals.test:443":                "malformed_request",
		"GET https://" + w.host() + "/v1/approvals": "malformed_request",
		"GET /v1/approvals?":                        "malformed_request",
		"GET /v1/approvals":                         "unauthenticated",
	} {
		t.Run(line, func(t *testing.T) {
			w.t = t
			if a := w.raw(line); a.problem.Code != code {
				t.Errorf("got %d %s, want %s", a.status, a.body, code)
			}
		})
	}
}

func TestWrongMethods(t *testing.T) {
	w := newWorld(t, nil)
	id := w.transfer(twoEther).Meaning.Statement.ID
	for line, allow := range map[string]string{
		"DELETE " + api.Path:                     "GET, HEAD",
		"OPTIONS " + api.Path:                    "GET, HEAD",
		"CONNECT " + api.Path:                    "GET, HEAD",
		"POST " + api.Path + "/" + id:            "GET, HEAD",
		"PUT " + api.Path + "/" + id + "/votes":  "POST",
		"GET " + api.Path + "/" + id + "/votes":  "POST",
		"BREW " + api.Path + "/" + id + "/votes": "POST",
	} {
		a := w.raw(line)
		a.refused(405, "method_not_allowed")
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", line, got, allow)
		}
	}
}

// A fault of the service is answered as one, and what it said stays inside.
func TestPanicIsAProblem(t *testing.T) {
	w := newWorld(t, nil, func(cfg *approval.Config) { cfg.Policy = nobody{} })
	w.raw("GET "+api.Path).refused(500, "internal")
}

// nobody is a policy that panics when it is asked.
type nobody struct{ approval.Policy }
