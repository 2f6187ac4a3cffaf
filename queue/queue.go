// Package queue is the transaction queue: PostgreSQL tables that carry opaque
// bytes from the proposer to every consumer, replies from the consumers to the
// one who gathers them, and results back.
//
// It promises scheduling and durability, nothing else: whoever controls the
// database can insert, change, delete and replay every row, so no reader may
// believe one. It knows nothing of policies, wallets or keys.
//
// A consumer leases a batch in one statement, works with nothing open and
// nothing locked, and writes its output and its acknowledgement in one other
// statement, which fails as a whole where a task is not there any more: a crash
// means redelivery when the lease is over, never loss, never a second output.
// Any number of replicas of a consumer may run. Each commit sends one NOTIFY;
// polling lies underneath, so that a lost notification costs time only. All
// leases use the database's clock.
package queue

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
)

// Submission is one request on its way into the queue.
type Submission struct {
	ID uuid.UUID
	// Body is the envelope; Hash its SHA-256.
	Body []byte
	Hash message.Hash
	// Fingerprint tells a repeated submission (same fingerprint) from another
	// one under the same id: the SHA-256 of the statement's bytes.
	Fingerprint message.Hash
	// Owner is the user id that the proposer let in, for lists and answers.
	Owner   string
	Kind    string
	Wallet  string
	Expires time.Time
	// Later are further consumers, of this submission alone, whose work begins when
	// the request has ended: see Consumer.Ended. Nothing is offered to them.
	Later []string
}

// Outcome is what became of a submission.
type Outcome int

// The outcomes of Submit.
const (
	Accepted Outcome = iota // new, queued
	Repeated                // same id, owner and fingerprint: the first one stands
	Conflict                // same id, but another fingerprint or owner: refused
)

// Task is one request as one consumer receives it.
type Task struct {
	Request   uuid.UUID
	Body      []byte
	Hash      message.Hash // as stored: the consumer recomputes it
	Submitted time.Time
	Expires   time.Time // by the database's clock: the statement has the true one; zero if Offered
	// Attempts counts earlier deliveries that failed; 0 at first.
	Attempts int
	// Offered says that a notification told all this and nothing of it was read.
	// Anybody who is logged in can have sent it, so that only what is harmless where
	// it is forged may be made of it; all else is left by Reread. What is written
	// holds only where the request's row has this Hash.
	Offered bool
	// Ended says that the request has a result: only a consumer that asks for Ended
	// gets such a task.
	Ended bool
}

// Disposition is what a consumer says of a task when it is through with it.
type Disposition int

// The dispositions. A zero Verdict is invalid, so that nothing is acknowledged
// by forgetting.
const (
	Done   Disposition = iota + 1 // acknowledged, the task is gone
	Park                          // kept aside until Unpark or until Delay is over
	Retry                         // delivered again after Delay, a minute at most
	Dead                          // put aside for good with Note as the reason
	Await                         // of a gatherer: kept until a newer reply arrives
	Hold                          // of a gatherer: stays leased, until Finish or the lease's end
	Reread                        // of an offered task: nothing is written; delivered again as it is read
)

// Reply is one consumer's answer to a request, for those who gather.
type Reply struct {
	Sender     string
	Body       []byte
	Attachment []byte
	Epochs     []message.EpochID
	// Decisive says that this reply alone ends the gathering: a rejection.
	Decisive bool
	Created  time.Time // set by the database
}

// Verdict ends a consumer's work on one task. Where Unpark came while the task
// was being worked on, Park and Retry make it ready at once.
type Verdict struct {
	Disposition Disposition
	Delay       time.Duration // for Park (0: until Unpark) and Retry
	Note        string        // shown to people; believed by nobody
	Reply       *Reply        // written in the same statement
}

// Handler works on a batch and returns one verdict for each task, in order, with
// no intents and nothing to be done after. A batch is offered as a whole or not
// at all.
// The tasks are leased, not locked: where the work takes longer than the lease
// another replica may get them too, and the verdicts of the first to be written
// stand; those of the other are dropped. The verdicts of a batch are
// written together or not at all. After an error the tasks are delivered
// again one by one, each with Attempts raised, and the one that still fails
// after MaxAttempts is Dead. The context is not cancelled when the service
// stops: a batch that was begun is finished.
type Handler func(ctx context.Context, tasks []Task) (Work, error)

