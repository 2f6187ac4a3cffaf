package policy_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
)

var (
	_ policy.Queue    = (*queue.Queue)(nil)
	_ policy.Policies = (*activation.Holder)(nil)
)

// realQueue returns a service's queue with its listener running.
func (w *world) realQueue(service string) *queue.Queue {
	w.t.Helper()
	q := queue.New(w.As(service), w.Config(service), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	return q
}

// TestOverTheRealQueue plays the role's part of a request's way as it is:
// policy pushed, hello said, request proposed, approval read.
func TestOverTheRealQueue(t *testing.T) {
	w := newWorld(t)
	w.clock.now = time.Now()
	ctx := t.Context()
	own, proposer, signing, operator := w.realQueue(role), w.realQueue("proposer"), w.realQueue("signing"), w.realQueue("operator")
	holder := activation.New(w.Deployment.Genesis, w.Deployment.ID, own, nil)
	cfg := w.config(always(policy.Approve))
	cfg.Queue, cfg.Policy = own, holder
	s, err := policy.New(cfg)
	must(t, err)
	_, err = s.Init(ctx)
	must(t, err)
	run, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	t.Cleanup(func() {
		stop()
		must(t, <-done)
	})

	bundle, err := message.Encode(w.policies.Active().Bundle)
	must(t, err)
	must(t, operator.Publish(ctx, queue.Notice{Topic: queue.TopicPolicy, Key: "1", Sender: "operator", Body: bundle}))
	_, err = holder.Refresh(ctx)
	must(t, err)
	e := w.hello(nil)
	w.epochs[e.hello.Epoch] = e
	changed := signing.Changed(queue.TopicAnnouncement)
	must(t, signing.Publish(ctx, queue.Notice{
		Topic: queue.TopicHello, Key: role + "/" + e.hello.Epoch.String(), Sender: "signing",
		Body: e.compact, Expires: e.hello.Expires.Time,
	}))
	w.await(changed, func() bool {
		notices, err := signing.Notices(ctx, queue.TopicAnnouncement)
		must(t, err)
		w.queue.notices[queue.TopicAnnouncement] = notices
		return len(notices) == 1
	})

	task := w.task()
	_, err = proposer.Submit(ctx, []queue.Submission{{
		ID: task.Request, Body: task.Body, Hash: task.Hash, Fingerprint: task.Hash,
		Owner: "alice", Kind: string(message.KindWalletCreate), Expires: task.Expires,
	}}, queue.Recipients{Consumers: w.Deployment.Genesis.Roles})
	must(t, err)
	reply := w.reply(signing, task.Request, e.hello.Epoch)
	must(t, w.As("signing").QueryRowContext(ctx, // requests are shown without it
		"SELECT attachment FROM countersign.reply WHERE request_id = $1 AND sender = $2 ORDER BY id DESC LIMIT 1",
		task.Request, role).Scan(&reply.Attachment))
	a, attachment := w.open(reply)
	if a.Decision != message.Approve || a.Envelope != task.Hash {
		t.Fatalf("approval %+v", a)
	}
	w.opened(task, attachment)
	must(t, s.Ready(ctx))
}

// await looks again at each signal until ok.
func (w *world) await(changed <-chan struct{}, ok func() bool) {
	w.t.Helper()
	over := time.After(patience)
	for !ok() {
		select {
		case <-changed:
		case <-over:
			w.t.Fatal("it did not happen")
		}
	}
}

// reply gathers the role's reply to a request as the signing service does.
func (w *world) reply(signing *queue.Queue, request uuid.UUID, live message.EpochID) *queue.Reply {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out *queue.Reply
	for out == nil && ctx.Err() == nil {
		v, err := signing.Get(ctx, request)
		must(w.t, err)
		for _, r := range v.Replies {
			if r.Sender == role && len(r.Epochs) == 1 && r.Epochs[0] == live {
				out = &r
			}
		}
	}
	if out == nil {
		w.t.Fatal("no reply")
	}
	return out
}
