package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/queue"
)

// keepRejections is how long a rejection is remembered beyond its statement's
// expiry, after which the statement is refused for its age alone. It is long
// so that nothing that matters is forgotten by a clock that is off.
const keepRejections = 24 * time.Hour

// Expired rejections are dropped from memory after so long, or so many.
const (
	forgetEvery = 10 * time.Minute
	forgetAfter = 4096
)

// maxRounds is how often in a row other instances may be quicker. Each time one
// of them has got on; a batch that takes longer than theirs is better left to
// them.
const maxRounds = 64

// Why a batch is put off.
var (
	errContended = errors.New("other instances of the role were quicker each time")
	errRefused   = errors.New("the record chain takes no entry: a request was only heard of or is answered, or for no reason that it shows")
)

// memory is what the role knows: the fold of its chain. mu is held while a
// batch is decided and its records are appended, so that decisions of one
// process come one after another. Across processes the chain orders them: what
// was decided without the newest entry cannot be appended.
type memory struct {
	decider  Decider
	recorder Recorder // nil if the decider has no state
	rereader Rereader // nil if it forgets nothing by itself
	watch    *clock.Watch
	log      *slog.Logger

	mu         sync.Mutex
	chain      *history.Chain
	unread     bool                     // the chain has not been read to its end, or not since the decider forgot
	rejections map[message.Hash]refusal // by statement hash
	newest     time.Time                // of all rejections' times
	forgot     time.Duration            // when rejections were last dropped, by the watch
	remembered int                      // since then
	freezes    freezes
	fresh      []*freezing // of the batch that is being decided
	// policy is the newest document that was ever decided under.
	policy message.PolicyRef
	// unsure says that verdicts were given out whose basis has not been confirmed.
	unsure atomic.Bool

	seen atomic.Pointer[seen] // of Records
}

func newMemory(decider Decider, chain *history.Chain, now func() time.Time, log *slog.Logger) *memory {
	m := &memory{
		decider: decider, watch: &clock.Watch{Now: now}, log: log, chain: chain, unread: true,
		rejections: map[message.Hash]refusal{}, freezes: newFreezes(),
	}
	m.watch.Read() // from now on a jump is one
	m.recorder, _ = decider.(Recorder)
	m.rereader, _ = decider.(Rereader)
	return m
}

// catchUp folds what others have appended.
func (m *memory) catchUp(ctx context.Context) error {
	if err := m.chain.CatchUp(ctx, m.fold); err != nil {
		return err
	}
	m.unread = false
	return nil
}

// retain has the decider know all that it needs under a document. If it has
// forgotten some, the chain is read from its beginning again, before anything is
// decided; what the runtime itself keeps stays, and is no other when it is
// folded twice.
func (m *memory) retain(active *document.Active) {
	if m.rereader == nil || m.chain.Broken() != nil || m.retained(active) {
		return
	}
	m.log.Info("policy document looks further back than what is in memory: reading the role's records again")
	m.rereader.Forget()
	m.chain.Rewind()
	m.unread = true
}

// retained asks the decider. One that panics will do so again when it decides,
// which denies.
func (m *memory) retained(active *document.Active) (complete bool) {
	defer func() {
		if recover() != nil { // its value could hold anything
			m.log.Error("decider panicked", "stack", string(debug.Stack()))
			complete = true
		}
	}()
	return m.rereader.Retain(active)
}

// fold takes one verified entry over.
func (m *memory) fold(e history.Entry) error {
	records, err := decodeEntry(e.Body)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Kind == recordDecider {
			if err := m.replay(r.Body); err != nil {
				return err
			}
		}
		m.learn(r)
	}
	return nil
}

// learn takes over a record that is the runtime's own.
func (m *memory) learn(r record) {
	switch r.Kind {
	case recordPolicy:
		if r.Policy.Version > m.policy.Version {
			m.policy = *r.Policy
		}
	case recordRejection:
		m.remember(r.Rejection)
	case recordFreeze:
		m.freezes.add(r.Freeze)
	}
}

// remember keeps the first rejection of a statement.
func (m *memory) remember(r *rejection) {
	if r.Time.After(m.newest) {
		m.newest = r.Time.Time
	}
	if _, known := m.rejections[r.Statement]; known {
		return
	}
	m.rejections[r.Statement] = r.refusal()
	if m.remembered++; m.remembered >= forgetAfter {
		m.drop()
	}
}

func (m *memory) replay(body []byte) (err error) {
	if m.recorder == nil {
		return errors.New("record of a decider that keeps none")
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("replaying record: %w", errPanic)
		}
	}()
	return m.recorder.Replay(body)
}

