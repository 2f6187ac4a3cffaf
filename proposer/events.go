package proposer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/queue"
)

// tagSize is how many bytes of the hash name an event: enough that no two
// states of one request share a name.
const tagSize = 16

// events is GET /v1/requests/{id}/events: the request as it stands and whenever
// it has changed, as server-sent events (HTML Living Standard section 9.2).
func (s *Server) events(w http.ResponseWriter, r *http.Request, user string) error {
	id, err := requestID(r.PathValue("id"))
	if err != nil {
		return err
	}
	leave, ok := s.streams.Take(user)
	if !ok {
		return problem(CodeTooManyStreams, "close another stream, or ask with Prefer: wait")
	}
	defer leave()
	number := s.follower.number()
	view, err := s.owned(r.Context(), id, user)
	if err != nil {
		return err
	}
	found, err := s.standing(r.Context(), view)
	if err != nil {
		return err
	}
	seen := r.Header.Get("Last-Event-ID")
	if found.ended && seen == found.tag {
		// Nothing will ever follow; 204 tells an EventSource not to come back.
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	stream := eventStream{w: w, control: http.NewResponseController(w), limit: s.limits.EventTime}
	if err := stream.begin(); err != nil || r.Method == http.MethodHead {
		return nil //nolint:nilerr // the reader is gone; there is nobody left to tell
	}
	x, unfollow := s.follower.follow(id, number, found)
	defer unfollow()
	s.stream(r, user, x, stream, seen)
	return nil
}

// stream sends what the reader has not seen until the request has ended, the
// reader is gone or no longer let in, or the server stops.
func (s *Server) stream(r *http.Request, user string, x *followed, out eventStream, seen string) {
	beat := time.NewTicker(s.limits.Heartbeat)
	defer beat.Stop()
	for {
		now, changed := x.now()
		if now.tag != seen {
			if !s.stillIn(r, user) || out.send(now) != nil {
				return
			}
			seen = now.tag
		}
		if now.ended {
			return
		}
		select {
		case <-changed:
		case <-beat.C:
			if !s.stillIn(r, user) || out.beat() != nil {
				return
			}
		case <-s.stopping.Done():
			return
		case <-r.Context().Done():
			return
		}
	}
}

// stillIn says whether the caller would be let in again now: a stream outlives
// neither its token or certificate nor its user's place in the policy.
func (s *Server) stillIn(r *http.Request, user string) bool {
	now, err := s.door.user(r)
	return err == nil && now == user
}

// standing is the same JSON as of GET /v1/requests/{id}, with its tag.
func (s *Server) standing(ctx context.Context, view queue.View) (standing, error) {
	out := s.request(ctx, view)
	body, err := message.Encode(out)
	if err != nil {
		return standing{}, err
	}
	sum := sha256.Sum256(body)
	return standing{body: body, tag: base64.RawURLEncoding.EncodeToString(sum[:tagSize]), ended: out.Ended()}, nil
}

// look is the follower's look at a request. Whose it is was checked when the
// stream began, and never changes.
func (s *Server) look(ctx context.Context, id uuid.UUID) (standing, error) {
	view, err := s.queue.Get(context.WithoutCancel(ctx), id)
	if err != nil {
		return standing{}, err
	}
	return s.standing(ctx, view)
}

// eventStream writes events to one reader.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
}

// begin sends the header, and a comment, so that the reader knows at once that
// it is being served.
func (e eventStream) begin() error {
	e.w.Header().Set("Content-Type", api.EventMediaType)
	e.w.WriteHeader(http.StatusOK)
	return e.beat()
}

// send writes one event.
func (e eventStream) send(now standing) error {
	var b bytes.Buffer
	b.Grow(len(now.body) + 128)
	b.WriteString("event: " + api.EventRequest + "\nid: " + now.tag + "\ndata: ")
	b.Write(now.body) // JSON in one line
	b.WriteString("\n\n")
	return e.write(b.Bytes())
}

// beat writes a comment, which readers pass over.
func (e eventStream) beat() error { return e.write([]byte(":\n\n")) }

// write gives the reader a limited time to take what it is sent. In between no
// deadline stands: HTTP/2 ends a stream whose deadline passes, writing or not.
func (e eventStream) write(b []byte) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(e.limit)); err != nil {
		return err
	}
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	if err := e.control.Flush(); err != nil {
		return err
	}
	return e.control.SetWriteDeadline(time.Time{})
}
