package queue

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
)

// assemblies are the offers that a gatherer has heard, by request: when the task
// and a reply of each sender are there it can begin without reading them. They
// are bounded; the oldest go first.
type assemblies struct {
	parts map[uuid.UUID]*assembly
	order []uuid.UUID
}

type assembly struct {
	task    Task
	replies []Reply // of each sender the newest
}

func newAssemblies() *assemblies { return &assemblies{parts: map[uuid.UUID]*assembly{}} }

func (a *assemblies) task(t Task) {
	if a.parts[t.Request] != nil {
		return
	}
	if len(a.order) >= maxOffered {
		delete(a.parts, a.order[0])
		a.order = a.order[1:]
	}
	a.parts[t.Request] = &assembly{task: t}
	a.order = append(a.order, t.Request)
}

// reply adds a reply that was offered, and returns its task; one that was only
// told of spoils what was heard before, since it may say otherwise.
func (a *assemblies) reply(h replyHint) (heard *Task) {
	for _, id := range slices.Concat(h.ids, h.decisive) {
		part := a.parts[id]
		switch {
		case part == nil:
		case h.lone == nil:
			a.drop(id)
		default:
			part.replies = slices.DeleteFunc(part.replies, func(r Reply) bool { return r.Sender == h.sender })
			part.replies = append(part.replies, *h.lone)
			heard = &part.task
		}
	}
	return heard
}

func (a *assemblies) drop(id uuid.UUID) {
	if a.parts[id] == nil {
		return
	}
	delete(a.parts, id)
	a.order = slices.DeleteFunc(a.order, func(other uuid.UUID) bool { return other == id })
}

// take returns what was heard of a request, whole, and forgets it.
func (a *assemblies) take(id uuid.UUID, senders int, epochs []message.EpochID) (Gathered, bool) {
	part := a.parts[id]
	if part == nil {
		return Gathered{}, false
	}
	a.drop(id)
	g := Gathered{Task: part.task}
	decisive := false
	for _, r := range part.replies {
		if slices.ContainsFunc(r.Epochs, func(e message.EpochID) bool { return slices.Contains(epochs, e) }) {
			g.Replies = append(g.Replies, r)
			decisive = decisive || r.Decisive
		}
	}
	return g, decisive || len(g.Replies) == senders
}

// offered takes over what will be needed when the replies are there.
func (w *gathering) offered(tasks []Task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tasks {
		w.heardOf.task(t)
	}
}

// offers delivers those requests of which everything was heard, and returns the
// others, which are claimed.
func (w *gathering) offers(ctx context.Context, list []uuid.UUID) (rest []uuid.UUID) {
	b := &batch{seen: []int64{}, epochs: w.Epochs()}
	w.mu.Lock()
	for _, id := range list {
		g, whole := w.heardOf.take(id, len(w.Senders), b.epochs)
		if !whole {
			rest = append(rest, id)
			continue
		}
		b.tasks, b.gathered = append(b.tasks, g.Task), append(b.gathered, g)
		b.versions, b.seen = append(b.versions, 0), append(b.seen, 0)
	}
	w.mu.Unlock()
	if len(b.tasks) > 0 && !w.delivery.deliverOffer(ctx, b) {
		w.delivery.timers.after(w.queue.signals.hold, func() { w.pushAll(append(b.ids(), b.left...)) })
	}
	return rest
}
