package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/history"
)

// keepRejections is how long a rejection is remembered beyond its statement's
// expiry, after which the statement is refused for its age alone. It is long
// so that a clock that jumps to and fro forgets nothing that matters.
const keepRejections = 24 * time.Hour

// maxPending bounds the records that wait to be committed: those of a few
// batches, unless the database refuses to commit. Beyond it nothing is decided
// until they are written.
const maxPending = 4096

// forgetEvery is how often expired rejections are dropped from memory.
const forgetEvery = 10 * time.Minute

// memory is what the role knows: the fold of its chain. mu is held while a
// batch is decided, so that decisions of one process come one after another;
// across processes the chain's lock does the same. Whoever holds mu may wait
// for the database, therefore nobody may need mu between an append and its
// commit.
type memory struct {
	decider  Decider
	recorder Recorder // nil if the decider has no state
	now      func() time.Time
	log      *slog.Logger

	mu         sync.Mutex
	chain      *history.Chain
	rejections map[message.Hash]*rejection // by statement hash
	forgot     time.Time
	// policy is the newest document that was ever decided under.
	policy message.PolicyRef
	// pending are records that are folded and perhaps known to the database,
	// but not known to be committed. They go into the next append again until
	// they are: a decision that was shown to anybody is never uncounted.
	pending []pendingRecord
	// inflight are appended entries by the first request of their batch.
	inflight map[uuid.UUID][]history.Head
	// stale says that something is folded that was neither appended nor is
	// pending: everything is replayed before anything else is decided.
	stale bool
	// locks says that the decider's decisions make records, so that a batch
	// waits for the chain's lock before it is decided and not after.
	locks bool
}

type pendingRecord struct {
	record
	at history.Head // zero: not appended
}

func newMemory(decider Decider, chain *history.Chain, now func() time.Time, log *slog.Logger) *memory {
	m := &memory{
		decider: decider, now: now, log: log, chain: chain,
		rejections: map[message.Hash]*rejection{},
		inflight:   map[uuid.UUID][]history.Head{},
	}
	m.recorder, _ = decider.(Recorder)
	return m
}

// fold takes one verified entry over.
func (m *memory) fold(e history.Entry) error {
	records, err := decodeEntry(e.Body)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := m.foldRecord(r); err != nil {
			return err
		}
	}
	m.settle(e.Head)
	return nil
}

func (m *memory) foldRecord(r record) error {
	switch r.Kind {
	case recordPolicy:
		if r.Policy.Version > m.policy.Version {
			m.policy = *r.Policy
		}
	case recordRejection:
		m.remember(r.Rejection)
	case recordDecider:
		return m.replay(r.Body)
	}
	return nil
}