// decide decides a batch. Without an error every item has a decision that rests
// on all that this instance knew. What must be remembered of them is committed,
// behind all that the role knew; where there was nothing to remember the basis
// says what they rest on, and holds them to it when they are given out. Speak
// puts the decisions into words, after each of which there may be others.
func (m *memory) decide(ctx context.Context, items []*item, speak func()) (*queue.Basis, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	m.retain(items[0].request.Policy)
	if m.unsure.Load() {
		if err := m.catchUp(ctx); err != nil && !denies(err) {
			return nil, err
		}
	}
	recorded, err := m.settle(ctx, heard(items), func() ([]record, error) { return m.decideAll(ctx, items) }, speak)
	switch {
	case denies(err):
		denyAll(items)
		speak()
		return nil, nil
	case err != nil || recorded:
		return nil, err
	}
	speak()
	m.unsure.Store(true)
	head := m.chain.Head()
	return &queue.Basis{Seq: head.Seq, MAC: head.MAC}, nil
}

// heard lists the requests of a batch that was offered: anybody may have sent
// them, and they count only as they are stored.
func heard(items []*item) (out []history.Request) {
	for _, it := range items {
		if it.task.Offered {
			out = append(out, history.Request{ID: it.task.Request.String(), Hash: it.task.Hash})
		}
	}
	return out
}

// confirm says that the last verdicts were given out.
func (m *memory) confirm() { m.unsure.Store(false) }

// denies reports whether an error of the chain is one that no retry mends.
func denies(err error) bool {
	return errors.Is(err, history.ErrBroken) || errors.Is(err, history.ErrEmpty)
}

// denyAll rejects everything that is not a request's own fault already.
// Nothing is recorded: there is nowhere to.
func denyAll(items []*item) {
	for _, it := range items {
		it.decision = Decision{Verdict: Reject, Reasons: because(ReasonHistory, "the service's own records are broken")}
	}
}

// settle repeats work, which returns what is to be recorded, until that stands
// in the chain right behind all that it was worked out on; recorded is false
// where there was nothing. Nobody looks at the chain first: an append fails where
// others have appended, or what was heard is not what is stored and open.
// Meanwhile is called while an append is under way, for what may be thrown away
// again.
func (m *memory) settle(ctx context.Context, heard []history.Request, work func() ([]record, error), meanwhile func()) (recorded bool, err error) {
	if m.chain.Broken() != nil || m.unread {
		if err := m.catchUp(ctx); err != nil {
			return false, err
		}
	}
	for range maxRounds {
		recorded, err = m.attempt(ctx, heard, work, meanwhile)
		if !errors.Is(err, history.ErrConflict) {
			return recorded, err
		}
		before := m.chain.Head()
		if err := m.catchUp(ctx); err != nil {
			return false, err
		}
		if m.chain.Head() == before {
			return false, errRefused
		}
	}
	return false, errContended
}

// attempt appends what work returns and reports whether that was anything. What
// work has replayed is kept only where the append is known to be committed.
// Where its fate is unknown, and it is in the chain all the same, catching up
// finds it as it finds another instance's.
func (m *memory) attempt(ctx context.Context, heard []history.Request, work func() ([]record, error), meanwhile func()) (done bool, err error) {
	if m.recorder != nil {
		m.recorder.Mark()
		defer func() {
			if done {
				m.recorder.Keep()
			} else {
				m.recorder.Undo()
			}
		}()
	}
	records, err := work()
	if err != nil || len(records) == 0 {
		return false, err
	}
	bodies, err := encodeEntries(records)
	if err != nil {
		return false, fmt.Errorf("encoding records: %w", err)
	}
	spoken := m.beside(meanwhile)
	err = m.chain.AppendFor(ctx, heard, bodies...)
	failed := <-spoken
	if err != nil {
		return false, err
	}
	for _, r := range records {
		m.learn(r)
	}
	return true, failed
}

// beside runs f beside the caller, and tells how it ended. A panic of f is a
// failed delivery, and takes nothing back of what was appended meanwhile.
func (m *memory) beside(f func()) <-chan error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			var err error
			if recover() != nil { // its value could hold anything
				m.log.Error("putting decisions into words panicked", "stack", string(debug.Stack()))
				err = errPanic
			}
			ended <- err
		}()
		f()
	}()
	return ended
}

// errOldPolicy says that the role has decided under a newer policy document,
// or under another one of the same version, than the one that is active here.
var errOldPolicy = errors.New("the active policy document is not the newest that this role has seen")

// follows reports whether one may decide under next after seen.
func follows(seen, next message.PolicyRef) bool {
	return next.Version > seen.Version || next == seen
}

func (m *memory) newestPolicy() message.PolicyRef {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.policy
}

