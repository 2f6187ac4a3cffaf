package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxSize is the most bytes that any encoded message may have.
const MaxSize = 256 << 10

// ErrNotCanonical says that a message decodes but is not the one encoding
// that this package would have written.
var ErrNotCanonical = errors.New("not in canonical encoding")

// Encode returns the one encoding of a message: JSON with the members in the
// order of the struct, no white space, UTF-8.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return b, nil
}

// DecodeStrict decodes JSON from outside. It refuses duplicate, unknown and
// differently cased members, invalid UTF-8, trailing bytes and more than
// MaxSize bytes. White space and the order of members are free. The error is for
// people: it names the member, and neither v's type nor a value.
func DecodeStrict(b []byte, v any) error {
	if len(b) > MaxSize {
		return fmt.Errorf("%d bytes exceed %d", len(b), MaxSize)
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return fault(err)
	}
	return nil
}

// Decode decodes a message of our own making: strictly, and only from the one
// encoding that Encode gives.
func Decode(b []byte, v any) error {
	if err := DecodeStrict(b, v); err != nil {
		return err
	}
	c := comparison{rest: b}
	if err := json.MarshalWrite(&c, v, json.Deterministic(true)); err != nil {
		return fmt.Errorf("encoding %T: %w", v, err)
	}
	if c.differs || len(c.rest) > 0 {
		return ErrNotCanonical
	}
	return nil
}

// comparison is a writer that compares what is written with what it expects,
// so that no second copy of a message is made.
type comparison struct {
	rest    []byte
	differs bool
}

func (c *comparison) Write(b []byte) (int, error) {
	rest, same := bytes.CutPrefix(c.rest, b)
	c.rest, c.differs = rest, c.differs || !same
	return len(b), nil
}

// Hash is a SHA-256 value; its text form is 64 lower-case hex digits.
type Hash [32]byte

// Sum returns the SHA-256 of b.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads 64 lower-case hex digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	return h, h.UnmarshalText([]byte(s))
}

// String returns the 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is all zeros, which no message may carry as a
// hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// AppendText appends the 64 lower-case hex digits.
func (h Hash) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, h[:]), nil }

// MarshalText writes the 64 lower-case hex digits.
func (h Hash) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// UnmarshalText reads 64 lower-case hex digits and nothing else.
func (h *Hash) UnmarshalText(b []byte) error { return unhex(h[:], b) }

// EpochID is the random id of an epoch, 16 bytes, as 32 lower-case hex
// digits.
type EpochID [16]byte

// String returns the 32 lower-case hex digits.
func (e EpochID) String() string { return hex.EncodeToString(e[:]) }

// AppendText appends the 32 lower-case hex digits.
func (e EpochID) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, e[:]), nil }

// MarshalText writes the 32 lower-case hex digits.
func (e EpochID) MarshalText() ([]byte, error) { return e.AppendText(nil) }

// UnmarshalText reads 32 lower-case hex digits and nothing else.
func (e *EpochID) UnmarshalText(b []byte) error { return unhex(e[:], b) }

func unhex(dst, src []byte) error {
	if len(src) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d hex digits, want %d", len(src), hex.EncodedLen(len(dst)))
	}
	if bytes.ContainsAny(src, "ABCDEF") {
		return errors.New("hex digits must be lower case")
	}
	if _, err := hex.Decode(dst, src); err != nil {
		return errors.New("not all are hex digits")
	}
	return nil
}

// Bytes is a byte string; its text form is unpadded base64url (RFC 4648
// section 5), canonical.
type Bytes []byte

// AppendText appends unpadded base64url.
func (b Bytes) AppendText(to []byte) ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(to, b), nil
}

// MarshalText writes unpadded base64url.
func (b Bytes) MarshalText() ([]byte, error) { return b.AppendText(nil) }

// UnmarshalText reads unpadded base64url; padding, line breaks and spare bits
// are refused.
func (b *Bytes) UnmarshalText(text []byte) error {
	if bytes.ContainsAny(text, "\r\n") {
		return errors.New("line break in base64url")
	}
	out := make([]byte, strictBase64.DecodedLen(len(text)))
	n, err := strictBase64.Decode(out, text)
	if err != nil {
		return err
	}
	*b = out[:n]
	return nil
}

// strictBase64 refuses spare bits that are not zero.
var strictBase64 = base64.RawURLEncoding.Strict()

// Time is a moment with whole seconds, in UTC; its text form is RFC 3339 with
// a "Z".
type Time struct{ time.Time }

// At returns t cut to whole seconds.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// AppendText appends RFC 3339 in UTC with whole seconds.
func (t Time) AppendText(b []byte) ([]byte, error) {
	return t.UTC().AppendFormat(b, time.RFC3339), nil
}

// MarshalText writes RFC 3339 in UTC with whole seconds.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText reads exactly the form that MarshalText writes.
func (t *Time) UnmarshalText(b []byte) error {
	got, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return errTime
	}
	var form [len(time.RFC3339)]byte
	if !bytes.Equal(got.UTC().AppendFormat(form[:0], time.RFC3339), b) {
		return errTime
	}
	t.Time = got.UTC()
	return nil
}

var errTime = errors.New("time is not RFC 3339 in UTC with whole seconds")

// MarshalJSON is defined so that the embedded time's own form is not used.
func (t Time) MarshalJSON() ([]byte, error) { return t.appendJSON(nil), nil }

// MarshalJSONTo writes the same as MarshalJSON.
func (t Time) MarshalJSONTo(to *jsontext.Encoder) error {
	return to.WriteValue(t.appendJSON(to.AvailableBuffer()))
}

func (t Time) appendJSON(b []byte) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339), '"')
}

// UnmarshalJSON reads the JSON string form of UnmarshalText.
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return errors.New("time is not a string")
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}

// UnmarshalJSONFrom reads the same as UnmarshalJSON.
func (t *Time) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	b, err := from.ReadValue()
	if err != nil {
		return err
	}
	return t.UnmarshalJSON(b)
}

// Context writes label and fields, each preceded by its length as four bytes
// big-endian, so that no two lists of fields give the same bytes.
func Context(label string, fields ...[]byte) []byte {
	out := appendField(nil, []byte(label))
	for _, f := range fields {
		out = appendField(out, f)
	}
	return out
}

func appendField(out, field []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
	return append(out, field...)
}

// Uint64 returns n as eight bytes big-endian, for use in Context.
func Uint64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
