package message

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MaxStatement is the most bytes that a statement may have.
const MaxStatement = 128 << 10

// Kind is what a statement asks for.
type Kind string

// The kinds that this version knows.
const (
	KindWalletCreate        Kind = "wallet.create"
	KindAccountCreate       Kind = "account.create"
	KindEthereumTransaction Kind = "ethereum.transaction"
	KindEthereumMessage     Kind = "ethereum.message"
	// KindEthereumTypedData is EIP-712.
	KindEthereumTypedData Kind = "ethereum.typed-data"
	// KindPolicyUpdate carries a policy document that a quorum has signed.
	KindPolicyUpdate Kind = "policy.update"
	// KindWalletFreeze and KindUserFreeze stop a wallet or a user.
	KindWalletFreeze Kind = "wallet.freeze"
	KindUserFreeze   Kind = "user.freeze"
)

// need says which ids a kind's statement must name, and must not, and whether
// it always takes effect.
type need struct{ wallet, account, inEarnest bool }

// kinds is the one table of kinds. A kind that is not in it is refused by
// every service.
var kinds = map[Kind]need{
	KindWalletCreate:        {},
	KindAccountCreate:       {wallet: true},
	KindEthereumTransaction: {wallet: true, account: true},
	KindEthereumMessage:     {wallet: true, account: true},
	KindEthereumTypedData:   {wallet: true, account: true},
	KindPolicyUpdate:        {inEarnest: true},
	KindWalletFreeze:        {wallet: true, inEarnest: true},
	KindUserFreeze:          {inEarnest: true},
}

// ErrUnknownKind says that a statement's kind is not in the table.
var ErrUnknownKind = errors.New("unknown kind")

// ParseStatement reads a user's statement strictly. It checks everything that
// needs neither a key, nor a clock, nor the payload's own rules: the id is a
// UUIDv7 in canonical form, the audience is the deployment, the kind is known
// and names the ids that it needs and no others.
func ParseStatement(b []byte, deployment Hash) (Statement, error) {
	var s Statement
	if len(b) > MaxStatement {
		return s, fmt.Errorf("statement has %d bytes, more than %d", len(b), MaxStatement)
	}
	if !utf8.Valid(b) {
		return s, errors.New("statement is not UTF-8")
	}
	if err := DecodeStrict(b, &s); err != nil {
		return s, err
	}
	return s, s.check(deployment)
}

func (s Statement) check(deployment Hash) error {
	if err := CheckRequestID(s.ID); err != nil {
		return err
	}
	if s.Audience != deployment {
		return fmt.Errorf("audience %s is not this deployment", s.Audience)
	}
	n, ok := kinds[s.Kind]
	if !ok {
		return fmt.Errorf("kind %q: %w", s.Kind, ErrUnknownKind)
	}
	if err := checkID("wallet", s.Wallet, n.wallet); err != nil {
		return err
	}
	if err := checkID("account", s.Account, n.account); err != nil {
		return err
	}
	if s.DryRun && n.inEarnest {
		return fmt.Errorf("there is no dry run of %s", s.Kind)
	}
	if s.Payload.Kind() != '{' {
		return errors.New("payload is not an object")
	}
	if s.Expires.IsZero() {
		return errors.New("expires is missing")
	}
	return nil
}

func checkID(name, id string, wanted bool) error {
	if !wanted {
		if id != "" {
			return fmt.Errorf("%s must not be given for this kind", name)
		}
		return nil
	}
	if _, err := ParseHash(id); err != nil {
		return fmt.Errorf("%s id: %w", name, err)
	}
	return nil
}

// CheckRequestID accepts a UUIDv7 (RFC 9562) in its canonical lower-case form.
func CheckRequestID(id string) error {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		return errors.New("id is not a UUID in canonical form")
	}
	if u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		return errors.New("id is not a UUIDv7")
	}
	return nil
}
