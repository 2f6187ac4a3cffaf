package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/api"
	"github.com/countersign/countersign/trust/httpsig"
)

const (
	requestsPath = "/v1/requests"
	jsonType     = "application/json"
	// attempts is how often the same bytes are sent while the service is out
	// of reach; the id makes that safe.
	attempts = 3
	// pause lies between two attempts, unless the service asks for more; longest
	// is the most that is waited then.
	pause   = time.Second
	longest = 30 * time.Second
)

// NewStatement returns a statement with a new id that ends after lifetime.
// Payload is anything that encodes to a JSON object.
func (c *Client) NewStatement(kind message.Kind, wallet, account string, payload any, lifetime time.Duration) (message.Statement, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return message.Statement{}, fmt.Errorf("making a request id: %w", err)
	}
	raw, err := message.Encode(payload)
	if err != nil {
		return message.Statement{}, err
	}
	return message.Statement{
		ID: id.String(), Audience: c.deployment, Kind: kind, Wallet: wallet, Account: account,
		Payload: raw, Expires: message.At(c.now().Add(lifetime)),
	}, nil
}

// Signed is a statement that Sign has signed: all that Send needs.
type Signed struct {
	id     string
	body   []byte
	header map[string]string
}

// Sign checks and signs a statement, and sends nothing.
func (c *Client) Sign(s message.Statement) (Signed, error) {
	body, err := message.Encode(s)
	if err != nil {
		return Signed{}, err
	}
	if _, err := message.ParseStatement(body, c.deployment); err != nil {
		return Signed{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	header, err := c.sign(body)
	if err != nil {
		return Signed{}, fmt.Errorf("signing request %s: %w", s.ID, err)
	}
	return Signed{id: s.ID, body: body, header: header}, nil
}

// Send sends a signed statement, and waits up to wait (at most 60 s) for its
// end. The statement's id makes it safe to call again with the same statement:
// it is one request. While the service is out of reach, or asks to come back
// later, the same bytes are sent again.
func (c *Client) Send(ctx context.Context, s Signed, wait time.Duration) (api.Request, error) {
	what := call{method: http.MethodPost, path: requestsPath, body: s.body, header: s.header, wait: wait}
	for attempt := 1; ; attempt++ {
		var r api.Request
		err := c.do(ctx, what, &r)
		if err == nil {
			return r, c.checkSubmitted(r, s)
		}
		if attempt == attempts || !passing(err) {
			return api.Request{}, fmt.Errorf("submitting request %s: %w", s.id, err)
		}
		if err := sleep(ctx, pauseAfter(err, 1)); err != nil {
			return api.Request{}, err
		}
	}
}

// Submit is Sign and Send.
func (c *Client) Submit(ctx context.Context, s message.Statement, wait time.Duration) (api.Request, error) {
	signed, err := c.Sign(s)
	if err != nil {
		return api.Request{}, err
	}
	return c.Send(ctx, signed, wait)
}

func (c *Client) sign(body []byte) (map[string]string, error) {
	if c.key == nil {
		return nil, errors.New("this client has no key")
	}
	signed, err := httpsig.Sign(httpsig.Message{
		Method: http.MethodPost, Authority: c.base.Host, Path: requestsPath, ContentType: jsonType, Body: body,
	}, httpsig.StatementProfile, c.key, c.keyID, c.now())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"Content-Type": jsonType, "Content-Digest": signed.ContentDigest,
		"Signature-Input": signed.SignatureInput, "Signature": signed.Signature,
	}, nil
}

// passing says whether an error may go away by itself: no answer, or one that
// says so.
func passing(err error) bool {
	var p *Problem
	var stranger *tls.CertificateVerificationError
	if errors.As(err, &stranger) {
		return false
	}
	if !errors.As(err, &p) {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests
}

// pauseAfter is how long to wait after a number of failures in a row: twice as
// long each time, and as long as the service asks for.
func pauseAfter(err error, failures int) time.Duration {
	d := pause << (failures - 1)
	var p *Problem
	if errors.As(err, &p) {
		d = max(d, p.RetryAfter)
	}
	return min(d, longest)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns a request as it stands.
func (c *Client) Get(ctx context.Context, id string) (api.Request, error) {
	return c.Wait(ctx, id, 0)
}

// Wait returns a request when it has ended, or as it stands after wait (at
// most 60 s).
func (c *Client) Wait(ctx context.Context, id string, wait time.Duration) (api.Request, error) {
	var r api.Request
	if err := checkRequest(id); err != nil {
		return r, err
	}
	if err := c.do(ctx, call{method: http.MethodGet, path: requestsPath + "/" + id, wait: wait}, &r); err != nil {
		return r, err
	}
	return r, c.check(r, id)
}

// Cancel takes a request back, and returns it: as cancelled, or still open where
// the signing service has not answered yet. Once a signature is on its way it is
// too late: a Problem with the code "too_late" says how it ended.
func (c *Client) Cancel(ctx context.Context, id string) (api.Request, error) {
	var r api.Request
	if err := checkRequest(id); err != nil {
		return r, err
	}
	if err := c.do(ctx, call{method: http.MethodPost, path: requestsPath + "/" + id + "/cancel"}, &r); err != nil {
		return r, fmt.Errorf("cancelling request %s: %w", id, err)
	}
	return r, c.check(r, id)
}

// Filter selects requests; a zero field selects all. Cursor is Next of the
// page before.
type Filter struct {
	Status message.Status
	Kind   message.Kind
	Wallet string
	Limit  int
	Cursor string
}

// List returns one page of the user's requests, newest first.
func (c *Client) List(ctx context.Context, f Filter) (api.Requests, error) {
	query := pageQuery(f.Limit, f.Cursor)
	for name, value := range map[string]string{"status": string(f.Status), "kind": string(f.Kind), "wallet": f.Wallet} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var page api.Requests
	if err := c.do(ctx, call{method: http.MethodGet, path: requestsPath, query: query}, &page); err != nil {
		return page, err
	}
	for _, r := range page.Requests {
		if err := c.checkResult(r); err != nil {
			return page, err
		}
	}
	return page, nil
}

func pageQuery(limit int, cursor string) url.Values {
	query := url.Values{}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return query
}

// Wallets returns one page of the wallets that the user may see, newest first.
// Cursor is Next of the page before; limit 0 is the service's default.
func (c *Client) Wallets(ctx context.Context, limit int, cursor string) (api.Wallets, error) {
	var page api.Wallets
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/wallets", query: pageQuery(limit, cursor)}, &page)
	return page, err
}

// Wallet returns one wallet.
func (c *Client) Wallet(ctx context.Context, id string) (api.Wallet, error) {
	var w api.Wallet
	if err := checkWallet(id); err != nil {
		return w, err
	}
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/wallets/" + id}, &w)
	return w, err
}

// Accounts returns one page of a wallet's accounts, newest first.
func (c *Client) Accounts(ctx context.Context, wallet string, limit int, cursor string) (api.Accounts, error) {
	var page api.Accounts
	if err := checkWallet(wallet); err != nil {
		return page, err
	}
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/wallets/" + wallet + "/accounts", query: pageQuery(limit, cursor)}, &page)
	return page, err
}

// Ready returns nil if the proposer can do its work.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/readyz"}, nil)
}
