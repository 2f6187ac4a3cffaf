package policy

import (
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/clock"
	"github.com/countersign/countersign/internal/message"
)

// DecodeEntry decodes the body of one entry of a record chain and encodes it
// again, for the fuzz test of the format.
func DecodeEntry(body []byte) (again []byte, err error) {
	records, err := decodeEntry(body)
	if err != nil {
		return nil, err
	}
	bodies, err := encodeEntries(records)
	if err != nil {
		return nil, err
	}
	return bodies[0], nil
}

// Remembering is a request as the runtime gives it to deciders.
func Remembering(r Request) Request { return r.remembering() }

// Freezes is a memory of freezes alone.
type Freezes struct{ memory }

// Frozen returns so many freezes by somebody, each of another wallet.
func Frozen(by string, at message.Time, count int) *Freezes {
	f := &Freezes{memory{freezes: newFreezes()}}
	for i := range count {
		id := strconv.Itoa(i)
		f.freezes.add(&freezing{Request: id, Wallet: id, By: by, Time: at})
	}
	return f
}

// TooMany says why one more freeze by somebody is not kept.
func (f *Freezes) TooMany(r Request, by string) []message.Reason {
	return f.tooMany(r, &freezing{Wallet: "another", By: by})
}

// Refused is a memory of rejections alone.
type Refused struct{ memory }

// NewRefused returns one that is empty.
func NewRefused() *Refused {
	return &Refused{memory{rejections: map[message.Hash]refusal{}, watch: &clock.Watch{}}}
}

// Remember keeps a rejection of a statement.
func (f *Refused) Remember(statement message.Hash, expires time.Time, reasons []message.Reason) {
	f.remember(&rejection{Statement: statement, Expires: message.At(expires), Time: message.At(expires), Reasons: reasons})
}

// Len is how many there are.
func (f *Refused) Len() int { return len(f.rejections) }
