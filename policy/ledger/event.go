package ledger

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// ErrEffects says that a request has more effects than are kept of one.
var ErrEffects = errors.New("more effects than are kept of a request")

// EventOf says what an approval of the request would be: what it puts at risk,
// and which accounts get something, may take something or are called. Of more
// than transaction.MaxEffects effects it is ErrEffects: their names would be known
// for ever.
func EventOf(m transaction.Meaning, envelope message.Hash, user string) (Event, error) {
	if n := m.Effects.Count(); n > transaction.MaxEffects {
		return Event{}, fmt.Errorf("event of request: %d: %w", n, ErrEffects)
	}
	amounts, err := exposure.Of(m.Effects)
	if err != nil {
		return Event{}, fmt.Errorf("event of request: %w", err)
	}
	e := Event{
		Envelope: envelope, Kind: m.Statement.Kind, User: user, Wallet: m.Wallet, Account: m.Address(),
		Expires: m.Statement.Expires.Time, Amounts: amounts, Moves: movements(m.Effects),
	}
	d := m.Effects.Details
	if d == nil {
		return e, nil
	}
	e.Chain, e.Nonce, e.FeePerGas = d.Chain, d.Nonce, d.FeePerGas
	value := d.Value
	if value == nil {
		value = new(big.Int)
	}
	e.Content = message.Sum(message.Context(d.To, value.Bytes(), d.Data))
	return e, nil
}

// movements lists the destinations. One that is only called stands there once,
// and not if it gets something besides.
func movements(effects transaction.Effects) (out []Movement) {
	known := map[string]bool{}
	add := func(account, asset string, amount *big.Int) {
		account = canonical(account)
		if account == "" || (asset == "" && known[account]) {
			return
		}
		known[account] = true
		out = append(out, Movement{account, asset, amount})
	}
	for _, m := range effects.Moves {
		add(m.To, m.Asset, m.Amount)
	}
	for _, a := range effects.Allowances {
		add(a.Spender, a.Asset, a.Amount)
	}
	for _, u := range effects.Unknown {
		add(u.To, "", nil)
	}
	if effects.Details != nil {
		for _, c := range effects.Details.Calls {
			add(c.To, "", nil)
		}
	}
	return out
}

// canonical is the form in which accounts are compared: of eip155 in lower
// case, since the case of its addresses is a checksum and no more.
func canonical(account string) string {
	if strings.HasPrefix(account, "eip155:") {
		return strings.ToLower(account)
	}
	return account
}