// decideAll decides each item on what is known, in order, and returns what is
// to be recorded. Deciders' records are folded at once, so that the next item
// is decided on them.
func (m *memory) decideAll(ctx context.Context, items []*item) ([]record, error) {
	var added []record
	policy := items[0].request.Policy.Ref
	if !follows(m.policy, policy) {
		return nil, errOldPolicy
	}
	if policy != m.policy {
		added = append(added, record{Kind: recordPolicy, Policy: &policy})
	}
	m.fresh = m.fresh[:0]
	for _, it := range inOrder(items) {
		records, err := m.decideOne(ctx, it)
		if err != nil {
			return nil, err
		}
		added = append(added, records...)
	}
	return added, nil
}

func (m *memory) decideOne(ctx context.Context, it *item) ([]record, error) {
	if it.retry != "" {
		return nil, nil
	}
	if old, known := m.rejections[it.statement]; known && it.parsed {
		it.decision = Decision{Verdict: Reject, Reasons: old.reasons()}
		return nil, nil
	}
	it.decision = it.refused
	if it.refused.Verdict == 0 {
		it.decision = m.rule(ctx, it)
	}
	if it.decision.Verdict == Reject && it.early() {
		it.retry = "the statement's signature is from the future, by this service's clock"
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err // a decider that was interrupted has not decided
	}
	if it.task.Offered && it.final() {
		return nil, nil // it is read first: see verdict
	}
	if it.dry() {
		return nil, nil // nothing of it is kept
	}
	records := m.foldDecision(it)
	if made := m.made(it); made != nil {
		records = append(records, record{Kind: recordFreeze, Freeze: made})
	}
	if it.decision.Verdict == Reject && it.lasting() {
		records = append(records, record{Kind: recordRejection, Rejection: it.rejection(m.watch.Read().Wall)})
	}
	return records, nil
}

// rule decides what is no fault of the request's own.
func (m *memory) rule(ctx context.Context, it *item) Decision {
	if it.request.Meaning.Freeze != nil {
		return m.freeze(it)
	}
	if f := m.stops(it.request); f != nil {
		return f.rejection()
	}
	asked := it.request
	asked.Frozen = m.frozen(asked)
	return ask(ctx, m.decider, asked, m.log)
}

// maxRecord is the most bytes of a decider's record for which an entry has room,
// base64 and all.
const maxRecord = (history.MaxBody - 1<<10) / 4 * 3

// foldDecision folds the decider's records. A decider that cannot read its
// own record denies.
func (m *memory) foldDecision(it *item) []record {
	var out []record
	for _, body := range it.decision.Records {
		r := record{Kind: recordDecider, Body: body}
		if err := r.check(); err == nil && len(body) <= maxRecord {
			err = m.replay(body)
			if err == nil {
				out = append(out, r)
				continue
			}
		}
		m.log.Error("decider returned a record that it does not read, or that is too large", "request", it.task.Request)
		it.decision = Decision{Verdict: Reject, Reasons: because(ReasonDecider, "the decider failed")}
	}
	return out
}

// forget drops old rejections now and then.
func (m *memory) forget() {
	if m.watch.Read().Elapsed-m.forgot >= forgetEvery {
		m.drop()
	}
}

// drop drops the rejections that are old both by this machine's clock, as far as
// it is sure, and by the newest on record: a process that starts with a clock
// that is ahead must still have them when that is put right.
func (m *memory) drop() {
	now := m.watch.Read()
	m.forgot, m.remembered = now.Elapsed, 0
	sure := now.Sure
	if m.newest.Before(sure) {
		sure = m.newest
	}
	for key, r := range m.rejections {
		if sure.After(time.Unix(r.expires, 0).Add(keepRejections)) {
			delete(m.rejections, key)
		}
	}
}

// add appends one record of the decider's outside of any batch. It is folded
// first, so that nothing is ever written that the decider cannot read.
func (m *memory) add(ctx context.Context, body []byte) error {
	r := record{Kind: recordDecider, Body: body}
	if err := r.check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.settle(ctx, nil, func() ([]record, error) { return []record{r}, m.replay(body) }, func() {})
	if err != nil {
		return fmt.Errorf("appending record: %w", err)
	}
	return nil
}

// check reads on, for decisions under a document if one is active: it fails if
// the chain is broken or empty.
func (m *memory) check(ctx context.Context, active *document.Active) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retain(active)
	return m.catchUp(ctx)
}

// audit verifies the whole chain up to the head without holding up decisions.
func (m *memory) audit(ctx context.Context) error {
	m.mu.Lock()
	snapshot := m.chain.Clone()
	m.mu.Unlock()
	err := snapshot.Verify(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chain.Adopt(snapshot)
	return err
}
