package queue

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/countersign/countersign/internal/database"
)

// Queue is one service's access to the queue. It is safe for concurrent use.
// A transaction handed to Finish must come from the same pool.
type Queue struct {
	db       *sql.DB
	config   database.Config
	own      string // the service that is logged in, which is its consumer name
	log      *slog.Logger
	sql      *statements
	signals  *signals
	awaiting *awaiting
	waking   *waking
	observer Observer

	mu       sync.Mutex
	wanted   map[string]bool // channels that somebody here waits on
	listener *pq.Listener    // while Run runs
}

// New returns a queue on a pool; config is how the listener connects, as the
// same user. Without Run everything works by polling alone.
func New(db *sql.DB, config database.Config, log *slog.Logger) *Queue {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		db: db, config: config, own: database.Service(config.User), log: log,
		sql: newStatements(), signals: newSignals(), wanted: map[string]bool{}, observer: unobserved{},
	}
	q.awaiting, q.waking = newAwaiting(q), &waking{queue: q}
	return q
}

// The channels of NOTIFY. Any role can notify on any of them, and hear them all.
// A notification says where to look, or offers what is there: see offer.go.
const (
	channelTask   = "countersign_task"
	channelReply  = "countersign_reply"
	channelResult = "countersign_result"
	channelNotice = "countersign_notice"
)

// relook is how often followers of notices are woken without a notification,
// in case one was lost.
const relook = 5 * time.Second

// ping is how often an idle listener checks that its connection lives.
const ping = 30 * time.Second

// Run listens for notifications until ctx is done; it then returns nil. It
// reconnects by itself.
func (q *Queue) Run(ctx context.Context) error {
	listener, err := database.NewListener(q.config, q.connectionEvent)
	if err != nil {
		return err
	}
	stop := q.listen(listener)
	defer stop()
	look, alive := time.NewTicker(relook), time.NewTicker(ping)
	defer look.Stop()
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case n, ok := <-listener.Notify:
			if !ok {
				return nil
			}
			q.notified(n)
		case <-look.C:
			q.signals.allNotices()
		case <-alive.C:
			go func() { _ = listener.Ping() }() // it reconnects when this fails
		}
	}
}

// listen subscribes to the channels that are wanted now, and want to those
// that are wanted later. What it returns ends that.
func (q *Queue) listen(listener *pq.Listener) func() {
	var subscribing sync.WaitGroup
	q.mu.Lock()
	q.listener = listener
	for channel := range q.wanted {
		subscribing.Go(func() { q.subscribe(listener, channel) })
	}
	q.mu.Unlock()
	return func() {
		q.mu.Lock()
		q.listener = nil
		q.mu.Unlock()
		_ = listener.Close() // a connection that is dead already is no fault
		subscribing.Wait()
	}
}

// subscribe waits for a connection. What came before was not heard, so that
// everybody looks once.
func (q *Queue) subscribe(listener *pq.Listener, channel string) {
	if err := listener.Listen(channel); err != nil && !errors.Is(err, pq.ErrChannelAlreadyOpen) {
		q.log.Debug("not listening", "channel", channel, "error", err)
		return
	}
	q.everything()
}

// want makes Run listen on a channel from now on.
func (q *Queue) want(channel string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wanted[channel] {
		return
	}
	q.wanted[channel] = true
	if q.listener != nil {
		go q.subscribe(q.listener, channel)
	}
}

func (q *Queue) connectionEvent(event pq.ListenerEventType, err error) {
	switch event {
	case pq.ListenerEventDisconnected, pq.ListenerEventConnectionAttemptFailed:
		q.log.Warn("queue listener is not connected", "error", err)
	case pq.ListenerEventReconnected:
		q.log.Info("queue listener reconnected")
	case pq.ListenerEventConnected:
		q.log.Debug("queue listener connected")
	}
}

// notified passes a notification on; nil stands for any that were lost.
func (q *Queue) notified(n *pq.Notification) {
	if n == nil {
		q.everything()
		return
	}
	switch n.Channel {
	case channelTask:
		if names, offered := parseTasks(n.Extra); len(offered) > 0 {
			q.signals.offered(offered)
		} else {
			q.signals.tasks(names)
		}
	case channelReply:
		q.signals.replies(parseReplies(n.Extra))
	case channelResult:
		if r, ok := parseResult(n.Extra); ok {
			q.awaiting.offered(r)
			q.waking.ended([]uuid.UUID{r.Request})
		} else {
			list := parseIDs(n.Extra)
			q.awaiting.ended(list)
			q.waking.ended(list)
		}
	case channelNotice:
		q.signals.notice(n.Extra)
	}
}

func (q *Queue) everything() {
	q.signals.missed()
	q.signals.replies(replyHint{})
	q.signals.allNotices()
	q.awaiting.ended(nil)
	q.waking.missed()
}

// Changed returns a channel that is signalled when the topic may have new
// notices: after a notification, and every few seconds in case one was lost.
// Signals that are not taken are merged. Each call makes a channel that lives
// as long as the queue: call it once per follower.
func (q *Queue) Changed(topic string) <-chan struct{} {
	q.want(channelNotice)
	return q.signals.follow(topic)
}
