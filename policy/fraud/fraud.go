// Package fraud decides whether a request looks like loss: nothing goes to a
// deny-listed account, no call is made that is not understood, and no wallet
// moves more of an asset than the policy document's limits allow, at once and
// within any 24 hours.
//
// It trusts the policy document, the effects that its own service computed and
// its role's own chain of records. It never asks who the user is, and it never
// forgets an approval because its signature was not made: a request counts from
// the moment it was approved.
package fraud

import (
	"context"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/exposure"
	"github.com/countersign/countersign/transaction"
)

// Reason codes; they are stable.
const (
	// CodeDenied: a deny-listed account is involved.
	CodeDenied = "deny_listed"
	// CodeUnknownCall: the transaction does something that is not understood.
	CodeUnknownCall = "unknown_call"
	// CodeNoLimit: the policy has no limit for the asset, which is then denied.
	CodeNoLimit = "no_limit"
	// CodeTransactionLimit: more than the limit per transaction.
	CodeTransactionLimit = "over_transaction_limit"
	// CodeDailyLimit: more than what is left of the limit per 24 hours.
	CodeDailyLimit = "over_24_hours_limit"
	// CodeMessage: the policy does not let messages be signed.
	CodeMessage = "messages_not_allowed"
)

// Decider is the fraud role's decider: a policy.Decider and policy.Recorder.
// Its state is the fold of the role's records. As the runtime promises, its
// methods are not called at the same time.
type Decider struct{ spent *ledger }

// New returns a decider with an empty history.
func New() *Decider { return &Decider{spent: newLedger()} }

// Reset forgets the history.
func (d *Decider) Reset() { d.spent = newLedger() }

// Replay counts one approval of the past.
func (d *Decider) Replay(body []byte) error {
	r, err := decodeRecord(body)
	if err != nil {
		return fmt.Errorf("fraud record: %w", err)
	}
	d.spent.add(r)
	return nil
}

// Decide applies the policy's fraud section. An approval that moves anything
// comes with the record that makes it count.
func (d *Decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	m := r.Meaning
	if m.Transaction == nil {
		return decideOther(m), nil
	}
	rules := &r.Policy.Fraud
	reasons := append(checkDenied(rules, m.Effects), checkUnderstood(rules, m.Effects)...)
	amounts, err := exposure.Of(m.Effects)
	if err != nil {
		return policy.Decision{}, err
	}
	now := d.spent.clock(r.Now)
	for _, a := range amounts {
		earlier := d.spent.sum(key{m.Wallet, a.Asset}, now, r.EnvelopeHash)
		reasons = append(reasons, checkLimits(rules, m.Wallet, a, earlier)...)
	}
	if len(reasons) > 0 {
		return policy.Decision{Verdict: policy.Reject, Reasons: reasons}, nil
	}
	decision := policy.Decision{Verdict: policy.Approve}
	if len(amounts) > 0 {
		body, err := encodeRecord(r.EnvelopeHash, m.Wallet, now, amounts)
		if err != nil {
			return policy.Decision{}, err
		}
		decision.Records = [][]byte{body}
	}
	return decision, nil
}

// decideOther is for kinds that move nothing: only those that are known to.
func decideOther(m transaction.Meaning) policy.Decision {
	if m.WalletCreate != nil || m.AccountCreate != nil {
		return policy.Decision{Verdict: policy.Approve}
	}
	return policy.Decision{
		Verdict: policy.Reject,
		Reasons: []message.Reason{{Code: CodeUnknownCall, Detail: "the request has no effects that are understood"}},
	}
}

// checkDenied compares every account that the effects touch, also inside a
// token's transfer or approval, and the token contracts themselves.
func checkDenied(rules *document.Fraud, e transaction.Effects) (reasons []message.Reason) {
	denied := map[string]bool{}
	for _, account := range rules.Deny {
		denied[canonical(account)] = true
	}
	seen := map[string]bool{}
	check := func(accounts ...string) {
		for _, account := range accounts {
			account = canonical(account)
			if account == "" || !denied[account] || seen[account] {
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
func checkUnderstood(rules *document.Fraud, e transaction.Effects) (reasons []message.Reason) {
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
	case e.Message != nil && !rules.Messages:
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
func checkLimits(rules *document.Fraud, wallet string, a exposure.Amount, earlier *big.Int) (reasons []message.Reason) {
	limited := false
	total := new(big.Int).Add(earlier, a.Amount)
	for i := range rules.Limits {
		l := &rules.Limits[i]
		if l.Asset != a.Asset || (l.Wallet != wallet && l.Wallet != document.WalletsAny) {
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

// window is how long an approval counts.
const window = 24 * time.Hour
