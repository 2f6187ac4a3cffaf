package database

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// ErrAuthentication says that the server asked for the password in a way other
// than SCRAM-SHA-256, or did not prove that it knows the password itself.
var ErrAuthentication = errors.New("the database server does not authenticate by SCRAM-SHA-256")

// Message types and authentication codes of the PostgreSQL protocol 3.0.
const (
	msgAuthentication = 'R'
	msgReady          = 'Z'
	authOK            = 0
	authSASL          = 10
	authSASLContinue  = 11
	authSASLFinal     = 12
	mechanism         = "SCRAM-SHA-256"
	// maxStartupMessage is far above any message before the first query.
	maxStartupMessage = 64 << 10
	// PostgreSQL's own number of iterations, and a bound that keeps a hostile
	// server from burning our CPU.
	minIterations, maxIterations = 4096, 1_000_000
)

// handshake watches what the server says until it is ready for queries and
// ends the connection unless the authentication is SASL's three steps, once,
// in order. The driver answers whatever it is asked, the password in clear
// text included; it checks the server's proof in the last step itself.
type handshake struct {
	net.Conn
	step    int    // next of steps
	pending []byte // checked, not yet read
	done    bool
}

// steps are the authentication codes in the only order allowed.
var steps = []uint32{authSASL, authSASLContinue, authSASLFinal, authOK}

// Read implements net.Conn.
func (h *handshake) Read(p []byte) (int, error) {
	if len(h.pending) == 0 {
		if h.done {
			return h.Conn.Read(p)
		}
		if err := h.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, h.pending)
	h.pending = h.pending[n:]
	return n, nil
}

// next reads and checks one whole message: a type byte, a length that counts
// itself, the body.
func (h *handshake) next() error {
	var head [5]byte
	if _, err := io.ReadFull(h.Conn, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxStartupMessage {
		return fmt.Errorf("%w: message of %d bytes", ErrAuthentication, size)
	}
	message := make([]byte, 1+size)
	copy(message, head[:])
	if _, err := io.ReadFull(h.Conn, message[len(head):]); err != nil {
		return err
	}
	if err := h.check(message[0], message[len(head):]); err != nil {
		return err
	}
	h.pending = message
	return nil
}

func (h *handshake) check(kind byte, body []byte) error {
	switch {
	case kind == msgAuthentication:
		return h.authentication(body)
	case kind == 'E' || kind == 'N' || kind == 'v': // error, notice, version
		return nil
	case h.step < len(steps):
		return fmt.Errorf("%w: message %q before authentication", ErrAuthentication, kind)
	case kind == msgReady:
		h.done = true
	}
	return nil
}

func (h *handshake) authentication(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("%w: short message", ErrAuthentication)
	}
	code, rest := binary.BigEndian.Uint32(body), body[4:]
	if h.step >= len(steps) || code != steps[h.step] {
		return fmt.Errorf("%w: request %d at step %d", ErrAuthentication, code, h.step)
	}
	h.step++
	switch code {
	case authSASL:
		for _, m := range bytes.Split(rest, []byte{0}) {
			if string(m) == mechanism {
				return nil
			}
		}
		return fmt.Errorf("%w: mechanisms %q", ErrAuthentication, rest)
	case authSASLContinue:
		return checkIterations(string(rest))
	}
	return nil
}

// checkIterations reads the third field of RFC 5802's server-first-message.
func checkIterations(message string) error {
	fields := strings.Split(message, ",")
	if len(fields) != 3 || !strings.HasPrefix(fields[2], "i=") {
		return fmt.Errorf("%w: malformed first message", ErrAuthentication)
	}
	n, err := strconv.Atoi(fields[2][2:])
	if err != nil || n < minIterations || n > maxIterations {
		return fmt.Errorf("%w: %q iterations", ErrAuthentication, fields[2][2:])
	}
	return nil
}
