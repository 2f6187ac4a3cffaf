package proposer

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/fairness"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/proposer/webhook"
	"github.com/countersign/countersign/queue"
)

const (
	defaultPage = 50
	maxPage     = 100
)

// statuses are the values of the list's status filter. A request that waits
// for people is also one that is pending.
var statuses = []message.Status{
	message.StatusPending, message.StatusWaiting, message.StatusSigned, message.StatusDone, message.StatusRejected,
	message.StatusExpired, message.StatusFailed, message.StatusCancelled,
}

// propose is POST /v1/requests.
func (s *Server) propose(w http.ResponseWriter, r *http.Request, user string) error {
	wait, _, err := preferredWait(r.Header, s.limits.Wait)
	if err != nil {
		return err
	}
	body, err := readStatement(w, r, s.limits.Body)
	if err != nil {
		return err
	}
	now := s.now()
	statement, err := parseStatement(body, s.deployment)
	if err != nil {
		return err
	}
	signature, err := signatureOf(r, body, now)
	if err != nil {
		return err
	}
	received := message.At(now)
	submission, err := s.submission(body, statement, signature, received, user)
	if err != nil {
		return err
	}
	if refusal := checkExpiry(statement, now); refusal != nil {
		return s.repeat(w, r, submission, wait, refusal)
	}
	outcome, landed, err := s.batcher.add(r.Context(), submission)
	defer landed()
	if errors.Is(err, errBacklog) {
		return err
	}
	if err != nil {
		return unavailable(err)
	}
	if outcome == queue.Conflict {
		return errConflict
	}
	locate(w, submission.ID)
	if outcome != queue.Accepted {
		return s.answer(w, r, submission.ID, user, wait, http.StatusAccepted)
	}
	fresh := newRequest(submission, statement, received)
	if wait == 0 {
		writeJSON(w, http.StatusAccepted, mediaType, fresh)
		return nil
	}
	if result, ok := s.await(w, r, submission.ID, patience{s.waits, user, wait, true}); ok && s.complete(r.Context(), &fresh, submission, result) {
		writeJSON(w, http.StatusOK, mediaType, fresh)
		return nil
	}
	return s.answer(w, r, submission.ID, user, 0, http.StatusAccepted)
}

// errConflict says that other bytes, or another user's, stand under the id.
var errConflict = problem(CodeIDConflict, "make a new UUIDv7 for a new statement")

// locate says where a request is.
func locate(w http.ResponseWriter, id uuid.UUID) {
	w.Header().Set("Location", "/v1/requests/"+id.String())
}

// repeat answers a statement of which no request may be made now, with that
// refusal unless the same user's same bytes made one before. Whoever lost the
// answer of then must not be led to ask for the same again under another id.
//
// Another user's request is as absent as one that was never made: ids could be
// tried here at no cost, since nothing is written.
func (s *Server) repeat(w http.ResponseWriter, r *http.Request, sent queue.Submission, wait time.Duration, refusal error) error {
	view, err := s.owned(r.Context(), sent.ID, sent.Owner)
	switch {
	case isNotFound(err):
		return refusal
	case err != nil:
		return err
	case view.Fingerprint != sent.Fingerprint:
		return errConflict
	}
	locate(w, sent.ID)
	return s.answer(w, r, sent.ID, sent.Owner, wait, http.StatusAccepted)
}

// complete adds the result to a request that was just accepted. It saves the
// usual case, a signature, from reading the whole request back: its decisions
// are all approvals and stay out of the answer. Any other end is read back.
func (s *Server) complete(ctx context.Context, fresh *api.Request, submission queue.Submission, stored queue.Result) bool {
	if stored.Status != string(message.StatusSigned) && stored.Status != string(message.StatusDone) {
		return false
	}
	result := s.result(ctx, queue.View{Submission: submission, Result: &stored})
	fresh.Result, fresh.Status = result, result.Status
	return result.Status == message.StatusSigned || result.Status == message.StatusDone
}

// submission makes the envelope: the statement's exact bytes, the signature as
// sent, and nothing else of the call. The token or certificate ends here.
func (s *Server) submission(body []byte, statement message.Statement, signature message.HTTPSignature, received message.Time, user string) (queue.Submission, error) {
	id, err := uuid.Parse(statement.ID)
	if err != nil {
		return queue.Submission{}, problem(CodeInvalidStatement, "id is not a UUID")
	}
	envelope, err := message.Encode(message.Envelope{
		Version: message.Version, Deployment: s.deployment, Statement: body, Signature: signature, Received: received,
	})
	if err != nil {
		return queue.Submission{}, err
	}
	wallet, _ := subjects(statement, message.Sum(body))
	return queue.Submission{
		ID: id, Body: envelope, Hash: message.Sum(envelope), Fingerprint: message.Sum(body),
		Owner: user, Kind: string(statement.Kind), Wallet: wallet, Expires: statement.Expires.Time,
		Later: webhook.Consumers(s.policy.Active(), user),
	}, nil
}

