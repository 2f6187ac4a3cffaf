package queue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// maxNotification is PostgreSQL's own limit of a payload, in bytes.
const maxNotification = 8000

// FuzzNotification: anybody who is logged in can notify on every channel. What
// does not parse says nothing, what does is no more than it says, and neither
// harms who hears it.
func FuzzNotification(f *testing.F) {
	one, two := uuid.UUID{1}, uuid.UUID{2}
	ids := text(one[:]) + "," + text(two[:])
	for _, payload := range []string{
		"", "|", "||", ",", ",,", "!", ".", "..", "x,,y", "fraud", "fraud|", "fraud|nonsense", "fraud,approval",
		ids, "!" + ids, "fraud|" + ids, "fraud|" + text(one[:]) + ",!" + text(two[:]), "|" + ids,
		offerOf(one, "body"), offerOf(one, "body") + offerOf(two, "another"), offerOf(one, ""), "fraud" + offerOf(one, "body"),
		replyOf(one, "fraud", "yes"), strings.Replace(replyOf(one, "fraud", "yes"), "|", "|!", 1),
		"fraud|" + ids + "|" + text(epochA[:]) + ".Ym9keQ.YXQ",
		"fraud|" + text(one[:]) + "|AA.Ym9keQ.YXQ", "fraud|" + text(one[:]) + "|" + text(epochA[:]) + "AAAA.Ym9keQ.YXQ",
		text(one[:]) + "." + text([]byte("signed")) + "." + text([]byte("result")),
		strings.Repeat("|", maxNotification), strings.Repeat("A", maxNotification), strings.Repeat(ids+",", 170),
	} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		if len(payload) > maxNotification {
			return
		}
		h, kept := queue.Hear(payload, "fraud", "approval")
		checkHeard(t, h)
		if most := 4 * (1 + strings.Count(payload, ",") + strings.Count(payload, "|")); kept > most {
			t.Errorf("%d bytes are kept in mind as %d things", len(payload), kept)
		}
		checkRetold(t, h)
	})
}

// checkHeard: nothing is made up that no payload can say.
func checkHeard(t *testing.T, h queue.Heard) {
	t.Helper()
	for _, task := range h.Tasks {
		if len(task.Body) == 0 || task.Hash != message.Sum(task.Body) || !task.Offered {
			t.Errorf("an offer without body, hash or mark: %+v", task)
		}
	}
	if l := h.Lone; l != nil && (len(h.Said)+len(h.Decisive) != 1 || l.Sender != h.Sender || l.Decisive != (len(h.Decisive) == 1)) {
		t.Errorf("a lone reply is not the one that is told of: %+v", h)
	}
}

// checkRetold: writers and readers agree. What does not fit into a notification is
// not told.
func checkRetold(t *testing.T, h queue.Heard) {
	t.Helper()
	tasks, replies, result, ended := h.Tell()
	if again, _ := queue.Hear(tasks); len(tasks) > 0 && !slices.EqualFunc(again.Tasks, h.Tasks, sameTask) {
		t.Errorf("tasks %+v were told as %q", h.Tasks, tasks)
	}
	if again, _ := queue.Hear(replies); len(h.Said)+len(h.Decisive) > 0 && len(replies) > 0 &&
		(again.Sender != h.Sender || !slices.Equal(again.Said, h.Said) || !slices.Equal(again.Decisive, h.Decisive) || !sameReply(again.Lone, h.Lone)) {
		t.Errorf("replies %+v were told as %q", h, replies)
	}
	if again, _ := queue.Hear(result); len(result) > 0 && !sameResult(again.Result, h.Result) {
		t.Errorf("result %+v was told as %q", h.Result, result)
	}
	if again, _ := queue.Hear(ended); len(ended) > 0 && !slices.Equal(again.Ended, h.Ended) {
		t.Errorf("ends %v were told as %q", h.Ended, ended)
	}
}

func sameTask(a, b queue.Task) bool {
	return a.Request == b.Request && a.Hash == b.Hash && string(a.Body) == string(b.Body)
}

func sameReply(a, b *queue.Reply) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Sender == b.Sender && string(a.Body) == string(b.Body) && string(a.Attachment) == string(b.Attachment) && slices.Equal(a.Epochs, b.Epochs)
}

func sameResult(a, b *queue.Result) bool {
	return a != nil && b != nil && a.Request == b.Request && a.Status == b.Status && string(a.Body) == string(b.Body)
}
