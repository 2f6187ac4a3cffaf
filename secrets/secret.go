// Package secrets makes every key of a deployment out of two secrets held by
// two people: a build-time secret, sealed into images, and a deploy-time
// secret, given by the user admin. The secrets themselves are never used:
// each is split into branches, one per purpose, and a service is handed only
// the branches of the purposes that it needs.
//
// The package trusts whoever can read the files it is given, and nobody else.
// It never prints, logs or marshals a secret: see Secret.
package secrets

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/countersign/countersign/internal/scratch"
)

// Size is the length of every secret, branch and key, in bytes.
const Size = 32

const redacted = "[redacted]"

// Secret is a byte string that prints as "[redacted]" in every form that fmt,
// log/slog and encoding/json know. Its bytes are reached by Bytes alone. They
// lie behind a function, which reflection cannot look into: fmt does not call
// the methods of an unexported field, and follows pointers where the verb is a
// wrong one.
type Secret struct{ held func() *[]byte }

func own(b []byte) *Secret {
	p := &b
	scratch.Hold(b)
	return &Secret{held: func() *[]byte { return p }}
}

// NewSecret returns a secret that holds its own copy of b.
func NewSecret(b []byte) *Secret { return own(append([]byte(nil), b...)) }

// Generate returns a secret of Size random bytes.
func Generate() *Secret {
	b := make([]byte, Size)
	rand.Read(b) // never returns an error (crypto/rand)
	return own(b)
}

// Bytes returns the secret's own bytes, not a copy: they become zero when the
// secret is wiped. It returns nil after Wipe.
func (s *Secret) Bytes() []byte {
	if s == nil || s.held == nil {
		return nil
	}
	return *s.held()
}

// Len returns the number of bytes; 0 after Wipe, so that whatever wants a key
// of a length refuses a wiped one.
func (s *Secret) Len() int { return len(s.Bytes()) }

// Equal compares in constant time. A missing, empty or wiped secret equals
// nothing.
func (s *Secret) Equal(other *Secret) bool {
	return s.Len() > 0 && subtle.ConstantTimeCompare(s.Bytes(), other.Bytes()) == 1
}

// Wipe overwrites the secret with zeros and forgets it. It is safe to call
// twice and on nil, but not while another goroutine reads the secret.
func (s *Secret) Wipe() {
	if s == nil || s.held == nil {
		return
	}
	p := s.held()
	clear(*p)
	runtime.KeepAlive(*p)
	*p = nil
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb, %x and %v included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]" (log/slog).
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