// Consumer says how Consume works. Name is the consumer's name, which is also
// what its database role may touch.
type Consumer struct {
	Name        string
	Batch       int           // most tasks that are leased together
	Workers     int           // concurrent batches
	Poll        time.Duration // how often to look without being woken
	MaxAttempts int
	// Lease is how long others wait for a batch that its owner does not end,
	// such as one that has died; 0: 5 s, at most a minute.
	Lease time.Duration
	// Ended says that the work is about how requests end: tasks are delivered, and
	// not swept away, also when their request has its result, which makes each of
	// them ready once, and nothing is offered. Until then the handler parks them.
	Ended bool
	// AfterCommit, if set, is called with the tasks and verdicts of each batch
	// when they are written.
	AfterCommit func(tasks []Task, verdicts []Verdict)
}

// Gathered is a request whose replies are there, or whose time is over.
type Gathered struct {
	Task
	// Replies are all replies that name one of the gatherer's epochs, newest
	// last, at most MaxReplies, the newest of each sender among them.
	Replies []Reply
	// Overdue says that the request's expiry has passed by the database's
	// clock: a hint to look at the statement's own.
	Overdue bool
	// Cancelled says that the request was cancelled before any intent stood.
	Cancelled bool
}

// Gatherer says what Gather waits for: requests that have a reply from each
// of the senders for one of the epochs, or one decisive reply for one of
// them, newer than what was last awaited; and overdue requests.
type Gatherer struct {
	Consumer
	Senders []string
	// Epochs returns the gatherer's live epochs at this moment.
	Epochs func() []message.EpochID
	// Heard, if set, is told of a request that was offered and of each reply to
	// it that was, as these come: some work can be done before the last. It must
	// not block, and nothing depends on it.
	Heard func(task Task, reply Reply)
}

// Work is what a gatherer has made of a batch. The queue writes the intents
// with their audit entries (audit.KindIntent), durably; then the verdicts; then
// it calls After, if set. Where a write fails the rest does not happen.
type Work struct {
	Verdicts []Verdict // one for each request, in order
	Intents  []Intent
	After    func(context.Context) error
	// Basis, if set, is the newest record that a consumer of that name knew when
	// it decided: nothing is written where its chain ends with another.
	Basis *Basis
}

// Basis names a record of countersign.record by its place and its MAC.
type Basis struct {
	Seq int64
	MAC message.Hash
}

// Recipients are those for whom a submission makes tasks. A task of Consumers
// that is offered in its notification is not claimed for a moment; the
// gatherer's is for whoever has the replies first.
type Recipients struct {
	Consumers []string
	Gatherer  string // empty: none
}

// GatherHandler works on a batch of gathered requests: what is said of Handler
// holds. With Hold as a verdict the request stays leased for what After does,
// which ends it by Finish. Of an offered request all that counts is Hold with an
// intent, which leases it, or Reread.
type GatherHandler func(ctx context.Context, batch []Gathered) (Work, error)

// Result is a request's end.
type Result struct {
	Request uuid.UUID
	Status  string
	Body    []byte
	Created time.Time
}

// Intent is what the signing service commits before it signs.
type Intent struct {
	Request  uuid.UUID
	Instance string
	Body     []byte
}

// Notice is a message that every instance concerned reads and none consumes:
// a hello, an announcement, a policy document. Topic and Key name it.
type Notice struct {
	Topic   string
	Key     string
	Sender  string
	Body    []byte
	Expires time.Time // zero: never; of one that was read, by the database's clock
	Created time.Time // set by the database
}

// The topics of notices.
const (
	TopicHello        = "hello"
	TopicAnnouncement = "announcement"
	TopicPolicy       = "policy"
	TopicList         = "list" // the file of a policy's list, under its SHA-256
)

// View is a request as the API shows it: display only, believed by nobody.
// Replies come without their attachments.
type View struct {
	Submission
	Submitted time.Time
	Replies   []Reply
	Tasks     []TaskView
	Result    *Result
}

// TaskView is one consumer's open task.
type TaskView struct {
	Consumer string
	State    string // ready, parked, dead
	Note     string
}

// Filter selects requests for a list, newest first. Before is the id to go on
// from (UUIDv7 sort by time); zero: from the newest.
type Filter struct {
	Owner  string
	Status string // of the result, or "pending"; empty: all
	// ParkedBy asks for those alone that one of these consumers has put aside.
	ParkedBy []string
	Kind     string
	Wallet   string
	Before   uuid.UUID
	Limit    int
}

// ErrNotFound says that there is no such request.
var ErrNotFound = errors.New("no such request")
