package proposer_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// event is one event of a stream; a comment has neither name nor data.
type event struct{ name, id, data string }

// readEvent reads up to the next empty line.
func readEvent(r *bufio.Reader) (e event, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "":
			return e, nil
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case ":":
		default:
			return e, io.ErrUnexpectedEOF
		}
	}
}

// events reads a whole stream without its comments.
func events(t testing.TB, r io.Reader) (out []event) {
	t.Helper()
	reader := bufio.NewReader(r)
	for {
		e, err := readEvent(reader)
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
		if e != (event{}) {
			out = append(out, e)
		}
	}
}

// stream is an open stream.
type stream struct {
	t        testing.TB
	response *http.Response
	reader   *bufio.Reader
}

func (w *world) stream(client *http.Client, id, token string, header ...string) *stream {
	w.t.Helper()
	response, err := client.Do(w.request(http.MethodGet, "/v1/requests/"+id+"/events", nil, token, header...))
	must(w.t, err)
	w.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("stream is answered with %d %s", response.StatusCode, response.Header.Get("Content-Type"))
	}
	return &stream{w.t, response, bufio.NewReader(response.Body)}
}

// next returns the next event, and passes over comments.
func (s *stream) next() (event, api.Request) {
	s.t.Helper()
	for {
		e, err := readEvent(s.reader)
		must(s.t, err)
		if e == (event{}) {
			continue
		}
		var r api.Request
		must(s.t, message.DecodeStrict([]byte(e.data), &r))
		if e.name != "request" || e.id == "" {
			s.t.Fatalf("event %q has id %q", e.name, e.id)
		}
		return e, r
	}
}

// end checks that nothing but comments follows, and that the stream ends.
func (s *stream) end() {
	s.t.Helper()
	rest, err := io.ReadAll(s.reader)
	if err != nil {
		s.t.Fatalf("stream broke off: %v", err)
	}
	if strings.Trim(string(rest), ":\n") != "" {
		s.t.Fatalf("after the end comes %q", rest)
	}
}

// TestEventsShowARequestsLife follows a request role by role, over both
// versions of HTTP, and holds each event against GET.
func TestEventsShowARequestsLife(t *testing.T) {
	for name, h2 := range map[string]bool{"http/1.1": false, "http/2": true} {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, nil)
			token := w.token(deploymenttest.User, nil)
			id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
			s := w.stream(w.client(h2), id, token)
			same := func(e event) {
				t.Helper()
				if shown := w.get("/v1/requests/"+id, token).body; string(shown) != e.data {
					t.Fatalf("event %s\nGET   %s", e.data, shown)
				}
			}
			e, r := s.next()
			same(e)
			if r.Status != message.StatusPending || len(r.Decisions) != 0 {
				t.Fatalf("first event: %+v", r)
			}
			m.change(t, id, func(v *queue.View) {
				v.Replies = []queue.Reply{w.reply(id, message.RoleFraud, message.RoleFraud, message.Approve)}
			})
			e, r = s.next()
			same(e)
			if len(r.Decisions) != 1 {
				t.Fatalf("second event: %+v", r)
			}
			m.change(t, id, func(v *queue.View) {
				v.Tasks = []queue.TaskView{{Consumer: message.RoleApproval, State: "parked", Note: "0 of 1"}}
			})
			if _, r = s.next(); r.Status != message.StatusWaiting {
				t.Fatalf("third event: %+v", r)
			}
			w.end(m, id, nil)
			e, r = s.next()
			same(e)
			if !r.Ended() {
				t.Fatalf("last event: %+v", r)
			}
			s.end()
			// Who has seen the last event is told not to come back.
			a := w.get("/v1/requests/"+id+"/events", token, "Last-Event-ID", e.id)
			if a.status != http.StatusNoContent || len(a.body) != 0 {
				t.Fatalf("after the end: %d %q", a.status, a.body)
			}
			if again := events(t, strings.NewReader(string(w.get("/v1/requests/"+id+"/events", token).body))); len(again) != 1 || again[0] != e {
				t.Fatalf("a new stream of an ended request: %+v", again)
			}
		})
	}
}

