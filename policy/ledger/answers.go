package ledger

import (
	"math"
	"math/big"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/exposure"
)

// Event is one approval: what was asked for, by whom, and what it puts at risk.
type Event struct {
	Envelope message.Hash
	Kind     message.Kind
	// User, Wallet and Account are ids; Account is empty where there is none.
	User, Wallet, Account string
	// Expires is when the statement does: soon after, the envelope can never be
	// approved again.
	Expires time.Time
	// Amounts are exposure.Of the request: one for each asset.
	Amounts []exposure.Amount
	Moves   []Movement
	// Chain is CAIP-2, or empty.
	Chain string
	// Nonce is the transaction's, nil where there is none; FeePerGas the highest
	// that it pays.
	Nonce     *uint64
	FeePerGas *big.Int
	// Content is a hash of destination, value and data: what stays the same
	// where a transaction is sent again with a higher fee.
	Content message.Hash
}

// Movement is what one destination (CAIP-10, of eip155 in lower case) gets or
// may take of one asset. Asset is empty and Amount nil where the destination is
// called and no more.
type Movement struct {
	Account, Asset string
	Amount         *big.Int
}

// Habit compares an amount with the latest ones (at most 128) of the same asset,
// fees left out.
// All but MedianAmount are of the binary logarithm of amounts.
type Habit struct {
	// Count is how many earlier amounts there are; without any the rest is zero.
	Count       int
	Median, MAD float64
	// Z is how many robust standard deviations the amount lies above the median.
	Z            float64
	MedianAmount *big.Int
}

// Nonce is what is known of an account's nonces from what was approved.
type Nonce struct {
	// Known says that any was approved, and Next is one more than the highest.
	Known bool
	Next  uint64
	// Reused says that the event's nonce was approved for another envelope, and
	// Replaces that all of these are the same but for a lower fee.
	Reused, Replaces bool
}

// Scopes that sums and counts are of.
const (
	ScopeUser        = "user"
	ScopeWallet      = "wallet"
	ScopeAccount     = "account"
	ScopeAsset       = "asset" // the whole deployment
	ScopeDestination = "destination"
)

const (
	// Longest is the longest window that there is, some 292 years: no rule can write
	// a longer duration down.
	Longest = time.Duration(math.MaxInt64)
	// Lookback is how far back is looked where nobody says how far, for habits and
	// for nonces that were used before: 31 days.
	Lookback = 744 * time.Hour
)
