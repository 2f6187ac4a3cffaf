package proposer

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
)

// cancelWait is how long a call to cancel waits for the end, unless it asks for
// another time: the signing service needs milliseconds.
const cancelWait = 5 * time.Second

// cancel is POST /v1/requests/{id}/cancel. What it takes back is a request of
// which nothing was signed yet: the signing service heeds it until its intent is
// committed, and its signed result says what came of it. Nobody else believes
// the proposer in this either; all it can do is to keep something from being
// signed, which it could anyhow.
func (s *Server) cancel(w http.ResponseWriter, r *http.Request, user string) error {
	wait, asked, err := preferredWait(r.Header, s.limits.Wait)
	if err != nil {
		return err
	}
	if !asked {
		wait = min(cancelWait, s.limits.Wait)
	}
	if r.ContentLength != 0 {
		return problem(CodeMalformedRequest, "cancel takes no body")
	}
	id, err := requestID(r.PathValue("id"))
	if err != nil {
		return err
	}
	view, err := s.owned(r.Context(), id, user)
	if err != nil {
		return err
	}
	if view.Result == nil {
		if err := s.withdraw(w, r, id, patience{s.cancels, user, wait, asked}); err != nil {
			return err
		}
		if view, err = s.owned(r.Context(), id, user); err != nil {
			return err
		}
	}
	out := s.request(r.Context(), view)
	switch {
	case !out.Ended():
		writeJSON(w, http.StatusAccepted, mediaType, out)
	case out.Status != message.StatusCancelled:
		return problem(CodeTooLate, "it ended as %s", out.Status)
	default:
		writeJSON(w, http.StatusOK, mediaType, out)
	}
	return nil
}

// withdraw asks for the end and waits for it, unless it is too late or no wait
// is wanted.
func (s *Server) withdraw(w http.ResponseWriter, r *http.Request, id uuid.UUID, most patience) error {
	c, err := s.queue.Cancel(r.Context(), message.RoleSigning, id)
	switch {
	case err != nil:
		return unavailable(err)
	case c.TooLate:
		return problem(CodeTooLate, "its signature is on its way")
	}
	if most.time > 0 {
		s.await(w, r, id, most)
	}
	return nil
}