// TestEventsResume checks that an event that was seen is not sent again, and
// that one that was missed is.
func TestEventsResume(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.Heartbeat = 20 * time.Millisecond })
	token := w.token(deploymenttest.User, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	s := w.stream(w.client(false), id, token)
	first, _ := s.next()
	s.response.Body.Close()
	s = w.stream(w.client(false), id, token, "Last-Event-ID", first.id)
	for range 3 {
		if e, err := readEvent(s.reader); err != nil || e != (event{}) {
			t.Fatalf("repeated: %+v %v", e, err)
		}
	}
	w.end(m, id, nil)
	if _, r := s.next(); !r.Ended() {
		t.Fatalf("got %+v", r)
	}
	s.end()
}

// TestEventsEndWhenTheServerStops checks that an orderly end lets nobody hang.
func TestEventsEndWhenTheServerStops(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	s := w.stream(w.client(false), id, w.token(deploymenttest.User, nil))
	s.next()
	w.stop()
	s.end()
	must(t, <-w.stopped)
}

// TestAttackEventsAfterEntryEnds checks that a stream outlives neither its token
// or certificate nor its user's place in the policy, not even for the event that is due.
func TestAttackEventsAfterEntryEnds(t *testing.T) {
	for name, shut := range map[string]func(*world){
		"fail/token-expired":       func(w *world) { w.clock.Advance(6 * time.Minute) },
		"fail/certificate-expired": func(w *world) { w.clock.Advance(61 * time.Minute) },
		"fail/user-removed": func(w *world) {
			w.policy.Set(w.d.Active(func(doc *document.Document) { doc.Version = 2; doc.Users[0].Subject = "another" }))
		},
		"fail/no-policy": func(w *world) { w.policy.Set(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, beat := range []time.Duration{20 * time.Millisecond, time.Minute} {
				b, m := memoryBackend(t)
				w := start(t, b, func(c *proposer.Config) { c.Limits.Heartbeat = beat })
				id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
				s := w.stream(w.client(false), id, w.token(deploymenttest.User, nil))
				if name == "fail/certificate-expired" {
					s = w.stream(w.client(false, w.alice), id, "")
				}
				s.next()
				shut(w)
				if beat == time.Minute { // an event ends it, else a heartbeat
					m.change(t, id, func(v *queue.View) {
						v.Replies = []queue.Reply{w.reply(id, message.RoleFraud, message.RoleFraud, message.Approve)}
					})
				}
				s.end()
			}
		})
	}
}

// TestAttackAnothersEvents checks that another user's stream is as absent as
// one of a request that was never made.
func TestAttackAnothersEvents(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	wantProblem(t, w.get("/v1/requests/"+id+"/events", ""), proposer.CodeUnauthenticated)
	theirs := w.get("/v1/requests/"+id+"/events", w.token(mallory, nil))
	nobodys := w.get("/v1/requests/"+newID(t)+"/events", w.token(mallory, nil))
	wantProblem(t, theirs, proposer.CodeNotFound)
	if string(theirs.body) != string(nobodys.body) {
		t.Fatalf("they can be told apart: %s %s", theirs.body, nobodys.body)
	}
	wantProblem(t, w.get("/v1/requests/x/events", w.token(mallory, nil)), proposer.CodeNotFound)
}

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	return id.String()
}