// remember keeps the first rejection of a statement.
func (m *memory) remember(r *rejection) {
	if m.now().After(r.Expires.Add(keepRejections)) || m.rejections[r.Statement] != nil {
		return
	}
	m.rejections[r.Statement] = r
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

// settle drops the pending records of an entry that is in the chain now.
func (m *memory) settle(h history.Head) {
	kept := m.pending[:0]
	for _, p := range m.pending {
		if p.at.Seq == 0 || p.at != h {
			kept = append(kept, p)
		}
	}
	clear(m.pending[len(kept):])
	m.pending = kept
}

func (m *memory) catchUp(ctx context.Context, q history.Querier, lock bool) error {
	if err := m.chain.CatchUp(ctx, q, lock, m.fold); err != nil || !m.stale {
		return err
	}
	return m.rebuild(ctx, q)
}

// rebuild forgets everything and replays the whole chain, then what is
// pending. It is needed when decisions were folded that were then not made.
func (m *memory) rebuild(ctx context.Context, q history.Querier) error {
	if m.recorder == nil {
		m.stale = false
		return nil
	}
	m.stale = true
	m.recorder.Reset()
	if err := m.chain.Verify(ctx, q, m.fold); err != nil {
		return err
	}
	for _, p := range m.pending {
		if err := m.foldRecord(p.record); err != nil {
			return err
		}
	}
	m.stale = false
	return nil
}

// decide decides a batch inside its transaction. When it returns nil, every
// item has a decision, and all that must be remembered of them is appended.
func (m *memory) decide(ctx context.Context, tx *sql.Tx, items []*item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	lock := m.locks || m.stale || len(m.pending) > 0
	err := m.catchUp(ctx, tx, lock)
	if denies(err) {
		m.denyAll(items)
		return nil
	}
	if err != nil {
		return err
	}
	if len(m.pending) > maxPending {
		for _, it := range items {
			it.retry = "earlier decisions are still to be recorded"
		}
		return m.appendAll(ctx, tx, items[0].task.Request, nil)
	}
	added, err := m.decideAll(ctx, items)
	if err != nil || len(added)+len(m.pending) == 0 {
		return err
	}
	if !lock {
		if added, err = m.decideLocked(ctx, tx, items, added); err != nil || len(added) == 0 {
			return err
		}
	}
	return m.appendAll(ctx, tx, items[0].task.Request, added)
}

// denies reports whether an error of the chain is one that no retry mends.
func denies(err error) bool {
	return errors.Is(err, history.ErrBroken) || errors.Is(err, history.ErrEmpty)
}

// denyAll rejects everything that is not a request's own fault already.
// Nothing is recorded: there is nowhere to.
func (m *memory) denyAll(items []*item) {
	for _, it := range items {
		it.decision = Decision{Verdict: Reject, Reasons: because(ReasonHistory, "the service's own records are broken")}
	}
}

// decideLocked takes the lock after the fact. If others appended meanwhile,
// the batch is decided again on what they wrote.
func (m *memory) decideLocked(ctx context.Context, tx *sql.Tx, items []*item, added []record) ([]record, error) {
	before := m.chain.Head()
	if err := m.catchUp(ctx, tx, true); err != nil {
		m.stale = true // what was folded is not made
		return nil, err
	}
	if m.chain.Head() == before {
		return added, nil
	}
	if err := m.rebuild(ctx, tx); err != nil {
		return nil, err
	}
	return m.decideAll(ctx, items)
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
	for _, it := range items {
		records, err := m.decideOne(ctx, it)
		if err != nil {
			m.stale = true
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
	if old := m.rejections[it.statement]; old != nil && it.parsed {
		it.decision = Decision{Verdict: Reject, Reasons: old.Reasons}
		return nil, nil
	}
	it.decision = it.refused
	if it.refused.Verdict == 0 {
		it.decision = ask(ctx, m.decider, it.request, m.log)
	}
	if err := ctx.Err(); err != nil {
		return nil, err // a decider that was interrupted has not decided
	}
	records, err := m.foldDecision(it)
	if err != nil {
		return nil, err
	}
	if it.decision.Verdict == Reject && it.lasting() {
		records = append(records, record{Kind: recordRejection, Rejection: it.rejection(m.now())})
	}
	return records, nil
}

// foldDecision folds the decider's records. A decider that cannot read its
// own record denies.
func (m *memory) foldDecision(it *item) ([]record, error) {
	var out []record
	for _, body := range it.decision.Records {
		r := record{Kind: recordDecider, Body: body}
		if err := r.check(); err == nil {
			err = m.replay(body)
			if err == nil {
				out = append(out, r)
				continue
			}
		}
		m.log.Error("decider returned a record that it does not read", "request", it.task.Request)
		it.decision = Decision{Verdict: Reject, Reasons: because(ReasonDecider, "the decider failed")}
	}
	if len(out) > 0 {
		m.locks = true
	}
	return out, nil
}

// appendAll writes the pending and the added records behind the head and
// remembers them as pending until they are known to be committed.
func (m *memory) appendAll(ctx context.Context, tx *sql.Tx, batch uuid.UUID, added []record) error {
	for _, r := range added {
		if r.Kind != recordDecider { // those are folded already
			_ = m.foldRecord(r)
		}
		m.pending = append(m.pending, pendingRecord{record: r})
	}
	chunks, err := encodeEntries(unwrap(m.pending))
	if err != nil {
		return fmt.Errorf("encoding records: %w", err)
	}
	var heads []history.Head
	at, next := m.chain.Head(), 0
	for _, c := range chunks {
		if at, err = m.chain.Append(ctx, tx, at, c.body); err != nil {
			return err
		}
		heads = append(heads, at)
		for range c.records {
			m.pending[next].at = at
			next++
		}
	}
	m.inflight[batch] = heads
	return nil
}

func unwrap(pending []pendingRecord) []record {
	out := make([]record, len(pending))
	for i, p := range pending {
		out[i] = p.record
	}
	return out
}

// committed says that the batch that begins with a request is committed.
func (m *memory) committed(batch uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.inflight[batch] {
		m.chain.Confirm(h)
		m.settle(h)
	}
	delete(m.inflight, batch)
}

// forget drops old rejections and entries of batches that never committed.
func (m *memory) forget() {
	now := m.now()
	if now.Sub(m.forgot) < forgetEvery && !now.Before(m.forgot) {
		return
	}
	m.forgot = now
	for key, r := range m.rejections {
		if now.After(r.Expires.Add(keepRejections)) {
			delete(m.rejections, key)
		}
	}
	for batch, heads := range m.inflight {
		if heads[len(heads)-1].Seq <= m.chain.Head().Seq {
			delete(m.inflight, batch)
		}
	}
}

// add appends one record of the decider's outside of any batch and commits
// it. It is folded first, so that nothing is ever written that the decider
// cannot read.
func (m *memory) add(ctx context.Context, db *sql.DB, body []byte) error {
	r := record{Kind: recordDecider, Body: body}
	if err := r.check(); err != nil {
		return err
	}
	chunks, err := encodeEntries([]record{r})
	if err != nil {
		return fmt.Errorf("encoding record: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("appending record: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := m.catchUp(ctx, tx, true); err != nil {
		return err
	}
	if err := m.replay(body); err != nil {
		return fmt.Errorf("appending record: %w", err)
	}
	m.stale = true // until it is committed
	head, err := m.chain.Append(ctx, tx, m.chain.Head(), chunks[0].body)
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("appending record: %w", err)
	}
	m.chain.Confirm(head)
	m.stale = false
	return nil
}

// check reads on without a lock: it fails if the chain is broken or empty.
func (m *memory) check(ctx context.Context, q history.Querier) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.catchUp(ctx, q, false)
}

// audit verifies the whole chain up to the head without holding up decisions.
func (m *memory) audit(ctx context.Context, q history.Querier) error {
	m.mu.Lock()
	snapshot := m.chain.Clone()
	m.mu.Unlock()
	err := snapshot.Verify(ctx, q, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chain.Adopt(snapshot)
	return err
}
