package auditpg_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/audit/auditpg"
	"github.com/countersign/countersign/internal/database/databasetest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/queue"
)

// TestEntriesAreWrittenWithTheirSteps: an intent and a result each come with
// their entry; of two results only the first one is an end.
func TestEntriesAreWrittenWithTheirSteps(t *testing.T) {
	d := databasetest.New(t)
	db := d.As("signing")
	q, log := queue.New(db, d.Config("signing"), nil), auditpg.New(db)
	request := submit(t, queue.New(d.As("proposer"), d.Config("proposer"), nil))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	finish := func(ctx context.Context) error {
		defer stop()
		for _, body := range []string{"first", "second"} {
			if _, err := q.Finish(ctx, nil, []queue.Result{{Request: request, Status: "signed", Body: []byte(body)}}); err != nil {
				return err
			}
		}
		return nil
	}
	g := queue.Gatherer{
		Consumer: queue.Consumer{Name: "signing", Lease: time.Minute}, Senders: []string{"fraud"},
		Epochs: func() []message.EpochID { return []message.EpochID{{1}} },
	}
	err := q.Gather(ctx, g, func(context.Context, []queue.Gathered) (queue.Work, error) {
		return queue.Work{
			Verdicts: []queue.Verdict{{Disposition: queue.Hold}},
			Intents:  []queue.Intent{{Request: request, Instance: "i", Body: []byte("intent")}},
			After:    finish,
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []audit.Entry{
		{Kind: audit.KindIntent, Request: request, Body: []byte("intent")},
		{Kind: audit.KindResult, Request: request, Body: []byte("first")},
	}
	if got, err := log.Of(t.Context(), request); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("entries %v, %v, want %v", got, err, want)
	}
}

// submit writes a request that is overdue, so that it is gathered at once.
func submit(t *testing.T, q *queue.Queue) uuid.UUID {
	t.Helper()
	s := queue.Submission{ID: uuid.Must(uuid.NewV7()), Body: []byte("envelope"), Expires: time.Now().Add(-time.Second)}
	if _, err := q.Submit(t.Context(), []queue.Submission{s}, queue.Recipients{Consumers: []string{"signing"}}); err != nil {
		t.Fatal(err)
	}
	return s.ID
}