// TestAttackTooManyStreams checks that one user cannot take every stream, nor
// all users more than the server has, and that places are given back.
func TestAttackTooManyStreams(t *testing.T) {
	b, _ := memoryBackend(t)
	w := start(t, b, func(c *proposer.Config) { c.Limits.UserStreams, c.Limits.Streams = 2, 3 })
	alice, other := w.token(deploymenttest.User, nil), w.token(mallory, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	theirs := wantRequest(t, w.do(w.client(false), w.signed(w.statement(), w.d.UserKey, other)), http.StatusAccepted).ID
	client := w.client(false)
	first := w.stream(client, id, alice)
	w.stream(client, id, alice)
	wantProblem(t, w.get("/v1/requests/"+id+"/events", alice), proposer.CodeTooManyStreams)
	w.stream(client, theirs, other)
	a := w.get("/v1/requests/"+theirs+"/events", other)
	wantProblem(t, a, proposer.CodeTooManyStreams)
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Fatalf("Retry-After %q", a.header.Get("Retry-After"))
	}
	first.response.Body.Close()
	w.eventuallyStreams(id, alice)
}

// eventuallyStreams waits until a place is free.
func (w *world) eventuallyStreams(id, token string) {
	w.t.Helper()
	client := w.client(false)
	w.waitFor(func() bool {
		time.Sleep(20 * time.Millisecond) // to ask costs the server more than to look at a variable
		response, err := client.Do(w.request(http.MethodGet, "/v1/requests/"+id+"/events", nil, token))
		must(w.t, err)
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// TestAttackEventStreamNeverRead opens a stream and reads nothing, while the
// request changes all the time: the server must not wait for the reader for
// ever. With one place per user, a second stream shows that the first is over.
func TestAttackEventStreamNeverRead(t *testing.T) {
	for name, h2 := range map[string]bool{"http/1.1": false, "http/2": true} {
		t.Run(name, func(t *testing.T) {
			b, m := memoryBackend(t)
			w := start(t, b, func(c *proposer.Config) {
				c.Limits.UserStreams, c.Limits.EventTime = 1, 300*time.Millisecond
			})
			token := w.token(deploymenttest.User, nil)
			id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
			w.stream(w.forgetful(h2), id, token) // and never reads
			ctx, cancel := context.WithCancel(t.Context())
			var changing sync.WaitGroup
			changing.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					m.change(t, id, func(v *queue.View) { v.Replies = w.largeReplies(id, n) })
					time.Sleep(20 * time.Millisecond)
				}
			})
			w.eventuallyStreams(id, token)
			cancel()
			changing.Wait()
		})
	}
}

// forgetful is a client that does not give up by itself: what ends its stream is
// the server. Between the two little is kept of what is not read, where else
// megabytes would be, which take long to make.
func (w *world) forgetful(h2 bool) *http.Client {
	const little = 64 << 10
	raw, err := w.listener.SyscallConn()
	must(w.t, err)
	must(w.t, raw.Control(func(fd uintptr) { // the connections have it from the listener
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, little)
	}))
	must(w.t, err)
	client := w.client(h2)
	client.Timeout = 0
	client.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: little}
	return client
}

// largeReplies are decisions of all roles with a lot to say.
func (w *world) largeReplies(id string, n int) (out []queue.Reply) {
	for _, role := range w.d.Genesis.Roles {
		r := w.reply(id, role, role, message.Reject)
		var a message.Approval
		must(w.t, message.Peek(r.Body, &a))
		a.Reasons = []message.Reason{{Code: "c", Detail: strings.Repeat("x", 160<<10) + strconv.Itoa(n)}}
		jws, err := message.SignEd25519(message.TypApproval, "kid", deploymenttest.Key(w.t), a)
		must(w.t, err)
		out = append(out, queue.Reply{Sender: role, Body: jws})
	}
	return out
}

// counting counts the looks at requests.
type counting struct {
	proposer.Queue
	looks, awaits atomic.Int64
}

func (c *counting) Get(ctx context.Context, id uuid.UUID) (queue.View, error) {
	c.looks.Add(1)
	return c.Queue.Get(ctx, id)
}

func (c *counting) Await(ctx context.Context, id uuid.UUID) (queue.Result, error) {
	c.awaits.Add(1)
	return c.Queue.Await(ctx, id)
}

