package queue

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
)

// An offer is a notification that carries what it tells of: a lone request goes
// its way without being claimed or read back. Whoever hears an offer may work on
// it at once; the statements that end the work judge, as always. Where an offer
// is not heard, too large or lost nothing is: the rows say the same.
//
// Anybody who is logged in to the database can send one, so that it is believed
// less than a row: what comes of it is written only where the row says the same,
// and what ends a request for good is never made of it.

const (
	// offerHold is how long nobody claims a task that was offered: longer than
	// its receiver needs, and what a request waits where nobody heard the offer,
	// or its receiver died or has to read it first.
	offerHold = 50 * time.Millisecond
	// offerMargin makes up for small differences of clocks.
	offerMargin = 10 * time.Millisecond
	// offerPause is how long an instance leaves offers to others after another of
	// its kind was quicker: of several, one soon takes all there are.
	offerPause = 2 * time.Second
	// maxOffered bounds the offers that wait for one consumer, and the requests
	// that a gatherer holds parts of.
	maxOffered = 1024
)

// bell wakes the workers of a consumer, and hands them what is offered.
type bell struct {
	rung chan struct{}
	hold time.Duration // how long what is offered cannot be claimed

	mu      sync.Mutex
	look    bool // something may be there to be claimed
	offered []Task
	later   bool // a ring is on its way
	again   bool // it comes too early for what came meanwhile
}

func newBell(hold time.Duration) *bell { return &bell{rung: make(chan struct{}, 1), hold: hold} }

// missed rings now, and when what was offered unheard can be claimed.
func (b *bell) missed() {
	b.ring()
	b.ringLater()
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look = true
	wake(b.rung)
}

// ringLater rings when what is held now can be claimed.
func (b *bell) ringLater() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again = b.later
	if !b.later {
		b.later = true
		time.AfterFunc(b.hold+offerMargin, b.late)
	}
}

func (b *bell) late() {
	b.mu.Lock()
	again := b.again
	b.later, b.again, b.look = false, false, true
	wake(b.rung)
	b.mu.Unlock()
	if again {
		b.ringLater()
	}
}

func (b *bell) offer(tasks []Task) {
	b.mu.Lock()
	full := len(b.offered)+len(tasks) > maxOffered
	if !full {
		b.offered = append(b.offered, tasks...)
		wake(b.rung)
	}
	b.mu.Unlock()
	if full {
		b.ringLater()
	}
}

// take returns at most so many offers, no request twice, and whether to look. What
// has waited so long that it can be claimed is left to that.
func (b *bell) take(most int) (offered []Task, look bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.offered), most)
	seen := make(map[uuid.UUID]bool, n)
	for _, t := range b.offered[:n] {
		if time.Since(t.Submitted) > b.hold {
			b.look = true
		} else if !seen[t.Request] {
			seen[t.Request] = true
			offered = append(offered, t)
		}
	}
	if b.offered = b.offered[n:]; len(b.offered) > 0 {
		wake(b.rung)
	} else {
		b.offered = nil
	}
	look, b.look = b.look, false
	return offered, look
}

// forget drops the offers of tasks that were claimed meanwhile: to begin with them
// again would be to lose them to oneself.
func (b *bell) forget(claimed *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.offered) == 0 {
		return
	}
	ids := make(map[uuid.UUID]bool, claimed.size())
	for _, id := range append(claimed.ids(), claimed.ended...) {
		ids[id] = true
	}
	b.offered = slices.DeleteFunc(b.offered, func(t Task) bool { return ids[t.Request] })
}

// told has a claimer tell the bell what it claims.
func (b *bell) told(claim claimer) claimer {
	return func(ctx context.Context) (*batch, error) {
		claimed, err := claim(ctx)
		if err == nil {
			b.forget(claimed)
		}
		return claimed, err
	}
}

// rivalry remembers that another instance of the same kind is quicker.
type rivalry struct {
	mu    sync.Mutex
	until time.Time
}

