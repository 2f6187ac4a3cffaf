package past

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/history"
	"github.com/countersign/countersign/secrets"
)

// Chain is what Records has written.
type Chain struct {
	Records, Entries int
	// Verify is how long it took to read and verify the whole chain once, as
	// each instance of the role does every few minutes.
	Verify time.Duration
}

// entry and record are what this package must know of policy's: which of a
// chain's records are a decider's own.
type entry struct {
	Version int      `json:"version"`
	Records []record `json:"records"`
}

type record struct {
	Kind string        `json:"kind"`
	Body message.Bytes `json:"body"`
}

const kindDecider = "decider"

// counted is what differs between two records of the fraud role: which
// envelope counts, when, until when it can be approved again, and which of its
// account's transactions it is.
type counted struct {
	Envelope message.Hash `json:"envelope"`
	Time     message.Time `json:"time"`
	Expires  message.Time `json:"expires"` // zero: there is none
	Nonce    string       `json:"nonce"`   // empty: there is none
}

// firstNonce is above those of the requests that a benchmark makes, so that none
// of them looks as if it was approved in the past already.
const firstNonce = 1 << 20

// Records appends to the fraud role's chain what the requests of the plan would
// have left there: one record each, as many in an entry as the role itself
// has put there on average. They are chained and MACed with the role's own
// key, as another instance of the role would, so that every instance reads and
// believes them.
func Records(ctx context.Context, db *sql.DB, keyring *secrets.Keyring, p Plan) (Chain, error) {
	chain, err := history.New(message.RoleFraud, keyring, db, slog.New(slog.DiscardHandler))
	if err != nil {
		return Chain{}, err
	}
	var s samples
	if err := chain.CatchUp(ctx, s.take); err != nil {
		return Chain{}, err
	}
	if s.entries == 0 {
		return Chain{}, ErrNoTemplates
	}
	out := Chain{Records: p.Count}
	for n := 0; n < p.Count; {
		body, next, err := s.entry(p, n)
		if err != nil {
			return out, err
		}
		if err := chain.Append(ctx, body); err != nil {
			return out, fmt.Errorf("appending entry %d of the past: %w", out.Entries, err)
		}
		out.Entries, n = out.Entries+1, next
	}
	if _, err := db.ExecContext(ctx, `VACUUM (ANALYZE) countersign.record`); err != nil {
		return out, fmt.Errorf("vacuuming the records: %w", err)
	}
	start := time.Now()
	err = chain.Verify(ctx)
	out.Verify = time.Since(start)
	return out, err
}

// samples are the records that the role itself has written.
type samples struct {
	bodies  [][]byte
	entries int
}

func (s *samples) take(e history.Entry) error {
	var all entry
	if err := json.Unmarshal(e.Body, &all); err != nil {
		return fmt.Errorf("entry %d of the chain: %w", e.Seq, err)
	}
	before := len(s.bodies)
	for _, r := range all.Records {
		if r.Kind == kindDecider {
			s.bodies = append(s.bodies, r.Body)
		}
	}
	if len(s.bodies) > before {
		s.entries++
	}
	return nil
}

// entry makes the body of an entry of the records from the n-th on.
func (s *samples) entry(p Plan, n int) (body []byte, next int, err error) {
	next = min(p.Count, n+max(1, len(s.bodies)/s.entries))
	e := entry{Version: message.Version}
	for ; n < next; n++ {
		b, err := again(s.bodies[n%len(s.bodies)], n, p.at(n))
		if err != nil {
			return nil, n, err
		}
		e.Records = append(e.Records, record{Kind: kindDecider, Body: b})
	}
	body, err = message.Encode(e)
	return body, next, err
}

// again is a record for another envelope at another time, the n-th of the past.
func again(body []byte, n int, at time.Time) ([]byte, error) {
	var old counted
	if err := json.Unmarshal(body, &old); err != nil {
		return nil, fmt.Errorf("record of the fraud role: %w", err)
	}
	var envelope message.Hash
	rand.Read(envelope[:]) // never returns an error (crypto/rand)
	now := message.At(at)
	changes := []change{{"envelope", old.Envelope, envelope}, {"time", old.Time, now}}
	if !old.Expires.IsZero() {
		changes = append(changes, change{"expires", old.Expires, message.At(old.Expires.Add(now.Sub(old.Time.Time)))})
	}
	if old.Nonce != "" {
		changes = append(changes, change{"nonce", old.Nonce, strconv.Itoa(firstNonce + n)})
	}
	for _, c := range changes {
		var err error
		if body, err = c.in(body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// change gives a member of a record another value.
type change struct {
	name    string
	was, is any
}

func (c change) in(body []byte) ([]byte, error) {
	was, err := c.member(c.was)
	if err != nil {
		return nil, err
	}
	is, err := c.member(c.is)
	if err != nil {
		return nil, err
	}
	if bytes.Count(body, was) != 1 {
		return nil, fmt.Errorf("record of the fraud role has no member %s of the usual form", c.name)
	}
	return bytes.Replace(body, was, is, 1), nil
}

func (c change) member(value any) ([]byte, error) {
	encoded, err := message.Encode(value)
	return append([]byte(`"`+c.name+`":`), encoded...), err
}
