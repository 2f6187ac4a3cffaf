package document

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/transaction"
	"github.com/countersign/countersign/trust/httpsig"
)

// RequestsPath and RequestsMethod are what a user's signature covers beside
// the statement: every statement is sent there.
const (
	RequestsMethod = "POST"
	RequestsPath   = "/v1/requests"
)

// Reason codes of VerifyUser; they are stable.
const (
	// CodeDeployment: the envelope or statement is of another deployment or
	// is not the one that was interpreted.
	CodeDeployment = "wrong_deployment"
	// CodeExpired: the statement's time is over.
	CodeExpired = "expired"
	// CodeUnknownKey: the signature names a key that is no user's.
	CodeUnknownKey = "unknown_key"
	// CodeSignature: the signature does not verify or does not cover what it
	// must.
	CodeSignature = "invalid_signature"
	// CodeEarly: the signature was made at a time that has not come yet. It may
	// be our clock that is behind, so that this alone is no reason to reject a
	// request for good.
	CodeEarly = "signature_early"
	// CodeNotGranted: no grant lets the user ask for this kind on this wallet.
	CodeNotGranted = "not_granted"
)

var errUnknownKey = errors.New("no user of the policy has this key")

// VerifyUser verifies that the envelope's statement is signed by a key of a
// user whom the document lets ask for it, and that its time is not over. The
// meaning must be the one interpreted from this statement; that it is of the
// same statement is checked. The reason is nil if all is well.
func VerifyUser(a *Active, env message.Envelope, m transaction.Meaning, now time.Time) (User, *message.Reason) {
	if reason := checkStatement(a, env, m, now); reason != nil {
		return User{}, reason
	}
	if m.Freeze != nil {
		return verifyStatement(a.freezer, env, now) // no grant: see freezer
	}
	user, reason := verifyStatement(a.UserByKey, env, now)
	if reason != nil {
		return User{}, reason
	}
	if !a.granted(user.ID, m) {
		return User{}, &message.Reason{
			Code:   CodeNotGranted,
			Detail: fmt.Sprintf("user %s has no grant for %s on this wallet", user.ID, m.Statement.Kind),
		}
	}
	return user, nil
}

// checkStatement ties the signed bytes to the meaning, so that a caller's
// mistake cannot have one verified and the other carried out.
func checkStatement(a *Active, env message.Envelope, m transaction.Meaning, now time.Time) *message.Reason {
	if env.Version != message.Version || env.Deployment.String() != a.Deployment {
		return &message.Reason{Code: CodeDeployment, Detail: "the envelope is not of this deployment"}
	}
	if m.Statement.Audience != env.Deployment {
		return &message.Reason{Code: CodeDeployment, Detail: "the statement is not one for this deployment"}
	}
	if !interpreted(env.Statement, m) {
		return &message.Reason{Code: CodeDeployment, Detail: "the statement is not the one that was interpreted"}
	}
	if !now.Before(m.Statement.Expires.Time) {
		return &message.Reason{Code: CodeExpired, Detail: "the statement's time is over"}
	}
	return nil
}

// interpreted says whether a meaning was computed from these very bytes, so
// that they need not be parsed again to tell.
func interpreted(statement []byte, m transaction.Meaning) bool {
	s := m.Statement
	return m.Create == message.Sum(statement) &&
		(s.Wallet == "" || m.Wallet == s.Wallet) && (s.Account == "" || m.Account == s.Account)
}

// holders finds whose key it is that an RFC 7638 thumbprint names.
type holders func(thumbprint string) (User, crypto.PublicKey, bool)

func verifyStatement(find holders, env message.Envelope, now time.Time) (User, *message.Reason) {
	signed := httpsig.Message{
		Method: RequestsMethod, Authority: env.Signature.Authority, Path: RequestsPath,
		ContentType: env.Signature.ContentType, Body: env.Statement,
	}
	var user User
	lookup := func(id string) (crypto.PublicKey, error) {
		found, key, ok := find(id)
		if !ok {
			return nil, errUnknownKey
		}
		user = found
		return key, nil
	}
	_, err := httpsig.Verify(signed, httpsig.StatementProfile, env.Signature.Input, env.Signature.Signature, now, lookup)
	switch {
	case errors.Is(err, errUnknownKey):
		return User{}, &message.Reason{Code: CodeUnknownKey, Detail: "the statement's key is no user's"}
	case errors.Is(err, httpsig.ErrTime): // a statement's signature has no greatest age
		return User{}, &message.Reason{Code: CodeEarly, Detail: "the statement's signature is from the future"}
	case err != nil:
		return User{}, &message.Reason{Code: CodeSignature, Detail: "the statement's signature: " + signatureFault(err)}
	}
	return user, nil
}

// signatureFault keeps the reason to a fixed set of sentences: what the
// sender wrote does not come back in it.
func signatureFault(err error) string {
	for _, known := range []error{
		httpsig.ErrMalformed, httpsig.ErrCoverage, httpsig.ErrSignature,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "does not verify"
}

// granted says whether a grant covers the meaning. Deny by default.
func (a *Active) granted(user string, m transaction.Meaning) bool {
	for _, g := range a.lookup().grants[user] {
		if g.covers(user, m) {
			return true
		}
	}
	return false
}

func (g Grant) covers(user string, m transaction.Meaning) bool {
	for _, kind := range g.Kinds {
		if kind == m.Statement.Kind {
			return g.coversWallet(user, m)
		}
	}
	return false
}

func (g Grant) coversWallet(user string, m transaction.Meaning) bool {
	for _, wallet := range g.Wallets {
		switch wallet {
		case WalletsAny:
			return true
		case WalletsOwn:
			if owner := m.Owner(); owner != "" && owner == user {
				return true
			}
		default:
			if wallet == m.Wallet {
				return true
			}
		}
	}
	return false
}
