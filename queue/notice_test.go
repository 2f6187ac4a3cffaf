package queue_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

func TestNotices(t *testing.T) {
	f := newFixture(t)
	signing, fraud := f.silent("signing"), f.silent("fraud")
	hello := queue.Notice{Topic: queue.TopicHello, Key: "fraud/1", Sender: "signing", Body: []byte("hello"), Expires: time.Now().Add(time.Hour)}
	expired := hello
	expired.Key, expired.Expires = "fraud/0", time.Now().Add(-time.Second)
	for _, n := range []queue.Notice{hello, expired} {
		if err := signing.Publish(f.ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := signing.Publish(f.ctx, hello); err != nil {
		t.Errorf("the same notice again: %v", err)
	}
	other := hello
	other.Body = []byte("another")
	if err := signing.Publish(f.ctx, other); !errors.Is(err, queue.ErrKeyTaken) {
		t.Errorf("another notice under the key: %v", err)
	}
	got, err := fraud.Notices(f.ctx, queue.TopicHello)
	if err != nil || len(got) != 1 || string(got[0].Body) != "hello" || got[0].Created.IsZero() ||
		got[0].Expires.Sub(hello.Expires).Abs() > time.Second {
		t.Errorf("live notices %v, %v", got, err)
	}
	if err := signing.DeleteExpired(f.ctx); err != nil {
		t.Fatal(err)
	}
	if n := f.count("SELECT count(*) FROM countersign.notice"); n != 1 {
		t.Errorf("%d notices left, want 1", n)
	}
}

func TestPolicyNeverExpires(t *testing.T) {
	f := newFixture(t)
	policy := queue.Notice{Topic: queue.TopicPolicy, Key: "1", Sender: "operator", Body: []byte("bundle")}
	if err := f.silent("operator").Publish(f.ctx, policy); err != nil {
		t.Fatal(err)
	}
	for _, service := range append([]string{"proposer", "operator", "signing"}, roles...) {
		got, err := f.silent(service).Notices(f.ctx, queue.TopicPolicy)
		if err != nil || len(got) != 1 || !got[0].Expires.IsZero() {
			t.Errorf("%s: %v, %v", service, got, err)
		}
	}
}

// Two services may publish the same document, by a request and by the operator,
// in a transaction or not. Another document under its key is another one.
func TestSameNoticeOfAnotherSender(t *testing.T) {
	f := newFixture(t)
	send := func(key, sender, body string, publish func(*queue.Queue, queue.Notice) error) error {
		n := queue.Notice{Topic: queue.TopicPolicy, Key: key, Sender: sender, Body: []byte(body)}
		return publish(f.silent(sender), n)
	}
	alone := func(q *queue.Queue, n queue.Notice) error { return q.Publish(f.ctx, n) }
	within := func(q *queue.Queue, n queue.Notice) error {
		tx, err := f.db.As("signing").BeginTx(f.ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // it was committed, or nothing was written
		if err := q.PublishIn(f.ctx, tx, n); err != nil {
			return err
		}
		return tx.Commit()
	}
	for _, c := range []struct {
		key, first, second string
		publish, again     func(*queue.Queue, queue.Notice) error
	}{
		{"pushed", "operator", "signing", alone, within},
		{"carried", "signing", "operator", within, alone},
	} {
		t.Run(c.key, func(t *testing.T) {
			if err := send(c.key, c.first, "bundle", c.publish); err != nil {
				t.Fatal(err)
			}
			if err := send(c.key, c.second, "bundle", c.again); err != nil {
				t.Errorf("the same of another sender: %v", err)
			}
			if err := send(c.key, c.second, "another", c.again); !errors.Is(err, queue.ErrKeyTaken) {
				t.Errorf("another one under the key: %v", err)
			}
		})
	}
}

func TestChangedIsSignalled(t *testing.T) {
	f := newFixture(t)
	fraud := f.queue("fraud")
	changed, other := fraud.Changed(queue.TopicHello), fraud.Changed(queue.TopicPolicy)
	receive(f, changed) // the look at the start
	receive(f, other)
	hello := queue.Notice{Topic: queue.TopicHello, Key: "fraud/1", Sender: "signing", Body: []byte("x")}
	if err := f.silent("signing").Publish(f.ctx, hello); err != nil {
		t.Fatal(err)
	}
	receive(f, changed)
}

// The listener's connection is cut: whatever was missed is looked for, and
// notifications are heard again.
func TestListenerReconnects(t *testing.T) {
	f := newFixture(t)
	fraud := f.queue("fraud")
	changed := fraud.Changed(queue.TopicHello)
	receive(f, changed)
	const listeners = `FROM pg_stat_activity WHERE application_name = 'countersign_fraud_listener' AND datname = current_database()`
	old := f.count("SELECT max(pid) " + listeners)
	f.count("SELECT count(pg_terminate_backend(pid)) " + listeners)
	for f.count("SELECT count(*) "+listeners+" AND pid <> $1", old) != 1 {
		if f.ctx.Err() != nil {
			t.Fatal("the listener does not come back")
		}
	}
	receive(f, changed) // what was missed is looked for
	hello := queue.Notice{Topic: queue.TopicHello, Key: "fraud/1", Sender: "signing", Body: []byte("x")}
	if err := f.silent("signing").Publish(f.ctx, hello); err != nil {
		t.Fatal(err)
	}
	receive(f, changed)
}

func TestAwait(t *testing.T) {
	f := newFixture(t)
	proposer, signing := f.queue("proposer"), f.silent("signing")
	batch := f.submit(2)
	type answer struct {
		result queue.Result
		err    error
	}
	answers := make(chan answer, 3)
	for range 3 { // several may wait for one
		go func() {
			r, err := proposer.Await(f.ctx, batch[0].ID)
			answers <- answer{r, err}
		}()
	}
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if _, err := proposer.Await(ctx, batch[1].ID); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter whose context has ended: %v", err)
	}
	if _, err := signing.Finish(f.ctx, nil, []queue.Result{{Request: batch[0].ID, Status: "signed", Body: []byte("jws")}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := receive(f, answers); a.err != nil || string(a.result.Body) != "jws" || a.result.Created.IsZero() {
			t.Errorf("answer %+v", a)
		}
	}
	if r, err := proposer.Await(f.ctx, batch[0].ID); err != nil || r.Status != "signed" {
		t.Errorf("awaiting what has ended: %+v, %v", r, err)
	}
}

// More ids than a notification can carry: everybody looks.
func TestManyResultsInOneCommit(t *testing.T) {
	f := newFixture(t)
	proposer := f.queue("proposer")
	batch := f.submit(500)
	done := make(chan error, len(batch))
	for _, s := range batch {
		go func() {
			_, err := proposer.Await(f.ctx, s.ID)
			done <- err
		}()
	}
	var results []queue.Result
	for _, s := range batch {
		results = append(results, queue.Result{Request: s.ID, Status: "signed"})
	}
	inserted, err := f.silent("signing").Finish(f.ctx, nil, results)
	if err != nil || len(inserted) != len(batch) {
		t.Fatalf("%d inserted, %v", len(inserted), err)
	}
	for range batch {
		if err := receive(f, done); err != nil {
			t.Fatal(err)
		}
	}
}

// A list's file is larger than any message, and is read by its key alone.
func TestListFileNotice(t *testing.T) {
	f := newFixture(t)
	body := bytes.Repeat([]byte("eip155:1:0x00000000000000000000000000000000000000a1\n"), 300_000)
	list := queue.Notice{Topic: queue.TopicList, Key: message.Sum(body).String(), Sender: "operator", Body: body}
	operator := f.silent("operator")
	for range 2 { // the same again is no fault
		if err := operator.Publish(f.ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	other := list
	other.Body = body[:100]
	if err := operator.Publish(f.ctx, other); !errors.Is(err, queue.ErrKeyTaken) {
		t.Errorf("another file under the key: %v", err)
	}
	for _, service := range append([]string{"operator"}, roles...) {
		got, err := f.silent(service).Notice(f.ctx, queue.TopicList, list.Key)
		if err != nil || !bytes.Equal(got.Body, body) || got.Sender != "operator" || !got.Expires.IsZero() {
			t.Errorf("%s: %d bytes, %v", service, len(got.Body), err)
		}
	}
	for _, service := range []string{"proposer", "signing"} {
		if _, err := f.silent(service).Notice(f.ctx, queue.TopicList, list.Key); !errors.Is(err, queue.ErrNoNotice) {
			t.Errorf("%s reads it: %v", service, err)
		}
	}
	if _, err := operator.Notice(f.ctx, queue.TopicList, "another"); !errors.Is(err, queue.ErrNoNotice) {
		t.Errorf("one that is not there: %v", err)
	}
	tooLarge := queue.Notice{Topic: queue.TopicList, Key: "large", Sender: "operator", Body: make([]byte, 16<<20+1)}
	if err := operator.Publish(f.ctx, tooLarge); err == nil {
		t.Error("a file above the bound was written")
	}
	tooLarge.Topic, tooLarge.Body = queue.TopicPolicy, make([]byte, 4<<20+1)
	if err := operator.Publish(f.ctx, tooLarge); err == nil {
		t.Error("a policy as large as a file was written")
	}
}
