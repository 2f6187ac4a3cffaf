package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// pipeline runs three roles and a gatherer that do nothing but pass requests
// on, over durable commits.
type pipeline struct {
	db       *databasetest.DB
	proposer *queue.Queue
}

func newPipeline(b *testing.B) *pipeline {
	b.Helper()
	d := databasetest.New(b)
	for _, s := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if _, err := d.Owner.Exec("ALTER SYSTEM SET " + s + " = on"); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := d.Owner.Exec("SELECT pg_reload_conf()"); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	b.Cleanup(func() { cancel(); wg.Wait() })
	open := func(service string) *queue.Queue {
		q := queue.New(d.Open(service), d.Config(service), slog.New(slog.DiscardHandler))
		wg.Go(func() { _ = q.Run(ctx) })
		return q
	}
	body := make([]byte, 1200)
	for _, role := range roles {
		q := open(role)
		wg.Go(func() {
			_ = q.Consume(ctx, queue.Consumer{Name: role, Batch: 64, Workers: 2}, decide(func(_ context.Context, tasks []queue.Task) ([]queue.Verdict, error) {
				return all(len(tasks), queue.Verdict{Disposition: queue.Done, Reply: &queue.Reply{Body: body, Attachment: body[:400], Epochs: []message.EpochID{epochA}}}), nil
			}).handle)
		})
	}
	signing := open("signing")
	g := gatherer(time.Second, epochA, roles...)
	g.Batch = 64
	inner := finishing(signing)
	wg.Go(func() {
		_ = signing.Gather(ctx, g, func(ctx context.Context, batch []queue.Gathered) (queue.Work, error) {
			work, err := inner(ctx, batch)
			for _, one := range batch {
				work.Intents = append(work.Intents, queue.Intent{Request: one.Request, Instance: "i", Body: body[:300]})
			}
			return work, err
		})
	})
	p := &pipeline{db: d, proposer: open("proposer")}
	for range 50 { // statements prepared, listeners listening
		p.one(b)
	}
	return p
}

func (p *pipeline) one(b *testing.B) {
	s := submission()
	if _, err := p.proposer.Submit(context.Background(), []queue.Submission{s}, recipients); err != nil {
		b.Fatal(err)
	}
	if _, err := p.proposer.Await(context.Background(), s.ID); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRequest is the way of one request through the queue alone, against
// one durable commit of a row.
func BenchmarkRequest(b *testing.B) {
	p := newPipeline(b)
	commit := p.commit(b)
	var times []time.Duration
	before := p.cost(b)
	for b.Loop() {
		start := time.Now()
		p.one(b)
		times = append(times, time.Since(start))
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	median := times[len(times)/2]
	p.report(b, before, len(times))
	b.ReportMetric(float64(median)/float64(commit), "commits/op")
	b.ReportMetric(float64(median.Microseconds()), "p50-µs")
	b.ReportMetric(float64(commit.Microseconds()), "commit-µs")
}

func (p *pipeline) commit(b *testing.B) time.Duration {
	b.Helper()
	db := p.db.As("signing")
	stmt, err := db.Prepare("INSERT INTO countersign.audit_entry (kind, body) VALUES ('bench', $1)")
	if err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for range 300 {
		start := time.Now()
		if _, err := stmt.Exec(make([]byte, 400)); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[len(times)/2]
}

// BenchmarkThroughput has 256 clients, whose submissions are grouped as the
// proposer does.
func BenchmarkThroughput(b *testing.B) {
	p := newPipeline(b)
	incoming := make(chan queue.Submission, 256)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { p.group(b, incoming) })
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	before := p.cost(b)
	b.ResetTimer()
	var clients sync.WaitGroup
	for range 256 {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				s := submission()
				incoming <- s
				if _, err := p.proposer.Await(context.Background(), s.ID); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	p.report(b, before, b.N)
	close(incoming)
	wg.Wait()
}

func (p *pipeline) group(b *testing.B, incoming <-chan queue.Submission) {
	for s := range incoming {
		batch := []queue.Submission{s}
		for len(batch) < 64 && len(incoming) > 0 {
			if next, ok := <-incoming; ok {
				batch = append(batch, next)
			}
		}
		if _, err := p.proposer.Submit(context.Background(), batch, recipients); err != nil {
			b.Error(fmt.Errorf("submitting: %w", err))
		}
	}
}
