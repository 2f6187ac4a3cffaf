package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/queue"
)

// heard is what an observer was told, in words.
type heard struct {
	what  string
	tasks int
	took  time.Duration
}

type observer chan heard

func (o observer) Settled(consumer string, verdicts []queue.Verdict, took time.Duration) {
	o <- heard{consumer + " settled", len(verdicts), took}
}

func (o observer) Failed(consumer string, tasks int, lost bool) {
	what := consumer + " failed"
	if lost {
		what = consumer + " lost"
	}
	o <- heard{what: what, tasks: tasks}
}

// An observer hears how each delivery ended, and how long it took.
func TestObserve(t *testing.T) {
	const work = 20 * time.Millisecond
	done := func(tasks []queue.Task) []queue.Verdict {
		return all(len(tasks), queue.Verdict{Disposition: queue.Done})
	}
	for name, tt := range map[string]struct {
		handle func(f *fixture, tasks []queue.Task) ([]queue.Verdict, error)
		want   string
	}{
		"settled": {
			handle: func(_ *fixture, tasks []queue.Task) ([]queue.Verdict, error) {
				time.Sleep(work)
				return done(tasks), nil
			}, want: "fraud settled",
		},
		"fail/handler": {
			handle: func(*fixture, []queue.Task) ([]queue.Verdict, error) { return nil, errors.New("no") },
			want:   "fraud failed",
		},
		"fail/lease-lost": {
			handle: func(f *fixture, tasks []queue.Task) ([]queue.Verdict, error) {
				_, err := f.db.Owner.ExecContext(f.ctx, "DELETE FROM countersign.task WHERE consumer = 'fraud'")
				return done(tasks), err
			}, want: "fraud lost",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.submit(2)
			q, o := f.silent("fraud"), make(observer, 100)
			q.Observe(o)
			f.consume(q, queue.Consumer{Name: "fraud", Workers: 1}, func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				return tt.handle(f, tasks)
			})
			got := receive(f, o)
			if got.what != tt.want || got.tasks != 2 {
				t.Errorf("heard %+v, want 2 tasks %s", got, tt.want)
			}
			if name == "settled" && (got.took < work || got.took > patience) {
				t.Errorf("it took %v, want more than the %v of work", got.took, work)
			}
		})
	}
}
