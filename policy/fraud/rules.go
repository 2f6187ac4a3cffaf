package fraud

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// rules is the fraud section of one document, arranged for look-ups.
type rules struct {
	active   *document.Active
	denied   map[string]bool
	limits   map[string][]*document.Limit // by asset
	messages bool
}

// rulesOf returns the rules of a document; documents never change and follow
// one another seldom, so that one is kept.
func (d *Decider) rulesOf(active *document.Active) *rules {
	if d.rules == nil || d.rules.active != active {
		d.rules = newRules(active)
	}
	return d.rules
}

func newRules(active *document.Active) *rules {
	section := &active.Fraud
	r := &rules{
		active: active, messages: section.Messages,
		denied: map[string]bool{}, limits: map[string][]*document.Limit{},
	}
	for _, account := range section.Deny {
		r.denied[canonical(account)] = true
	}
	for i := range section.Limits {
		l := &section.Limits[i]
		r.limits[l.Asset] = append(r.limits[l.Asset], l)
	}
	return r
}

// checkDenied compares every account that the effects touch, also inside a
// token's transfer or approval, and the token contracts themselves.
func (r *rules) checkDenied(e transaction.Effects) (reasons []message.Reason) {
	seen := map[string]bool{}
	check := func(accounts ...string) {
		for _, account := range accounts {
			account = canonical(account)
			if account == "" || !r.denied[account] || seen[account] {
				continue
			}
			seen[account] = true
			reasons = append(reasons, message.Reason{Code: CodeDenied, Detail: account + " is on the deny list"})
		}
	}
	for _, m := range e.Moves {
		check(m.To, m.From, contract(m.Asset))
	}
	for _, a := range e.Allowances {
		check(a.Spender, a.Owner, contract(a.Asset))
	}
	for _, u := range e.Unknown {
		check(u.To)
	}
	return reasons
}

// canonical is the form in which accounts are compared: of eip155 in lower
// case, since the case of its addresses is a checksum and no more.
func canonical(account string) string {
	if strings.HasPrefix(account, "eip155:") {
		return strings.ToLower(account)
	}
	return account
}

// contract is the account of an ERC-20 asset's contract; empty for others.
func contract(asset string) string {
	chain, token, ok := strings.Cut(asset, "/erc20:")
	if !ok {
		return ""
	}
	return chain + ":" + token
}

// checkUnderstood denies what has effects that nobody can tell.
func (r *rules) checkUnderstood(e transaction.Effects) (reasons []message.Reason) {
	for _, u := range e.Unknown {
		reasons = append(reasons, message.Reason{Code: CodeUnknownCall, Detail: describe(u)})
	}
	for _, m := range e.Moves {
		if m.To == "" {
			reasons = append(reasons, message.Reason{
				Code: CodeUnknownCall, Detail: "the destination of a move of " + m.Asset + " cannot be told",
			})
		}
	}
	for _, a := range e.Allowances {
		if a.Spender == "" {
			reasons = append(reasons, message.Reason{
				Code: CodeUnknownCall, Detail: "the spender of an allowance of " + a.Asset + " cannot be told",
			})
		}
	}
	switch {
	case e.Message != nil && !r.messages:
		reasons = append(reasons, message.Reason{Code: CodeMessage, Detail: "the policy does not let messages be signed"})
	case e.Message == nil && len(e.Moves)+len(e.Allowances)+len(e.Unknown) == 0:
		reasons = append(reasons, message.Reason{Code: CodeUnknownCall, Detail: "the transaction has no effects that are understood"})
	}
	return reasons
}

func describe(u transaction.UnknownCall) string {
	if u.To == "" {
		return fmt.Sprintf("a contract creation of %d bytes", u.Size)
	}
	return fmt.Sprintf("a call of %s with selector 0x%x and %d bytes is not understood", u.To, u.Selector, u.Size)
}

// checkLimits applies every limit that names the wallet, or any, and the
// asset: all must hold, and there must be one.
func (r *rules) checkLimits(wallet string, a exposure.Amount, earlier *big.Int) (reasons []message.Reason) {
	limited := false
	total := new(big.Int).Add(earlier, a.Amount)
	for _, l := range r.limits[a.Asset] {
		if l.Wallet != wallet && l.Wallet != document.WalletsAny {
			continue
		}
		limited = true
		if a.Amount.Cmp(&l.PerTransaction.Int) > 0 {
			reasons = append(reasons, message.Reason{
				Code:   CodeTransactionLimit,
				Detail: fmt.Sprintf("%s of %s, the limit per transaction is %s", a.Amount, a.Asset, &l.PerTransaction.Int),
			})
		}
		if total.Cmp(&l.Per24Hours.Int) > 0 {
			reasons = append(reasons, message.Reason{
				Code: CodeDailyLimit,
				Detail: fmt.Sprintf("%s of %s after %s in the last 24 hours, the limit is %s",
					a.Amount, a.Asset, earlier, &l.Per24Hours.Int),
			})
		}
	}
	if !limited {
		reasons = append(reasons, message.Reason{Code: CodeNoLimit, Detail: "the policy has no limit for " + a.Asset})
	}
	return reasons
}
