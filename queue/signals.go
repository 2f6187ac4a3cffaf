package queue

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// maxPayload is below PostgreSQL's limit of 8000 bytes for a notification. A
// longer list of ids is left out; an empty payload means "look for yourself".
const maxPayload = 7900

// signals wakes whoever in this process waits for a notification. A wake-up
// that finds its receiver busy is kept, one at most.
type signals struct {
	hold      time.Duration // offerHold, but for tests
	mu        sync.Mutex
	consumers map[string][]*bell
	enders    map[string][]*bell // of those that Consumer.Ended is about
	gatherers []*gathering
	followers map[string][]chan struct{}
}

func newSignals() *signals {
	return &signals{hold: offerHold, consumers: map[string][]*bell{}, enders: map[string][]*bell{}, followers: map[string][]chan struct{}{}}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *signals) consumer(name string, ended bool) (*bell, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, to := newBell(s.hold), s.consumers
	if ended {
		to = s.enders
	}
	to[name] = append(to[name], b)
	return b, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		to[name] = slices.DeleteFunc(to[name], func(other *bell) bool { return other == b })
		if len(to[name]) == 0 {
			delete(to, name)
		}
	}
}

// tasks wakes the named consumers, separated by commas, or all to whom requests
// are new.
func (s *signals) tasks(names string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if names == "" {
		for _, bells := range s.consumers {
			for _, b := range bells {
				b.ring()
			}
		}
		return
	}
	for name := range strings.SplitSeq(names, ",") {
		for _, b := range slices.Concat(s.consumers[name], s.enders[name]) {
			b.ring()
		}
	}
}

// missed wakes all consumers where notifications may have been lost.
func (s *signals) missed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range []map[string][]*bell{s.consumers, s.enders} {
		for _, bells := range group {
			for _, b := range bells {
				b.missed()
			}
		}
	}
}

// offered hands tasks to every consumer of new requests, and to every gatherer what it will need
// beside the replies.
func (s *signals) offered(tasks []Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, bells := range s.consumers {
		for _, b := range bells {
			b.offer(tasks)
		}
	}
	for _, g := range s.gatherers {
		g.offered(tasks)
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
	// lone is the reply itself, where there is no other.
	lone *Reply
}

// payload of a reply notification:
//
//	<sender>|<id>,<id>,!<decisive id>
//
// each id being 22 characters of unpadded base64url. Where there is one id the
// reply follows, unless it is too large: see replyParts.
func (h replyHint) payload() string {
	out := h.sender + "|" + formatIDs("", h.ids)
	if len(h.decisive) > 0 {
		if len(h.ids) > 0 {
			out += ","
		}
		out += formatIDs("!", h.decisive)
	}
	if h.lone != nil && len(h.ids)+len(h.decisive) == 1 {
		if text := out + bar + replyParts(h.lone); len(text) <= maxPayload {
			return text
		}
	}
	return payload(out)
}

func parseReplies(text string) replyHint {
	sender, list, ok := strings.Cut(text, bar)
	if !ok {
		return replyHint{}
	}
	out := replyHint{sender: sender}
	list, lone, offered := strings.Cut(list, bar)
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
	if r, ok := parseReplyParts(lone); offered && ok && len(out.ids)+len(out.decisive) == 1 {
		r.Sender, r.Decisive = sender, len(out.decisive) == 1
		out.lone = &r
	}
	return out
}

// idPayload lists ids for a notification, or is empty where they are too many.
func idPayload(us []uuid.UUID) string {
	return payload(formatIDs("", us))
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
