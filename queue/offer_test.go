package queue_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// offerOf is a notification that offers these bytes under this id.
func offerOf(id uuid.UUID, body string) string { return "|" + text(id[:]) + "." + text([]byte(body)) }

// replyOf is one that offers a reply for epochA.
func replyOf(id uuid.UUID, sender, body string) string {
	return sender + "|" + text(id[:]) + "|" + text(epochA[:]) + "." + text([]byte(body)) + "."
}

// listening waits until so many queues of a service listen.
func (f *fixture) listening(n int, service string) {
	f.Helper()
	f.until(n, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query LIKE 'LISTEN%' AND state = 'idle'", "countersign_"+service)
}

const (
	taskChannel  = "countersign_task"
	replyChannel = "countersign_reply"
)

// hears runs a consumer that hears its offers.
func (f *fixture) hears(service string, c queue.Consumer, h queue.Handler) *queue.Queue {
	q := f.queue(service)
	f.run(func() error { return q.Consume(f.ctx, c, h) })
	return q
}

func (f *fixture) notify(channel, payload string) {
	f.Helper()
	// Any service may: here one that may write nothing of all this.
	if _, err := f.db.As("operator").ExecContext(f.ctx, "SELECT pg_notify($1, $2)", channel, payload); err != nil {
		f.Fatal(err)
	}
}

// rare is a consumer that finds nothing by polling.
func rare() queue.Consumer { return queue.Consumer{Name: "fraud", Workers: 1, Poll: time.Hour} }

// done ends every task with a reply that says what was decided on.
func done(tasks []queue.Task) queue.Work {
	var w queue.Work
	for _, task := range tasks {
		w.Verdicts = append(w.Verdicts, queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: task.Body, Epochs: []message.EpochID{epochA}}})
	}
	return w
}

// TestOfferedTaskNeedsNoClaim: a consumer that hears an offer decides it while
// the task is held for it, and no claim was made.
func TestOfferedTaskNeedsNoClaim(t *testing.T) {
	f := newFixture(t)
	got := make(chan queue.Task, 10)
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
		for _, task := range tasks {
			got <- task
		}
		return done(tasks), nil
	})
	f.listening(1, "fraud")
	for range 5 {
		s := f.submit(1)[0]
		task := receive(f, got)
		if task.Request != s.ID || string(task.Body) != string(s.Body) || task.Hash != s.Hash || !task.Offered {
			t.Fatalf("task %+v", task)
		}
		f.until(1, "SELECT count(*) FROM countersign.reply WHERE request_id = $1 AND body = $2", s.ID, s.Body)
	}
	if n := f.count(fraudTasks); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

// TestHeldTaskThatNobodyHeardOf: who hears no notifications finds a task that
// was offered to others when the hold is over, not before.
func TestHeldTaskThatNobodyHeardOf(t *testing.T) {
	f := newFixture(t)
	got := make(chan time.Time, 10)
	c := rare()
	c.Poll = time.Millisecond
	f.run(func() error {
		return f.silent("fraud").Consume(f.ctx, c, func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			if tasks[0].Offered {
				f.Error("offered to who hears nothing")
			}
			got <- time.Now()
			return done(tasks), nil
		})
	})
	f.submit(1)
	receive(f, got)
	before := time.Now()
	f.submit(1)
	if took := receive(f, got).Sub(before); took < 40*time.Millisecond {
		t.Errorf("claimed after %v: nothing held it", took)
	}
}

// TestOfferBeforeTheListener: what was offered before a consumer listened is
// found when its hold is over, although that was the last notification.
func TestOfferBeforeTheListener(t *testing.T) {
	f := newFixture(t)
	s := f.submit(1)[0]
	got := make(chan queue.Task, 1)
	f.run(func() error {
		return f.silent("fraud").Consume(f.ctx, rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			got <- tasks[0]
			return done(tasks), nil
		})
	})
	if task := receive(f, got); task.Request != s.ID || task.Offered {
		t.Errorf("task %+v", task)
	}
}

// TestOfferThatFails: a handler that fails or panics on an offer costs no
// attempt; the task is claimed then, and what fails then counts.
func TestOfferThatFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("no") },
		"panic": func() error { panic("a secret") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			var seen []string
			ended := make(chan struct{})
			f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
				seen = append(seen, fmt.Sprint(tasks[0].Offered, tasks[0].Attempts))
				if len(seen) < 3 {
					return queue.Work{}, fail()
				}
				close(ended)
				return done(tasks), nil
			})
			f.listening(1, "fraud")
			f.submit(1)
			receive(f, ended)
			if got := strings.Join(seen, ", "); got != "true 0, false 0, false 1" {
				t.Errorf("delivered as %s", got)
			}
		})
	}
}