// show is GET /v1/requests/{id}.
func (s *Server) show(w http.ResponseWriter, r *http.Request, user string) error {
	wait, _, err := preferredWait(r.Header, s.limits.Wait)
	if err != nil {
		return err
	}
	id, err := requestID(r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.answer(w, r, id, user, wait, http.StatusOK)
}

// requestID reads an id from a path. What is no id names nothing.
func requestID(text string) (uuid.UUID, error) {
	if message.CheckRequestID(text) != nil {
		return uuid.UUID{}, problem(CodeNotFound, "")
	}
	return uuid.Parse(text)
}

// answer shows a request of this user: with 200 when it has ended, else with
// open. If asked to it waits for the result first, but not before it knows
// whose the request is and that it has not ended.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, id uuid.UUID, user string, wait time.Duration, open int) error {
	view, err := s.owned(r.Context(), id, user)
	if err != nil {
		return err
	}
	if wait > 0 && view.Result == nil {
		s.await(w, r, id, patience{s.waits, user, wait, true})
		if view, err = s.owned(r.Context(), id, user); err != nil {
			return err
		}
	}
	out := s.request(r.Context(), view)
	status := open
	if out.Ended() {
		status = http.StatusOK
	}
	writeJSON(w, status, mediaType, out)
	return nil
}

// patience is how long a user waits for a result, among which places, and
// whether that is how long the user asked to.
type patience struct {
	places *fairness.Places
	user   string
	time   time.Duration
	asked  bool
}

// await returns the result when it is there; false when the time is over, the
// server stops, or so many of the user's calls wait already, or of all users',
// that no more may.
func (s *Server) await(w http.ResponseWriter, r *http.Request, id uuid.UUID, most patience) (queue.Result, bool) {
	leave, ok := most.places.Take(most.user)
	if !ok {
		return queue.Result{}, false
	}
	defer leave()
	if most.asked {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(most.time.Seconds())))
	}
	ctx, cancel := context.WithTimeout(r.Context(), most.time)
	defer cancel()
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	result, err := s.queue.Await(ctx, id)
	return result, err == nil
}

// owned returns a request of this user. Another user's is as absent as one
// that was never made. It is read to the end even when the caller goes away: to
// break it off would cost the database more than it saves.
func (s *Server) owned(ctx context.Context, id uuid.UUID, user string) (queue.View, error) {
	view, err := s.queue.Get(context.WithoutCancel(ctx), id)
	if errors.Is(err, queue.ErrNotFound) || (err == nil && view.Owner != user) {
		return queue.View{}, problem(CodeNotFound, "")
	}
	if err != nil {
		return queue.View{}, unavailable(err)
	}
	return view, nil
}

// list is GET /v1/requests.
func (s *Server) list(w http.ResponseWriter, r *http.Request, user string) error {
	filter, err := requestFilter(r.URL.Query(), user)
	if err != nil {
		return err
	}
	if filter.Status == string(message.StatusWaiting) {
		filter.Status, filter.ParkedBy = string(message.StatusPending), s.roles
	}
	end, err := s.lists.Take(r.Context(), user)
	if err != nil {
		return unavailable(err)
	}
	defer end()
	limit := filter.Limit
	filter.Limit++ // one more tells whether there is a next page
	views, err := s.queue.List(r.Context(), filter)
	if err != nil {
		return unavailable(err)
	}
	page := api.Requests{Requests: []api.Request{}}
	if len(views) > limit {
		views = views[:limit]
		page.Next = cursorOf(views[limit-1].ID[:])
	}
	for _, v := range views {
		if v.Owner != user { // the filter asked for this user's only
			continue
		}
		out := s.request(r.Context(), v)
		out.Payload = nil // a page of large ones would be too long
		page.Requests = append(page.Requests, out)
	}
	writeJSON(w, http.StatusOK, mediaType, page)
	return nil
}

func requestFilter(q url.Values, user string) (queue.Filter, error) {
	f := queue.Filter{Owner: user, Status: q.Get("status"), Kind: q.Get("kind"), Wallet: q.Get("wallet")}
	if q.Has("status") && !slices.Contains(statuses, message.Status(f.Status)) {
		return f, problem(CodeInvalidParameter, "status must be one of %v", statuses)
	}
	if q.Has("kind") && !kindName(f.Kind) {
		return f, problem(CodeInvalidParameter, "kind is not the name of a kind")
	}
	if q.Has("wallet") {
		if _, err := message.ParseHash(f.Wallet); err != nil {
			return f, problem(CodeInvalidParameter, "wallet is not a wallet id")
		}
	}
	var err error
	if f.Limit, err = pageSize(q); err != nil {
		return f, err
	}
	before, err := cursor(q, len(f.Before))
	if err != nil {
		return f, err
	}
	copy(f.Before[:], before)
	return f, nil
}

// kindName accepts what a kind may look like, known or not.
func kindName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func pageSize(q url.Values) (int, error) {
	if !q.Has("limit") {
		return defaultPage, nil
	}
	n, err := strconv.ParseUint(q.Get("limit"), 10, 16)
	if err != nil || n < 1 || n > maxPage {
		return 0, problem(CodeInvalidParameter, "limit must be a number from 1 to %d", maxPage)
	}
	return int(n), nil
}

// cursor reads the last key of the page before: size bytes, or none.
func cursor(q url.Values, size int) ([]byte, error) {
	if !q.Has("cursor") {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("cursor"))
	if err != nil || len(b) != size {
		return nil, errCursor
	}
	return b, nil
}

var errCursor = problem(CodeInvalidParameter, "cursor must be the value of \"next\" of the page before")

func cursorOf(key []byte) string { return base64.RawURLEncoding.EncodeToString(key) }
