package queue

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// maxPayload is below PostgreSQL's limit of 8000 bytes for a notification. A
// longer list of ids is left out; an empty payload means "look for yourself".
const maxPayload = 7900

// signals wakes whoever in this process waits for a notification. A wake-up
// that finds its receiver busy is kept, one at most.
type signals struct {
	mu        sync.Mutex
	consumers map[string][]chan struct{}
	gatherers []*gathering
	followers map[string][]chan struct{}
}

func newSignals() *signals {
	return &signals{consumers: map[string][]chan struct{}{}, followers: map[string][]chan struct{}{}}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *signals) consumer(name string) (chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{}, 1)
	s.consumers[name] = append(s.consumers[name], c)
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.consumers[name] = slices.DeleteFunc(s.consumers[name], func(other chan struct{}) bool { return other == c })
	}
}

// tasks wakes the named consumers, separated by commas, or all.
func (s *signals) tasks(names string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if names == "" {
		for _, cs := range s.consumers {
			for _, c := range cs {
				wake(c)
			}
		}
		return
	}
	for name := range strings.SplitSeq(names, ",") {
		for _, c := range s.consumers[name] {
			wake(c)
		}
	}
}

func (s *signals) gatherer(g *gathering) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gatherers = append(s.gatherers, g)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gatherers = slices.DeleteFunc(s.gatherers, func(other *gathering) bool { return other == g })
	}
}

func (s *signals) replies(h replyHint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gatherers {
		g.heard(h)
	}
}

func (s *signals) finished(ended []uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gatherers {
		g.finished(ended)
	}
}

func (s *signals) follow(topic string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{}, 1)
	s.followers[topic] = append(s.followers[topic], c)
	return c
}

func (s *signals) notice(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.followers[topic] {
		wake(c)
	}
}

func (s *signals) allNotices() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cs := range s.followers {
		for _, c := range cs {
			wake(c)
		}
	}
}

// replyHint says which sender has replied to which requests. Zero: look.
type replyHint struct {
	sender   string
	ids      []uuid.UUID
	decisive []uuid.UUID
}

// payload of a reply notification:
//
//	<sender>|<id>,<id>,!<decisive id>
//
// each id being 22 characters of unpadded base64url.
func (h replyHint) payload() string {
	out := h.sender + "|" + formatIDs("", h.ids)
	if len(h.decisive) > 0 {
		if len(h.ids) > 0 {
			out += ","
		}
		out += formatIDs("!", h.decisive)
	}
	if len(out) > maxPayload {
		return ""
	}
	return out
}

func parseReplies(payload string) replyHint {
	sender, list, ok := strings.Cut(payload, "|")
	if !ok {
		return replyHint{}
	}
	out := replyHint{sender: sender}
	for item := range strings.SplitSeq(list, ",") {
		text, decisive := strings.CutPrefix(item, "!")
		id, ok := parseID(text)
		switch {
		case !ok:
			return replyHint{}
		case decisive:
			out.decisive = append(out.decisive, id)
		default:
			out.ids = append(out.ids, id)
		}
	}
	return out
}

// idPayload lists ids for a notification, or is empty where they are too many.
func idPayload(us []uuid.UUID) string {
	if out := formatIDs("", us); len(out) <= maxPayload {
		return out
	}
	return ""
}

// parseIDs returns nil for an empty or malformed payload: look for yourself.
func parseIDs(payload string) []uuid.UUID {
	var out []uuid.UUID
	for text := range strings.SplitSeq(payload, ",") {
		id, ok := parseID(text)
		if !ok {
			return nil
		}
		out = append(out, id)
	}
	return out
}

func formatIDs(prefix string, us []uuid.UUID) string {
	var out strings.Builder
	for i, u := range us {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(prefix)
		out.WriteString(base64.RawURLEncoding.EncodeToString(u[:]))
	}
	return out.String()
}

func parseID(text string) (uuid.UUID, bool) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(uuid.UUID{}) {
		return uuid.UUID{}, false
	}
	return uuid.UUID(b), true
}