// TestRepeatIsNotOffered: of a batch that repeats another request in other bytes
// only the new ones are heard of.
func TestRepeatIsNotOffered(t *testing.T) {
	f := newFixture(t)
	first := f.submit(1)[0]
	got := make(chan queue.Task, 10)
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
		for _, task := range tasks {
			got <- task
		}
		return done(tasks), nil
	})
	receive(f, got)
	f.listening(1, "fraud")
	again, fresh := first, submission()
	again.Body = []byte("the same statement, received later")
	again.Hash = message.Sum(again.Body)
	if _, err := f.silent("proposer").Submit(f.ctx, []queue.Submission{again, fresh}, recipients); err != nil {
		t.Fatal(err)
	}
	if task := receive(f, got); task.Request != fresh.ID || !task.Offered || len(got) != 0 {
		t.Errorf("heard %+v and %d more", task, len(got))
	}
}

// TestOfferLeftToBeRead: of an offered batch the handler ends what it will, and
// what it leaves comes as it is read.
func TestOfferLeftToBeRead(t *testing.T) {
	f := newFixture(t)
	batch := []queue.Submission{submission(), submission(), submission()}
	read := make(chan queue.Task, 10)
	f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
		w := done(tasks)
		for i, task := range tasks {
			if !task.Offered {
				read <- task
			} else if task.Request == batch[1].ID {
				w.Verdicts[i] = queue.Verdict{Disposition: queue.Reread}
			}
		}
		return w, nil
	})
	f.listening(1, "fraud")
	f.submitBatch(batch)
	if task := receive(f, read); task.Request != batch[1].ID || string(task.Body) != string(batch[1].Body) {
		t.Errorf("read %+v", task)
	}
	f.until(3, "SELECT count(*) FROM countersign.reply")
	if n := len(read); n != 0 {
		t.Errorf("%d more were read", n)
	}
}

// TestReplicasShareOffers: all replicas hear every offer. Each task is ended
// once, and the slower soon leave offers to the quicker.
func TestReplicasShareOffers(t *testing.T) {
	f := newFixture(t)
	const n, replicas = 60, 3
	var decided atomic.Int32
	for range replicas {
		f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			decided.Add(int32(len(tasks)))
			return done(tasks), nil
		})
	}
	f.listening(replicas, "fraud")
	for range n {
		f.submit(1)
	}
	f.until(0, fraudTasks)
	if got := f.count("SELECT count(*) FROM countersign.reply"); got != n {
		t.Errorf("%d replies, want %d", got, n)
	}
	if got := decided.Load(); got > n+n/2 {
		t.Errorf("%d requests were decided %d times", n, got)
	}
}

// TestUnparkDuringAnOffer: a task that is wanted again while its offer is decided
// is not parked.
func TestUnparkDuringAnOffer(t *testing.T) {
	f := newFixture(t)
	q := f.queue("fraud")
	entered, voted, again := make(chan uuid.UUID, 1), make(chan struct{}), make(chan struct{})
	first := true
	f.run(func() error {
		return q.Consume(f.ctx, rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			if !first {
				close(again)
				return done(tasks), nil
			}
			first = false
			entered <- tasks[0].Request
			<-voted
			return queue.Work{Verdicts: []queue.Verdict{{Disposition: queue.Park}}}, nil
		})
	})
	f.listening(1, "fraud")
	f.submit(1)
	if err := q.Unpark(f.ctx, "fraud", receive(f, entered)); err != nil {
		t.Fatal(err)
	}
	close(voted)
	receive(f, again)
}

// TestAttackForgedOffers: whatever a service that was taken over tells the others
// of a task, only what the row says is answered, and once.
func TestAttackForgedOffers(t *testing.T) {
	large := submission() // not offered itself
	large.Body = []byte(strings.Repeat("x", 7900))
	large.Hash = message.Sum(large.Body)
	parked := submission()
	for name, payloads := range map[string][]string{
		"no-such-request":    {offerOf(uuid.New(), "made up")},
		"other-bytes":        {offerOf(large.ID, "made up"), offerOf(parked.ID, "made up")},
		"twice-in-one":       {offerOf(parked.ID, "one") + offerOf(parked.ID, "two")},
		"with-the-true-one":  {offerOf(large.ID, string(large.Body[:5000])) + offerOf(parked.ID, string(parked.Body))},
		"malformed":          {"|", "|.", "|x.y", "|" + text([]byte("short")) + "." + text([]byte("x")), "||||", "a|b|c", "|" + strings.Repeat(".", 7000)},
		"more-than-are-kept": slices.Repeat([]string{strings.Repeat(offerOf(uuid.New(), "x"), 250)}, 8),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.submitBatch([]queue.Submission{large, parked})
			f.attack("UPDATE countersign.task SET state = 1, available_at = 'infinity'")
			heard := make(chan struct{}, 10000)
			f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
				heard <- struct{}{}
				return done(tasks), nil
			})
			f.listening(1, "fraud")
			for _, payload := range payloads {
				f.notify(taskChannel, payload)
			}
			if name != "malformed" {
				receive(f, heard)
			}
			after := f.submit(1)[0]
			f.until(1, "SELECT count(*) FROM countersign.reply WHERE request_id = $1", after.ID)
			if n := f.count("SELECT count(*) FROM countersign.reply p LEFT JOIN countersign.request r ON r.id = p.request_id WHERE r.body IS DISTINCT FROM p.body"); n != 0 {
				t.Errorf("%d replies to what nobody submitted", n)
			}
			if n := f.count(fraudTasks + " AND state = 1 AND attempts = 0"); n != 2 {
				t.Errorf("%d of 2 tasks are as they were", n)
			}
		})
	}
}

