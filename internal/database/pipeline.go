package database

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// deferredMark begins the text of a statement whose answer nobody waits for:
// see NewDeferred.
const deferredMark = "/* deferred */ "

// Messages of the protocol that matter here.
const (
	msgQuery           = 'Q'
	msgParse           = 'P'
	msgBind            = 'B'
	msgTerminate       = 'X'
	msgError           = 'E'
	msgNotice          = 'N'
	msgParameterStatus = 'S'
	statusIdle         = 'I'
	statusTransaction  = 'T'
)

const (
	// maxHeld is how much is held back at most: well below what the server
	// reads before it wants its answers read.
	maxHeld = 1 << 20
	// keptBuffer is how much memory for that a connection keeps.
	keptBuffer = 64 << 10
	// maxErrorMessage is the driver's own bound.
	maxErrorMessage = 30000
	// freshness is how long after its last use a connection is taken to live.
	// An older one is asked, because the driver replaces one that turns out to
	// be dead at BEGIN, and nowhere later.
	freshness = time.Second
)

// pipelined sends what need not be answered at once together with the next
// message, which the driver cannot do: BEGIN, and deferred statements inside a
// transaction. It answers for the server, holds the message back, and drops
// the server's own answer later. Only an error matters: it takes the place of
// the answer to the message that was sent along, at the latest of COMMIT, which
// the server has then turned into a ROLLBACK. A transaction thus takes two
// round trips less, and what is promised by a COMMIT stays as it is.
type pipelined struct {
	*handshake
	in       *bufio.Reader
	used     time.Time
	deferred map[string]bool // prepared statements with the mark

	inside   bool   // a transaction has begun, as the driver sees it
	unopened bool   // its BEGIN is among what is held
	held     []byte // not sent yet
	answers  int    // how many answers that will bring

	pending []byte // for the driver to read
	swallow int    // answers to drop
	failure []byte // the first error among them
}

func newPipelined(h *handshake) *pipelined {
	return &pipelined{handshake: h, in: bufio.NewReaderSize(h, 16<<10), deferred: map[string]bool{}}
}

// Write implements net.Conn. The driver writes whole messages.
func (c *pipelined) Write(p []byte) (int, error) {
	if !c.done || len(p) < 5 {
		return c.handshake.Write(p)
	}
	switch p[0] {
	case msgQuery:
		if c.answered(string(bytes.TrimSuffix(p[5:], []byte{0})), p) {
			return len(p), nil
		}
	case msgParse:
		c.note(p[5:])
	case msgBind:
		if c.hold(p) {
			return len(p), nil
		}
	case msgTerminate:
		c.drop()
	}
	return c.flush(p)
}

// answered deals with the transaction's own statements where the server need
// not be asked.
func (c *pipelined) answered(text string, p []byte) bool {
	switch text {
	case "BEGIN READ WRITE":
		if c.inside || len(c.held) > 0 || time.Since(c.used) > freshness {
			return false
		}
		c.inside, c.unopened = true, true
		c.held, c.answers = append(c.held, p...), 1
		c.answer("BEGIN", statusTransaction)
		return true
	case "ROLLBACK", "COMMIT":
		unopened, alone := c.unopened, c.answers == 1
		c.inside = false
		if text == "ROLLBACK" {
			c.drop()
		}
		if !unopened || text == "COMMIT" && !alone {
			return false
		}
		c.drop()
		c.answer(text, statusIdle)
		return true
	}
	return false
}

// note remembers which prepared statements are deferred.
func (c *pipelined) note(body []byte) {
	name, rest, _ := bytes.Cut(body, []byte{0})
	if len(name) > 0 {
		c.deferred[string(name)] = bytes.HasPrefix(rest, []byte(deferredMark))
	}
}

// hold keeps a deferred statement back, inside a transaction alone: outside of
// it nothing might follow.
func (c *pipelined) hold(p []byte) bool {
	_, rest, _ := bytes.Cut(p[5:], []byte{0}) // the portal
	name, _, _ := bytes.Cut(rest, []byte{0})
	if !c.inside || !c.deferred[string(name)] || len(c.held)+len(p) > maxHeld {
		return false
	}
	c.held = append(c.held, p...)
	c.answers++
	c.pending = append(c.pending, '2', 0, 0, 0, 4) // BindComplete
	c.answer("SELECT 0", statusTransaction)
	return true
}

// answer tells the driver that a command is complete and the server ready.
func (c *pipelined) answer(tag string, status byte) {
	c.pending = append(c.pending, 'C')
	c.pending = binary.BigEndian.AppendUint32(c.pending, uint32(4+len(tag)+1))
	c.pending = append(append(c.pending, tag...), 0)
	c.pending = append(c.pending, msgReady, 0, 0, 0, 5, status)
}

func (c *pipelined) drop() {
	c.held, c.answers, c.unopened = c.held[:0], 0, false
	if cap(c.held) > keptBuffer {
		c.held = nil
	}
}

// flush sends what is held and then p, in one piece.
func (c *pipelined) flush(p []byte) (int, error) {
	c.used = time.Now()
	if len(c.held) == 0 {
		return c.handshake.Write(p)
	}
	all := append(c.held, p...)
	c.swallow += c.answers
	c.held = all
	c.drop()
	n, err := c.handshake.Write(all)
	if err != nil {
		return min(n, len(p)), err // 0 only if nothing was sent at all
	}
	return len(p), nil
}

// Read implements net.Conn.
func (c *pipelined) Read(p []byte) (int, error) {
	for len(c.pending) == 0 {
		if c.swallow == 0 && c.failure == nil {
			return c.in.Read(p)
		}
		if err := c.skim(); err != nil {
			if c.failure == nil {
				return 0, err
			}
			c.pending, c.failure = c.failure, nil // the server's last words
		}
	}
	n := copy(p, c.pending)
	if c.pending = c.pending[n:]; len(c.pending) == 0 {
		c.pending = nil
	}
	return n, nil
}

// skim reads one message of an answer that is not the driver's: one of what
// was held, or the one in whose place an error is told.
func (c *pipelined) skim() error {
	head, err := c.in.Peek(5)
	if err != nil {
		return err
	}
	kind, size := head[0], int(binary.BigEndian.Uint32(head[1:]))+1
	if size < 5 {
		return fmt.Errorf("message of %d bytes from the database", size)
	}
	first := kind == msgError && c.failure == nil
	switch {
	case kind == msgReady && c.swallow > 0:
		c.swallow--
	case kind == msgReady: // the end of the answer that the error replaces
		c.pending, c.failure = append(c.pending, c.failure...), nil
		return c.pass(size)
	case first && size > maxErrorMessage:
		return fmt.Errorf("error message of %d bytes from the database", size)
	case first:
		c.failure = make([]byte, size)
		_, err := io.ReadFull(c.in, c.failure)
		return err
	case kind == msgNotice || kind == msgParameterStatus:
		return c.pass(size)
	}
	_, err = c.in.Discard(size)
	return err
}

// pass hands a short message to the driver.
func (c *pipelined) pass(size int) error {
	if size > maxErrorMessage {
		return fmt.Errorf("message of %d bytes from the database", size)
	}
	start := len(c.pending)
	c.pending = append(c.pending, make([]byte, size)...)
	_, err := io.ReadFull(c.in, c.pending[start:])
	return err
}
