package queue

import (
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
)

// HoldOffers sets how long what is offered cannot be claimed: a machine that is
// busy hears late.
func (q *Queue) HoldOffers(d time.Duration) { q.signals.hold = d }

// SettlingForms returns the text of a settling statement with every kind of
// grounds.
func SettlingForms(name string) []string {
	text, first := settlingText(name)
	return []string{ground(text, first, basisHolds), ground(text, first, offerHolds), ground(text, first, basisHolds, offerHolds)}
}

// ForgedWants returns how many requests a gatherer keeps in mind that n
// notifications without a sender have named.
func ForgedWants(n int) int {
	w := &gathering{woken: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	w.reset()
	for range n {
		w.heard(replyHint{ids: []uuid.UUID{uuid.New()}})
	}
	return len(w.ready)
}

// Heard is what is made of a notification's payload, on whichever channel it came.
type Heard struct {
	Names          string
	Tasks          []Task
	Sender         string
	Said, Decisive []uuid.UUID
	Lone           *Reply
	Result         *Result
	Ended          []uuid.UUID
}

// Hear reads a payload as each channel's, and gives it to a queue on which a
// consumer and a gatherer of the senders listen. It returns besides how much
// they keep in mind of it.
func Hear(payload string, senders ...string) (h Heard, kept int) {
	h.Names, h.Tasks = parseTasks(payload)
	hint := parseReplies(payload)
	h.Sender, h.Said, h.Decisive, h.Lone = hint.sender, hint.ids, hint.decisive, hint.lone
	if r, ok := parseResult(payload); ok {
		h.Result = &r
	}
	h.Ended = parseIDs(payload)

	q := New(nil, database.Config{}, nil)
	b, forget := q.signals.consumer("consumer", false)
	defer forget()
	w := &gathering{Gatherer: Gatherer{Senders: senders}, woken: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	w.reset()
	defer q.signals.gatherer(w)()
	for _, channel := range []string{channelTask, channelReply, channelResult, channelNotice} {
		q.notified(&pq.Notification{Channel: channel, Extra: payload})
	}
	return h, len(b.offered) + len(w.ready) + len(w.partial) + len(w.heardOf.parts)
}

// Tell writes what was heard as the payloads of which it is read.
func (h Heard) Tell() (tasks, replies, result, ended string) {
	var batch []Submission
	for _, t := range h.Tasks {
		batch = append(batch, Submission{ID: t.Request, Body: t.Body})
	}
	tasks = strings.Join(taskOffers(batch), "")
	replies = replyHint{sender: h.Sender, ids: h.Said, decisive: h.Decisive, lone: h.Lone}.payload()
	if h.Result != nil {
		result = resultPayload([]Result{*h.Result}, nil)
	}
	return tasks, replies, result, idPayload(h.Ended)
}
