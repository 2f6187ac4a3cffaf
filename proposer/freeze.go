package proposer

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// maxFreeze is the most bytes of a statement that asks for a freeze: it is read
// before anybody knows who sends it.
const maxFreeze = 4 << 10

// freezing are the kinds that approvers and policy admins ask for. They have no
// account here: their statement's signature lets them in.
var freezing = []message.Kind{message.KindWalletFreeze, message.KindUserFreeze}

// freezer lets somebody in who shows no credential but sends a statement that
// asks for a freeze, signed by a key of an approver or policy admin. Everybody
// else learns no more than that they are not let in. The body can be read again.
//
// A statement counts against the person's rate until it was let in, and from then
// on against its own: somebody who has read one and sends it again and again uses
// up that one's rate, not the person's.
func (s *Server) freezer(w http.ResponseWriter, r *http.Request) (name, rated string, err error) {
	active := s.policy.Active()
	if active == nil {
		return "", "", problem(CodeNotReady, "no policy document is active: none yet, or it has expired")
	}
	body, err := readStatement(w, r, maxFreeze)
	if err != nil {
		return "", "", errNoCredential
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	now := s.now()
	statement, err := parseStatement(body, s.deployment)
	// A statement lets nobody in when its time is over, not even to be repeated:
	// whoever has read it could use it for ever.
	if err != nil || !slices.Contains(freezing, statement.Kind) || checkExpiry(statement, now) != nil {
		return "", "", errNoCredential
	}
	signature, err := signatureOf(r, body, now)
	if err != nil {
		return "", "", errNoCredential
	}
	name, reason := document.VerifyFreezer(active, message.Envelope{Statement: body, Signature: signature}, now)
	if reason != nil {
		return "", "", errNoCredential
	}
	if !s.froze.has(statement.ID) {
		if err := s.allow(route{method: http.MethodPost}, name); err != nil {
			return "", "", err
		}
		s.froze.add(statement.ID)
	}
	return name, name + " " + statement.ID, nil
}

// maxSeen bounds the statements that are remembered. Who is forgotten counts
// against the person once more.
const maxSeen = 4096

// seen remembers statements that asked for a freeze and were let in. It is safe for
// concurrent use.
type seen struct {
	mu  sync.Mutex
	ids map[string]bool
}

// has says whether a statement came before.
func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

func (s *seen) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil || len(s.ids) >= maxSeen {
		s.ids = map[string]bool{}
	}
	s.ids[id] = true
}
