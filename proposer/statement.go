package proposer

import (
	"crypto"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/trust/httpsig"
)

const (
	// mediaType is the one Content-Type of a statement; it is covered by the
	// user's signature, so there is one spelling of it.
	mediaType = "application/json"
	// maxLifetime is the longest way from submission to expiry.
	maxLifetime = 7 * 24 * time.Hour
	// maxSignatureHeader bounds Signature-Input and Signature, each, in bytes.
	maxSignatureHeader = 2 << 10
)

// readStatement reads the exact bytes of the body: at most limit of them, and
// before the read deadline that Handler has set.
func readStatement(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if got := r.Header.Values("Content-Type"); len(got) != 1 || got[0] != mediaType {
		return nil, problem(CodeUnsupportedMediaType, "send exactly one header Content-Type: %s", mediaType)
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, problem(CodeUnsupportedMediaType, "Content-Encoding is not accepted")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, bodyProblem(err, limit)
	}
	// The deadline must not end a long wait for the result.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

func tooLarge(limit int64) error {
	return problem(CodeStatementTooLarge, "a statement has at most %d bytes", limit)
}

func bodyProblem(err error, limit int64) error {
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(CodeBodyTimeout, "send the whole body without pauses")
	}
	return problem(CodeMalformedRequest, "the body broke off")
}

// parseStatement checks the form of a statement. What the payload means is not
// the proposer's business: every role decodes it.
func parseStatement(body []byte, deployment message.Hash) (message.Statement, error) {
	s, err := message.ParseStatement(body, deployment)
	switch {
	case errors.Is(err, message.ErrUnknownKind):
		return s, problem(CodeUnknownKind, "this deployment has no such kind")
	case err != nil && isForOther(body, deployment):
		return s, problem(CodeWrongAudience, "audience is not this deployment's id, %s", deployment)
	case err != nil:
		return s, problem(CodeInvalidStatement, "%s", err.Error())
	}
	return s, nil
}

// checkExpiry says whether a request may be made of a statement now.
func checkExpiry(s message.Statement, now time.Time) error {
	if left := s.Expires.Sub(now); left <= 0 || left > maxLifetime {
		return problem(CodeExpiryOutOfRange, "expires must lie after now and within %d hours", int(maxLifetime.Hours()))
	}
	return nil
}

// isForOther says whether a statement that was refused is well-formed, but
// names another deployment.
func isForOther(body []byte, deployment message.Hash) bool {
	var s message.Statement
	return message.DecodeStrict(body, &s) == nil && s.ID != "" && s.Audience != deployment
}

// signatureOf reads the HTTP message signature's headers for their form only:
// each stands once, and Content-Digest is that of the body.
func signatureOf(r *http.Request, body []byte, now time.Time) (message.HTTPSignature, error) {
	s := message.HTTPSignature{ContentType: mediaType}
	var err error
	if s.Authority, err = authorityOf(r.Host); err != nil {
		return s, err
	}
	if s.Input, err = single(r.Header, "Signature-Input"); err != nil {
		return s, err
	}
	if s.Signature, err = single(r.Header, "Signature"); err != nil {
		return s, err
	}
	if err := checkDigest(r.Header, body); err != nil {
		return s, err
	}
	return s, checkSignature(s, body, now)
}

func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0:
		return "", problem(CodeMissingSignature, "header %s is missing", name)
	case len(values) > 1:
		return "", problem(CodeInvalidSignature, "header %s stands %d times", name, len(values))
	case len(values[0]) > maxSignatureHeader:
		return "", problem(CodeInvalidSignature, "header %s has more than %d bytes", name, maxSignatureHeader)
	}
	for _, c := range []byte(values[0]) {
		if c < 0x20 || c > 0x7e {
			return "", problem(CodeInvalidSignature, "header %s is not ASCII", name)
		}
	}
	return values[0], nil
}

// checkDigest wants the one Content-Digest (RFC 9530) that the roles compute
// from the statement themselves: sha-256 and nothing beside it.
func checkDigest(h http.Header, body []byte) error {
	got, err := single(h, "Content-Digest")
	if err != nil {
		return err
	}
	if got != httpsig.ContentDigest(body) {
		return problem(CodeDigestMismatch, "Content-Digest must be sha-256 alone, of the body's exact bytes")
	}
	return nil
}

// errFormIsGood ends the verification where the key would be needed.
var errFormIsGood = errors.New("form is good")

// checkSignature has the signature verified up to the point where the key is
// needed: one signature, in its one encoding, over what a statement's
// signature must cover (RFC 9421), not from the future. Whose it is, and
// whether it verifies, is not for the proposer to say.
func checkSignature(s message.HTTPSignature, body []byte, now time.Time) error {
	signed := httpsig.Message{
		Method: document.RequestsMethod, Authority: s.Authority, Path: document.RequestsPath,
		ContentType: s.ContentType, Body: body,
	}
	noKey := func(string) (crypto.PublicKey, error) { return nil, errFormIsGood }
	_, err := httpsig.Verify(signed, httpsig.StatementProfile, s.Input, s.Signature, now, noKey)
	switch {
	case errors.Is(err, errFormIsGood):
		return nil
	case errors.Is(err, httpsig.ErrCoverage):
		return problem(CodeInvalidSignature, "cover @method, @path, content-digest and content-type, with created, keyid and tag %q", message.TagStatement)
	case errors.Is(err, httpsig.ErrTime):
		return problem(CodeInvalidSignature, "created lies in the future")
	}
	return problem(CodeInvalidSignature, "Signature-Input and Signature must hold exactly one signature, of one label, in canonical form")
}

// maxAuthority is the longest host name (RFC 1035) with a port.
const maxAuthority = 253 + len(":65535")

// authorityOf normalises the Host header as RFC 9421 section 2.2.3 says: lower
// case, without the default port.
func authorityOf(host string) (string, error) {
	authority := strings.TrimSuffix(strings.ToLower(host), ":443")
	if authority == "" || len(authority) > maxAuthority {
		return "", problem(CodeMalformedRequest, "header Host is missing or too long")
	}
	for _, c := range authority {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-:[]", c) {
			return "", problem(CodeMalformedRequest, "header Host is not a host name")
		}
	}
	return authority, nil
}