// A chain of fraud's records, as far as the queue knows one.
func (f *fixture) record(seq int64, mac message.Hash) {
	f.Helper()
	f.attack("INSERT INTO countersign.record (role, seq, body, mac) VALUES ('fraud', $1, 'x', $2)", seq, mac[:])
}

// TestStaleBasisWritesNothing: where the chain does not end with the record that
// a decision rests on, nothing is written, in whichever form it settles, until it
// rests on the newest.
func TestStaleBasisWritesNothing(t *testing.T) {
	one, two := message.Sum([]byte("one")), message.Sum([]byte("two"))
	reply := &queue.Reply{Body: []byte("stale")}
	for name, change := range map[string]string{
		"grown":     "INSERT INTO countersign.record (role, seq, body, mac) VALUES ('fraud', 3, 'x', '\\x33')",
		"emptied":   "DELETE FROM countersign.record",
		"shortened": "DELETE FROM countersign.record WHERE seq = 2",
		"replaced":  "UPDATE countersign.record SET mac = '\\x33' WHERE seq = 2",
		"moved":     "UPDATE countersign.record SET seq = 7 WHERE seq = 2",
	} {
		for form, verdict := range map[string]queue.Verdict{
			"settle": {Disposition: queue.Done, Reply: reply}, "silently": {Disposition: queue.Done},
			"keep": {Disposition: queue.Park}, "mixed": {Disposition: queue.Park, Reply: reply},
		} {
			if form != "settle" && name != "grown" {
				continue // the condition is the same
			}
			for _, offered := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/offered=%v", name, form, offered), func(t *testing.T) {
					f := newFixture(t)
					f.record(1, one)
					f.record(2, two)
					if !offered {
						f.submit(1)
					}
					var mu sync.Mutex
					calls := 0
					f.hears("fraud", rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
						mu.Lock()
						defer mu.Unlock()
						calls++
						switch calls {
						case 1:
							if tasks[0].Offered != offered {
								f.Errorf("offered: %v", tasks[0].Offered)
							}
							f.attack(change)
						case 2, 3: // and again
							f.until(1, fraudTasks+" AND state = 0 AND note = ''")
						default:
							f.attack("DELETE FROM countersign.record")
							f.record(9, one)
							return queue.Work{Verdicts: []queue.Verdict{{Disposition: queue.Done, Reply: &queue.Reply{Body: []byte("true")}}}, Basis: &queue.Basis{Seq: 9, MAC: one}}, nil
						}
						return queue.Work{Verdicts: []queue.Verdict{verdict}, Basis: &queue.Basis{Seq: 2, MAC: two}}, nil
					})
					f.listening(1, "fraud")
					if offered {
						f.submit(1)
					}
					f.until(0, fraudTasks)
					if n := f.count("SELECT count(*) FROM countersign.reply WHERE body <> 'true'"); n != 0 {
						t.Errorf("%d replies rest on old records", n)
					}
				})
			}
		}
	}
}

// TestStopWithOffersWaiting: a consumer that stops leaves what it was offered to
// others.
func TestStopWithOffersWaiting(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(f.ctx)
	entered, ended := make(chan struct{}), make(chan error, 1)
	q := f.queue("fraud")
	resume := make(chan struct{})
	var calls atomic.Int32
	go func() {
		ended <- q.Consume(ctx, rare(), func(_ context.Context, tasks []queue.Task) (queue.Work, error) {
			if calls.Add(1) == 1 {
				close(entered)
				<-resume
			}
			return done(tasks), nil
		})
	}()
	f.listening(1, "fraud")
	f.submit(1)
	receive(f, entered)
	for range 5 {
		f.submit(1)
	}
	stop()
	close(resume)
	if err := receive(f, ended); err != nil || calls.Load() != 1 {
		t.Errorf("%d batches, %v", calls.Load(), err)
	}
	f.consume(f.queue("fraud"), rare(), func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
		return done(tasks).Verdicts, nil
	})
	f.until(6, "SELECT count(*) FROM countersign.reply")
}