func (r *rivalry) beaten() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Now().Add(offerPause)
}

func (r *rivalry) yields() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until)
}

// The parts of a notification are separated by bars, those of an offer by
// points; neither is in base64url.
const (
	bar   = "|"
	point = "."
)

func encodePart(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decodeParts decodes an item of exactly n parts.
func decodeParts(item string, n int) ([][]byte, bool) {
	texts := strings.Split(item, point)
	if len(texts) != n {
		return nil, false
	}
	out := make([][]byte, n)
	for i, text := range texts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, false
		}
		out[i] = b
	}
	return out, true
}

// taskOffers offers submissions to all their consumers, each in a part of its own
// because only those that are new are to be heard of; none where they are too
// large for a notification.
//
//	|<id>.<body>|<id>.<body>
func taskOffers(batch []Submission) (parts textArray) {
	size := 0
	for _, s := range batch {
		if size += base64.RawURLEncoding.EncodedLen(len(s.Body)); size > maxPayload {
			return nil
		}
		part := bar + encodePart(s.ID[:]) + point + encodePart(s.Body)
		size += len(part) - base64.RawURLEncoding.EncodedLen(len(s.Body))
		parts = append(parts, part)
	}
	if size > maxPayload {
		return nil
	}
	return parts
}

// payload is what fits into a notification; empty: look for yourself.
func payload(text string) string {
	if len(text) > maxPayload {
		return ""
	}
	return text
}

// parseTasks returns the names of the consumers that are to look, empty for all,
// and the tasks that are offered.
func parseTasks(text string) (names string, offered []Task) {
	names, list, ok := strings.Cut(text, bar)
	if !ok {
		return names, nil
	}
	for item := range strings.SplitSeq(list, bar) {
		parts, ok := decodeParts(item, 2)
		if !ok || len(parts[0]) != len(uuid.UUID{}) || len(parts[1]) == 0 {
			return "", nil
		}
		offered = append(offered, Task{
			Request: uuid.UUID(parts[0]), Body: parts[1], Hash: message.Sum(parts[1]), Submitted: time.Now(), Offered: true,
		})
	}
	return names, offered
}

// replyParts writes what a reply's notification carries beside the request:
//
//	<epochs>.<body>.<attachment>
func replyParts(r *Reply) string {
	var epochs []byte
	for _, e := range r.Epochs {
		epochs = append(epochs, e[:]...)
	}
	return encodePart(epochs) + point + encodePart(r.Body) + point + encodePart(r.Attachment)
}

func parseReplyParts(text string) (r Reply, ok bool) {
	parts, ok := decodeParts(text, 3)
	if !ok || len(parts[0])%len(message.EpochID{}) != 0 {
		return r, false
	}
	for epochs := parts[0]; len(epochs) > 0; epochs = epochs[len(message.EpochID{}):] {
		r.Epochs = append(r.Epochs, message.EpochID(epochs[:len(message.EpochID{})]))
	}
	r.Body, r.Attachment, r.Created = parts[1], parts[2], time.Now()
	return r, true
}

// resultPayload tells of results: with the result itself where there is one
// alone and it fits, else by ids, else not at all.
//
//	<id>.<status>.<body>
//	<id>,<id>
func resultPayload(results []Result, list []uuid.UUID) string {
	if len(results) == 1 {
		r := results[0]
		if text := encodePart(r.Request[:]) + point + encodePart([]byte(r.Status)) + point + encodePart(r.Body); len(text) <= maxPayload {
			return text
		}
	}
	return idPayload(list)
}

// parseResult returns the one result that stands in a notification.
func parseResult(text string) (r Result, ok bool) {
	parts, ok := decodeParts(text, 3)
	if !ok || len(parts[0]) != len(uuid.UUID{}) {
		return r, false
	}
	return Result{Request: uuid.UUID(parts[0]), Status: string(parts[1]), Body: parts[2], Created: time.Now()}, true
}
