package proposer_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
)

// FuzzPropose sends any body with any signature headers: the answer is a
// request or a problem of the caller's making, and what reaches the queue is
// byte for byte what was sent.
func FuzzPropose(f *testing.F) {
	b, m := memoryBackend(f)
	w := start(f, b, nil)
	handler := w.server.Handler()
	token := w.token(deploymenttest.User, nil)
	good := w.signed(w.statement(), w.d.UserKey, token)
	f.Add(w.statement(), good.Header.Get("Content-Digest"), good.Header.Get("Signature-Input"), good.Header.Get("Signature"), "wait=0", "proposer.test")
	f.Add([]byte(`{"id":1e400}`), "sha-256=::", `sig=("@path");created=1`, "sig=:AA==:", "wait=\"0\", x", "[::1]:443")
	f.Fuzz(func(t *testing.T, body []byte, digest, input, signature, prefer, host string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/requests", bytes.NewReader(body))
		r.Host = host
		for name, value := range map[string]string{
			"Authorization": "Bearer " + token, "Content-Type": "application/json", "Content-Digest": digest,
			"Signature-Input": input, "Signature": signature,
		} {
			r.Header.Set(name, value)
		}
		if len(prefer) < 7 { // no long waits
			r.Header.Set("Prefer", prefer)
		}
		checkFuzzed(t, handler, r)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, v := range m.views {
			var e message.Envelope
			must(t, message.Decode(v.Body, &e))
			if v.Fingerprint != message.Sum(e.Statement) {
				t.Fatal("the envelope is not what was sent")
			}
		}
		clear(m.views)
	})
}

// FuzzEntry sends any target, method and Authorization.
func FuzzEntry(f *testing.F) {
	b, _ := memoryBackend(f)
	w := start(f, b, nil)
	handler := w.server.Handler()
	f.Add("GET", "/v1/requests?limit=1", "Bearer "+w.token(deploymenttest.User, nil))
	f.Add("HEAD", "/v1/requests/x", "Bearer a.b.c")
	f.Add("GET", "/v1/wallets?cursor=AAAA", "bearer e30.e30.")
	f.Fuzz(func(t *testing.T, method, target, authorization string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" {
			return
		}
		r := &http.Request{Method: method, URL: u, RequestURI: target, Host: "proposer.test", Header: http.Header{}, Body: http.NoBody}
		r.Header.Set("Authorization", authorization)
		checkFuzzed(t, handler, r)
	})
}

func checkFuzzed(t *testing.T, handler http.Handler, r *http.Request) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	if recorder.Code < 400 {
		return
	}
	var p api.Problem
	must(t, message.DecodeStrict(recorder.Body.Bytes(), &p))
	if p.Status != recorder.Code || recorder.Code >= 500 {
		t.Fatalf("%d %+v", recorder.Code, p)
	}
}
