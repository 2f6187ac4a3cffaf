package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/countersign/countersign/proposer/api"
)

const (
	// silence is how long a stream may say nothing: the service sends a comment
	// every 15 s.
	silence = 45 * time.Second
	// maxEvent is the most bytes of one event.
	maxEvent = 4 << 20
	// reconnects is how often in a row a stream may end before it has said
	// anything. The pause between doubles: together about half a minute, in
	// which a service starts again.
	reconnects = 5
)

var (
	errSilent = errors.New("the service has fallen silent")
	errCut    = errors.New("the stream ended before the request did")
	errStream = errors.New("the answer is no stream of events")
)

// Watch calls each with the request now and whenever it has changed, until it
// has ended, and returns it then. It reads the service's stream of events, and
// goes on after a broken connection where that broke off. An error of each ends
// the watch.
func (c *Client) Watch(ctx context.Context, id string, each func(api.Request) error) (api.Request, error) {
	if err := checkRequest(id); err != nil {
		return api.Request{}, err
	}
	w := &watch{client: c, id: id, each: each}
	for failures := 0; ; {
		err := w.read(ctx)
		if err == nil {
			return w.latest, nil
		}
		if w.heard {
			failures = 0
		}
		failures++
		if w.refused != nil || failures > reconnects || ctx.Err() != nil || !passing(err) {
			return w.latest, err
		}
		if err := sleep(ctx, pauseAfter(err, failures)); err != nil {
			return w.latest, err
		}
	}
}

// watch is one Watch, over as many connections as it takes.
type watch struct {
	client  *Client
	id      string
	each    func(api.Request) error
	latest  api.Request
	seen    string // the id of the last event
	heard   bool   // this connection has said something
	refused error  // by each, or because the service lied
}

// read reads one connection's events; nil when the request has ended.
func (w *watch) read(parent context.Context) error {
	w.heard = false
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	quiet := time.AfterFunc(w.client.silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	err := w.connect(ctx, func() { quiet.Reset(w.client.silence) })
	switch {
	case err == nil || w.refused != nil:
	case parent.Err() != nil: // whatever the end of the connection looked like
		return fmt.Errorf("watching request %s: %w", w.id, parent.Err())
	case errors.Is(context.Cause(ctx), errSilent):
		return errSilent
	}
	return err
}

// connect opens the stream and reads it. It calls alive with every line.
func (w *watch) connect(ctx context.Context, alive func()) error {
	what := call{method: http.MethodGet, path: requestsPath + "/" + w.id + "/events", header: map[string]string{"Accept": api.EventMediaType}}
	if w.seen != "" {
		what.header["Last-Event-ID"] = w.seen
	}
	request, err := w.client.request(ctx, what)
	if err != nil {
		return err
	}
	response, err := w.client.http.Do(request)
	if err != nil {
		return fmt.Errorf("calling %s: %w", w.client.base.Host, transportFault(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(response.Body, firstRead))
		if err != nil {
			return fmt.Errorf("reading the answer of %s: %w", w.client.base.Host, err)
		}
		return problemOf(response, body)
	}
	if mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";"); mediaType != api.EventMediaType {
		return w.refuse(errStream)
	}
	return w.events(response.Body, alive)
}

// events reads events (HTML Living Standard section 9.2.6) until the request
// has ended.
func (w *watch) events(r io.Reader, alive func()) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var e event
	for lines.Scan() {
		w.heard = true
		alive()
		whole := e.add(lines.Text())
		if len(e.data) > maxEvent {
			return w.refuse(w.tooLarge())
		}
		if !whole {
			continue
		}
		done, err := w.take(e)
		if done || err != nil {
			return err
		}
		e = event{}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return w.refuse(w.tooLarge())
	}
	if lines.Err() != nil {
		return fmt.Errorf("reading events of %s: %w", w.client.base.Host, lines.Err())
	}
	return errCut
}

func (w *watch) tooLarge() error {
	return fmt.Errorf("an event of %s has more than %d bytes", w.client.base.Host, maxEvent)
}

// take hands on one event; true when it was the last.
func (w *watch) take(e event) (done bool, err error) {
	if e.name != api.EventRequest {
		return false, nil // of a newer service
	}
	var r api.Request
	if err := json.Unmarshal(e.data, &r); err != nil {
		return false, w.refuse(fmt.Errorf("reading an event of %s: %w", w.client.base.Host, err))
	}
	if err := w.client.check(r, w.id); err != nil {
		return false, w.refuse(err)
	}
	w.latest, w.seen = r, e.id
	return r.Ended(), w.refuse(w.each(r))
}

// refuse remembers an error that no other connection can mend.
func (w *watch) refuse(err error) error {
	w.refused = err
	return err
}

// event is one event as its lines come in. Data of several lines is one JSON
// text with white space in between.
type event struct {
	name, id string
	data     []byte
}

// add takes one line and says whether the event is whole.
func (e *event) add(line string) bool {
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return len(e.data) > 0
	}
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		e.name = value
	case "id":
		e.id = value
	case "data":
		e.data = append(append(e.data, value...), '\n')
	}
	return false
}