// inASecond counts looks for a second, or for longer where the machine is busy.
func (c *counting) inASecond() float64 {
	before, began := c.looks.Load(), time.Now()
	time.Sleep(time.Second)
	return float64(c.looks.Load()-before) / time.Since(began).Seconds()
}

// TestStreamsShareLooks checks that a hundred streams of one request cost the
// database no more than one, that many requests together do not cost more
// than the pace, and that no looks go on when nobody is left.
func TestStreamsShareLooks(t *testing.T) {
	const streams = 100
	b, m := memoryBackend(t)
	c := &counting{Queue: b.queue}
	b.queue = c
	w := start(t, b, func(c *proposer.Config) { c.Limits.UserStreams = 3 * streams })
	token, client := w.token(deploymenttest.User, nil), w.client(true)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	shared := make([]*stream, streams)
	for i := range shared {
		shared[i] = w.stream(client, id, token)
		shared[i].next()
	}
	if looks := c.inASecond(); looks > 10 || c.awaits.Load() != 1 {
		t.Fatalf("%.1f looks in a second, %d waits, for one request", looks, c.awaits.Load())
	}
	w.end(m, id, nil)
	for _, s := range shared {
		if _, r := s.next(); !r.Ended() {
			t.Fatalf("got %+v", r)
		}
		s.end()
	}
	for range streams { // now each of another request
		other := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
		s := w.stream(client, other, token)
		s.next()
		shared = append(shared, s)
	}
	if looks := c.inASecond(); looks > 60 {
		t.Fatalf("%.1f looks in a second for %d requests", looks, streams)
	}
	for _, s := range shared {
		s.response.Body.Close()
	}
	w.waitFor(func() bool { return proposer.Followed(w.server) == 0 })
	before := c.looks.Load()
	time.Sleep(300 * time.Millisecond)
	if looks := c.looks.Load() - before; looks > 1 {
		t.Fatalf("%d looks after the last reader left", looks)
	}
}

// TestEventsOutliveAnOutage checks that a stream goes on when the database is
// back.
func TestEventsOutliveAnOutage(t *testing.T) {
	b, m := memoryBackend(t)
	w := start(t, b, nil)
	token := w.token(deploymenttest.User, nil)
	id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
	s := w.stream(w.client(false), id, token)
	s.next()
	m.breakDown(io.ErrUnexpectedEOF)
	wantProblem(t, w.get("/v1/requests/"+id+"/events", token), proposer.CodeUnavailable)
	w.end(m, id, nil)
	time.Sleep(50 * time.Millisecond)
	m.breakDown(nil)
	if _, r := s.next(); !r.Ended() {
		t.Fatalf("got %+v", r)
	}
	s.end()
}

// TestQueueStreams checks that a stream shows a result as soon as it is
// committed, whatever queue lies behind.
func TestQueueStreams(t *testing.T) {
	onEach(t, func(t *testing.T, w *world, end ending) {
		token, client := w.token(deploymenttest.User, nil), w.client(true)
		var streams []*stream
		var ids []string
		for range 20 {
			id := wantRequest(t, w.propose(w.statement()), http.StatusAccepted).ID
			s := w.stream(client, id, token)
			if _, r := s.next(); r.Status != message.StatusPending || r.ID != id {
				t.Fatalf("first event: %+v", r)
			}
			ids, streams = append(ids, id), append(streams, s)
		}
		time.Sleep(2 * lookAround) // now nobody looks often any more
		began := time.Now()
		for i, s := range streams {
			end(t, w.result(w.submissionOf(ids[i]), nil))
			if _, r := s.next(); r.Status != message.StatusDone || string(r.Result.Output) != `{"wallet":"x"}` {
				t.Fatalf("last event: %+v", r)
			}
			s.end()
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("%d results were shown after %s", len(streams), took)
		}
	})
}

// lookAround is long enough for the looks to become rare.
const lookAround = 500 * time.Millisecond
