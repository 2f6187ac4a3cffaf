package approval

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
)

// record is what one vote adds to the role's chain. It is written only after
// the vote was verified under the policy that was active then.
//
//	{"version":1,"envelope":"<hash>","vote":"<compact JWS>","expires":"<the statement's, RFC 3339>"}
type record struct {
	Version  int          `json:"version"`
	Envelope message.Hash `json:"envelope"`
	Vote     string       `json:"vote"`
	Expires  message.Time `json:"expires"`
}

// cast is a vote on record.
type cast struct {
	compact string
	vote    message.Vote
	ends    time.Time // the statement's end
}

func encodeRecord(envelope message.Hash, compact string, expires message.Time) ([]byte, error) {
	return message.Encode(record{Version: message.Version, Envelope: envelope, Vote: compact, Expires: expires})
}

func decodeRecord(body []byte) (cast, error) {
	var r record
	if err := message.Decode(body, &r); err != nil {
		return cast{}, err
	}
	c := cast{compact: r.Vote, ends: r.Expires.Time}
	// The vote was verified before it was recorded, and the record is the
	// role's own by its MAC; whether it counts is verified again each time.
	if err := message.Peek([]byte(r.Vote), &c.vote); err != nil {
		return cast{}, err
	}
	if r.Version != message.Version || r.Envelope.IsZero() || c.vote.Envelope != r.Envelope || r.Expires.IsZero() {
		return cast{}, errors.New("version, envelope or expiry is wrong")
	}
	return c, nil
}

// keepVotes is how long votes are kept in memory after their request's end.
const keepVotes = 24 * time.Hour

// maxAgain is how many agreements of one approver on one envelope are kept. Who
// agrees again and again, each time for a second, must not have all of that
// verified whenever the request is decided.
const maxAgain = 8

// sweepEvery is after how many votes those of ended requests are forgotten.
const sweepEvery = 1024

// ballots are the votes on record by request. A vote counts for one envelope
// alone, but who rejects a request has rejected it in whatever envelope somebody
// puts it.
type ballots struct {
	watch *clock.Watch

	mu     sync.RWMutex
	by     map[string]ballot
	adds   int
	marked bool
	steps  []step // since the mark, oldest first
}

// step is what one vote has changed: the request's ballot before it.
type step struct {
	request string
	before  ballot
}

// ballot is the votes on one request, in the order of the chain. It is never
// changed in place.
type ballot []cast

func newBallots(watch *clock.Watch) *ballots {
	watch.Read() // from now on a jump is one
	return &ballots{watch: watch, by: map[string]ballot{}}
}

// of returns the votes that a decision rests on, which is made on what the same
// batch records.
func (b *ballots) of(request string) ballot {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.by[request]
}

// kept returns the votes that are on record for good: of others nobody may be
// told that they are.
func (b *ballots) kept(request string) ballot {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.steps {
		if s.request == request {
			return s.before
		}
	}
	return b.by[request]
}

// older says that an agreement has ended, and before another does.
func (b *ballots) older(c, other cast) bool {
	return c.vote.Expires.Before(other.vote.Expires.Time) && c.vote.Expires.Before(b.watch.Read().Sure)
}

// add takes a vote over; the same one twice is one. Where there are too many
// agreements the oldest goes, and that may be the new one: when all records are
// read again, those that went before push nobody's out.
func (b *ballots) add(c cast) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.by[c.vote.Request]
	again := old.again(c)
	full := len(again) >= maxAgain
	if old.has(c.compact) || full && b.older(c, old[again[0]]) {
		return
	}
	votes := slices.Clone(old)
	if full {
		votes = slices.Delete(votes, again[0], again[0]+1)
	}
	b.by[c.vote.Request] = append(votes, c)
	if b.marked {
		b.steps = append(b.steps, step{c.vote.Request, old})
		return
	}
	b.count(1)
}

func (b *ballots) mark() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marked = true
}

// undo ends a mark: the ballots are what they were at it.
func (b *ballots) undo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range slices.Backward(b.steps) {
		if s.before == nil {
			delete(b.by, s.request)
		} else {
			b.by[s.request] = s.before
		}
	}
	b.steps, b.marked = nil, false
}

// keep ends a mark. Only then may anything be forgotten.
func (b *ballots) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.steps)
	b.steps, b.marked = nil, false
	b.count(n)
}

// count forgets old votes from time to time, but none because the wall clock was
// set ahead.
func (b *ballots) count(added int) {
	before := b.adds
	if b.adds += added; b.adds/sweepEvery > before/sweepEvery {
		b.sweep(b.watch.Read().Sure.Add(-keepVotes))
	}
}

// sweep forgets the requests all of whose votes are on what ended before. Two
// statements with one id may end at different times, and who has rejected one has
// rejected the request.
func (b *ballots) sweep(before time.Time) {
	for request, votes := range b.by {
		if !slices.ContainsFunc(votes, func(c cast) bool { return !c.ends.Before(before) }) {
			delete(b.by, request)
		}
	}
}

func (b ballot) has(compact string) bool {
	return slices.ContainsFunc(b, func(c cast) bool { return c.compact == compact })
}

// again returns where an agreement's approver has agreed on the same envelope
// before, oldest first; of a rejection nothing.
func (b ballot) again(c cast) (places []int) {
	for i := range b {
		v := b[i].vote
		if v.Decision == message.Approve && v.Decision == c.vote.Decision &&
			v.Approver == c.vote.Approver && v.Envelope == c.vote.Envelope {
			places = append(places, i)
		}
	}
	return places
}

// approvals returns the compact votes for the request, newest first: where an
// approver has voted again, the earlier vote had stopped counting.
func (b ballot) approvals() []string {
	var out []string
	for _, c := range slices.Backward(b) {
		if c.vote.Decision == message.Approve {
			out = append(out, c.compact)
		}
	}
	return out
}

// rejections returns a reason for each approver who has voted against the
// request. Such a vote was verified when it came in and is final: neither its
// end nor a newer policy takes it back.
func (b ballot) rejections() []message.Reason {
	var out []message.Reason
	for _, c := range b {
		if c.vote.Decision != message.Approve {
			out = append(out, message.Reason{
				Code: CodeRejected, Detail: fmt.Sprintf("approver %s has rejected it", c.vote.Approver),
			})
		}
	}
	return out
}
