package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/client"
	"github.com/countersign/countersign/proposer/api"
)

// streaming answers each call with the next of texts, the last one again and
// again, and notes Last-Event-ID.
func streaming(t *testing.T, seen *[]string, texts ...string) *client.Client {
	t.Helper()
	n := 0
	return connect(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, texts[min(n, len(texts)-1)])
		n++
	}))
}

func eventText(tag, id, rest string) string {
	return fmt.Sprintf("event: request\nid: %s\ndata: {\"id\":\"%s\"%s}\n\n", tag, id, rest)
}

const end = `,"status":"done","result":{"status":"done"}`

// TestWatchGoesOn checks that a watch goes on after a stream that broke off,
// tells the service what it has seen, and passes over what it does not know.
func TestWatchGoesOn(t *testing.T) {
	id := newID(t)
	var seen []string
	c := streaming(t, &seen,
		":\n\n"+eventText("one", id, `,"status":"pending"`)+"event: request\nid: half\ndata: {",
		"retry: 5\r\nevent: news\r\ndata: x\r\n\r\nevent: request\r\nid:two\r\ndata: {\"id\":\""+id+"\",\r\ndata: \"status\":\"waiting\"}\r\n\r\n",
		eventText("three", id, end))
	var states []string
	r, err := c.Watch(context.Background(), id, func(r api.Request) error {
		states = append(states, string(r.Status))
		return nil
	})
	must(t, err)
	if !r.Ended() || strings.Join(states, " ") != "pending waiting done" || strings.Join(seen, ",") != ",one,two" {
		t.Fatalf("got %+v after %v, seen %q", r, states, seen)
	}
}

// TestWatchRefuses plays streams that no other connection could mend.
func TestWatchRefuses(t *testing.T) {
	id := newID(t)
	for name, text := range map[string]string{
		"fail/another-request":  eventText("one", newID(t), end),
		"fail/not-json":         "event: request\ndata: hello\n\n",
		"fail/duplicate-member": eventText("one", id, `,"status":"pending","status":"done"`),
		"fail/endless-line":     "data: " + strings.Repeat("x", 5<<20),
		"fail/endless-lines":    strings.Repeat("data: "+strings.Repeat("x", 1<<10)+"\n", 5<<10),
	} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			_, err := streaming(t, &seen, text).Watch(context.Background(), id, func(api.Request) error { return nil })
			if err == nil || len(seen) != 1 {
				t.Fatalf("got %v after %d calls", err, len(seen))
			}
		})
	}
	for name, answer := range map[string]http.HandlerFunc{
		"fail/no-stream":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") },
		"fail/no-content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"fail/html-error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>no</h1>", http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := connect(t, server(t, answer)).Watch(context.Background(), id, func(api.Request) error { return nil }); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	if _, err := connect(t, server(t, http.NotFound)).Watch(context.Background(), "../wallets", nil); err == nil {
		t.Fatal("accepted a path as an id")
	}
}

// TestWatchEndsByItsCaller checks that an error of the callback, and the end of
// the context, end a watch at once.
func TestWatchEndsByItsCaller(t *testing.T) {
	id, stop := newID(t), errors.New("enough")
	var seen []string
	c := streaming(t, &seen, eventText("one", id, end))
	if _, err := c.Watch(context.Background(), id, func(api.Request) error { return stop }); !errors.Is(err, stop) || len(seen) != 1 {
		t.Fatalf("got %v after %d calls", err, len(seen))
	}
	ctx, cancel := context.WithCancel(context.Background())
	c = connect(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventText("one", id, ""))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	if _, err := c.Watch(ctx, id, func(api.Request) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestAttackSilentStream checks that a watch does not hang on a service that
// has fallen silent, as behind a connection that is dead.
func TestAttackSilentStream(t *testing.T) {
	id := newID(t)
	var calls atomic.Int32
	c := connect(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if calls.Add(1) > 1 {
			_, _ = io.WriteString(w, eventText("one", id, end))
			return
		}
		_, _ = io.WriteString(w, ":\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	client.SetSilence(c, 200*time.Millisecond)
	r, err := c.Watch(context.Background(), id, func(api.Request) error { return nil })
	must(t, err)
	if !r.Ended() || calls.Load() != 2 {
		t.Fatalf("got %+v after %d calls", r, calls.Load())
	}
}

// TestComesBackLater checks that a watch and a submission that are told to come
// back later do so, and not earlier.
func TestComesBackLater(t *testing.T) {
	id := newID(t)
	var calls atomic.Int32
	var first, second time.Time
	c := connect(t, server(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			first = time.Now()
			w.Header().Set("Retry-After", "2")
			w.Header().Set("Content-Type", api.ProblemMediaType)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"code":"rate_limited"}`)
			return
		}
		second = time.Now()
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventText("one", id, end))
	}))
	_, err := c.Watch(context.Background(), id, func(api.Request) error { return nil })
	must(t, err)
	if waited := second.Sub(first); waited < 2*time.Second {
		t.Fatalf("came back after %s", waited)
	}
}

// FuzzEvents checks that whatever a stream says, only the request that was asked
// about is shown, and nothing after its end.
func FuzzEvents(f *testing.F) {
	const id = "019a0000-0000-7000-8000-000000000000"
	f.Add([]byte(":\n\n" + eventText("one", id, `,"status":"pending"`) + eventText("two", id, end)))
	f.Add([]byte("event: request\r\nid:\r\ndata:{\r\ndata: \"id\":\"" + id + "\"}\r\n\r\n"))
	f.Add([]byte("data\ndata: x\n\nevent: request\n\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		shown, err := client.ReadEvents(id, stream)
		for i, r := range shown {
			if r.ID != id || (r.Ended() && i < len(shown)-1) {
				t.Fatalf("shown: %+v", shown)
			}
		}
		if ended := len(shown) > 0 && shown[len(shown)-1].Ended(); ended != (err == nil) {
			t.Fatalf("ended %v, error %v", ended, err)
		}
	})
}
