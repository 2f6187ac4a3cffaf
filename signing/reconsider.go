package signing

import (
	"context"

	"github.com/countersign/countersign/internal/message"
)

// Bounds of reconsidering, in looks: one each askTick.
const (
	// quietLooks is for how long requests are looked for that came to wait while
	// a role still decided under the document before.
	quietLooks = 60
	// mostLooks ends it, though a role go on giving answers of no use.
	mostLooks = 3600
	// askedPerLook is the most questions of one look, so that thousands of
	// waiting requests hold up nobody.
	askedPerLook = 200
)

// turnover is how far requests that wait for people have been decided again
// since another policy document became active.
type turnover struct {
	policy       message.PolicyRef
	quiet, looks int // left
}

// reconsider has the roles that have answered requests which wait for people
// decide them again when another policy document is active, so that nobody is
// asked about what it denies. The role that waits does so of its own accord. A
// new instance looks as well, since the document may have come while none ran, but
// it cannot tell who decided under which: what was decided after that is let be. A
// "no" is for good, and a restart is no reason for one.
func (s *Service) reconsider(ctx context.Context) error {
	active := s.cfg.Policy.Active()
	if active == nil {
		return nil
	}
	if active.Ref != s.turnover.policy {
		s.turnover = turnover{policy: active.Ref, quiet: quietLooks, looks: mostLooks}
	}
	epochs := s.verifier.Epochs()
	if s.turnover.quiet == 0 || s.turnover.looks == 0 || len(epochs) == 0 || len(s.verifier.Silent()) > 0 {
		return nil
	}
	newcomer := active.Ref == s.verifier.FirstPolicy()
	asked, err := s.cfg.Queue.AskWaiting(ctx, s.cfg.Genesis.Roles, epochs, newcomer, askedPerLook)
	if err != nil {
		return err
	}
	s.turnover.looks--
	if asked == 0 {
		s.turnover.quiet--
	}
	return nil
}
