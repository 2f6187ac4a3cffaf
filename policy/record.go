package policy

import (
	"errors"
	"fmt"
	"strings"
	"unique"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/history"
)

// entry is the body of one row of the role's chain: all records of one batch.
type entry struct {
	Version int      `json:"version"`
	Records []record `json:"records"`
}

// record is one fact. Exactly one of its members beside Kind is given.
type record struct {
	Kind      string             `json:"kind"`
	Init      *initRecord        `json:"init,omitempty"`
	Policy    *message.PolicyRef `json:"policy,omitempty"`
	Rejection *rejection         `json:"rejection,omitempty"`
	Freeze    *freezing          `json:"freeze,omitempty"`
	Body      message.Bytes      `json:"body,omitempty"`
}

// The kinds of record.
const (
	recordInit      = "init"
	recordPolicy    = "policy" // the first decision under a policy document
	recordRejection = "rejection"
	recordFreeze    = "freeze"
	recordDecider   = "decider"
)

// initRecord is the one record of a chain's first entry.
type initRecord struct {
	Role       string       `json:"role"`
	Generation int          `json:"generation"`
	Identity   message.JWK  `json:"identity"`
	Time       message.Time `json:"time"`
}

// rejection is what the runtime keeps of a "no" so that it stays one.
// Statement is the SHA-256 of the statement's bytes: who writes the same
// statement into another envelope asks the same question.
type rejection struct {
	Request   string            `json:"request"`
	Envelope  message.Hash      `json:"envelope"`
	Statement message.Hash      `json:"statement"`
	Reasons   []message.Reason  `json:"reasons"`
	Policy    message.PolicyRef `json:"policy"`
	Expires   message.Time      `json:"expires"`
	Time      message.Time      `json:"time"`
}

// refusal is what stays in memory of a rejection, so that the same statement gets
// the same answer again: little, since a user can bring about as many as they may
// submit, and each stays for days.
type refusal struct {
	expires int64 // the statement, in seconds since 1970
	code    unique.Handle[string]
	detail  string
}

// refusalDetail is how many bytes of a rejection's first reason are kept in memory:
// enough to name the rule. Its own record has all.
const refusalDetail = 64

func (r *rejection) refusal() refusal {
	first := tidy(r.Reasons, true)[0]
	return refusal{
		expires: r.Expires.Unix(), code: unique.Make(first.Code),
		detail: strings.Clone(message.Cut(first.Detail, refusalDetail)),
	}
}

func (r refusal) reasons() []message.Reason { return because(r.code.Value(), r.detail) }

var errRecord = errors.New("record is not one of this version")

func (r record) check() error {
	given := 0
	for _, ok := range []bool{r.Init != nil, r.Policy != nil, r.Rejection != nil, r.Freeze != nil, len(r.Body) > 0} {
		if ok {
			given++
		}
	}
	var fits bool
	switch r.Kind {
	case recordInit:
		fits = r.Init != nil
	case recordPolicy:
		fits = r.Policy != nil
	case recordRejection:
		fits = r.Rejection != nil
	case recordFreeze:
		fits = r.Freeze != nil && (r.Freeze.Wallet == "") != (r.Freeze.User == "")
	case recordDecider:
		fits = len(r.Body) > 0
	}
	if given != 1 || !fits {
		return fmt.Errorf("record kind %q: %w", r.Kind, errRecord)
	}
	return nil
}

func decodeEntry(body []byte) ([]record, error) {
	var e entry
	if err := message.Decode(body, &e); err != nil {
		return nil, err
	}
	if e.Version != message.Version {
		return nil, fmt.Errorf("entry version %d: %w", e.Version, errRecord)
	}
	for _, r := range e.Records {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return e.Records, nil
}

// encodeEntries puts records into the bodies of as few entries as MaxBody
// allows; nearly always that is one.
func encodeEntries(records []record) ([][]byte, error) {
	body, err := message.Encode(entry{Version: message.Version, Records: records})
	if err != nil {
		return nil, err
	}
	if len(body) <= history.MaxBody {
		return [][]byte{body}, nil
	}
	if len(records) == 1 {
		return nil, history.ErrTooLarge
	}
	half := len(records) / 2
	first, err := encodeEntries(records[:half])
	if err != nil {
		return nil, err
	}
	second, err := encodeEntries(records[half:])
	return append(first, second...), err
}
