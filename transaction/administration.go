package transaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/message"
)

// Freeze stops all requests of a wallet, or of a user; one of them is set.
type Freeze struct {
	Wallet string // id
	User   string // id in the policy document
	Reason string
}

// administration reads the kinds that change what others may ask for. They open
// nothing: no share is released, and the descriptor that approvals name is the
// statement itself.
func (in Interpreter) administration(ctx context.Context, m *Meaning) error {
	m.Descriptor = m.Create
	switch m.Statement.Kind {
	case message.KindPolicyUpdate:
		m.PolicyUpdate = &message.PolicyUpdate{}
		return decodePayload(m.Statement, m.PolicyUpdate)
	case message.KindWalletFreeze:
		var p message.WalletFreeze
		if err := decodePayload(m.Statement, &p); err != nil {
			return err
		}
		m.Freeze = &Freeze{Wallet: m.Statement.Wallet, Reason: p.Reason}
		if err := checkNames(p.Reason, ""); err != nil {
			return err
		}
		return in.hasWallet(ctx, m.Freeze.Wallet)
	case message.KindUserFreeze:
		var p message.UserFreeze
		if err := decodePayload(m.Statement, &p); err != nil {
			return err
		}
		m.Freeze = &Freeze{User: p.User, Reason: p.Reason}
		return checkNames(p.User, p.Reason)
	}
	return fmt.Errorf("%w: kind %q", ErrPayload, m.Statement.Kind)
}

// hasWallet returns ErrNoRecord for an id that is no wallet's, such as an
// account's: a freeze of that would be done and stop nothing. A descriptor that is
// damaged stops no freeze, since the wallet's accounts may be whole.
func (in Interpreter) hasWallet(ctx context.Context, id string) error {
	if _, _, err := in.wallet(ctx, id); !errors.Is(err, ErrDescriptor) {
		return err
	}
	return nil
}
