package ledger

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// Versions of records. Version 1 is what fraud wrote when it knew limits per
// wallet and 24 hours and nothing else.
const (
	versionAmounts = 1
	versionEvent   = 2
)

// record is what one approval adds to the role's chain. A later record of the
// same envelope takes the place of the earlier one. Members that are empty are
// left out; times are RFC 3339 in whole seconds of UTC, amounts decimal.
//
//	{"version":2,"envelope":"<hash>","kind":"<kind>","user":"<id>","wallet":"<id>","account":"<id>",
//	 "time":"<approved>","expires":"<of the statement>",
//	 "amounts":[{"asset":"<CAIP-19>","amount":"<exposure>"}],
//	 "movements":[{"account":"<CAIP-10>","asset":"<CAIP-19>","amount":"<moved>"}],
//	 "chain":"<CAIP-2>","nonce":"<decimal>","fee":"<per gas>","content":"<first 16 bytes, base64url>"}
//
// Version 1 has version, envelope, wallet, time and amounts alone.
type record struct {
	Version   int           `json:"version"`
	Envelope  message.Hash  `json:"envelope"`
	Kind      message.Kind  `json:"kind,omitempty"`
	User      string        `json:"user,omitempty"`
	Wallet    string        `json:"wallet,omitempty"`
	Account   string        `json:"account,omitempty"`
	Time      message.Time  `json:"time"`
	Expires   message.Time  `json:"expires,omitzero"`
	Amounts   []counted     `json:"amounts,omitempty"`
	Movements []moved       `json:"movements,omitempty"`
	Chain     string        `json:"chain,omitempty"`
	Nonce     string        `json:"nonce,omitempty"`
	Fee       string        `json:"fee,omitempty"`
	Content   message.Bytes `json:"content,omitempty"`
}

// recordV1 is version 1 exactly: its empty members are written.
type recordV1 struct {
	Version  int          `json:"version"`
	Envelope message.Hash `json:"envelope"`
	Wallet   string       `json:"wallet"`
	Time     message.Time `json:"time"`
	Amounts  []counted    `json:"amounts"`
}

type counted struct {
	Asset  string `json:"asset"`
	Amount string `json:"amount"`
}

type moved struct {
	Account string `json:"account"`
	Asset   string `json:"asset,omitempty"`
	Amount  string `json:"amount,omitempty"`
}

// contentSize is how much of an event's content hash a record has: whoever finds
// two contents that agree in it may have one taken for the other sent again with
// a higher fee, no more.
const contentSize = 16

func encodeRecord(e Event, at time.Time) ([]byte, error) {
	r := record{
		Version: versionEvent, Envelope: e.Envelope, Kind: e.Kind, User: e.User, Wallet: e.Wallet, Account: e.Account,
		Time: message.At(at), Expires: message.At(e.Expires), Chain: e.Chain,
	}
	for _, a := range e.Amounts {
		r.Amounts = append(r.Amounts, counted{a.Asset, a.Amount.String()})
	}
	for _, m := range e.Moves {
		one := moved{Account: m.Account, Asset: m.Asset}
		if m.Amount != nil {
			one.Amount = m.Amount.String()
		}
		r.Movements = append(r.Movements, one)
	}
	if e.Nonce != nil {
		r.Nonce, r.Content = strconv.FormatUint(*e.Nonce, 10), e.Content[:contentSize]
		if e.FeePerGas != nil {
			r.Fee = e.FeePerGas.String()
		}
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("ledger record: %w", err)
	}
	return message.Encode(r)
}

// decodeRecord reads both versions.
func decodeRecord(body []byte) (record, error) {
	if r, ok := scan(body); ok {
		return r, r.check()
	}
	var r record
	err := message.Decode(body, &r)
	if err == nil && r.Version == versionEvent {
		return r, r.check()
	}
	var old recordV1
	if errV1 := message.Decode(body, &old); errV1 != nil {
		return record{}, errors.Join(err, errV1)
	}
	r = record{
		Version: old.Version, Envelope: old.Envelope, Wallet: old.Wallet, Time: old.Time, Amounts: old.Amounts,
		Expires: message.At(old.Time.Add(Lookback)),
	}
	if r.Version != versionAmounts || r.Wallet == "" {
		return record{}, errors.New("version or wallet is wrong")
	}
	return r, r.check()
}

// check refuses what no encoder of ours would have written.
func (r *record) check() error {
	if r.Envelope.IsZero() || r.Time.IsZero() || r.Expires.IsZero() {
		return errors.New("envelope, time or expires is missing")
	}
	if r.Version == versionEvent && r.Kind == "" {
		return errors.New("kind is missing")
	}
	if (r.Nonce == "") != (len(r.Content) == 0) || (r.Nonce == "" && r.Fee != "") {
		return errors.New("nonce, fee and content do not fit")
	}
	if len(r.Content) != 0 && len(r.Content) != contentSize {
		return errors.New("content has another length")
	}
	return errors.Join(r.checkAmounts(), r.checkMovements(), r.checkNonce())
}

func (r *record) checkAmounts() error {
	for i, a := range r.Amounts {
		if a.Asset == "" || !isDecimal(a.Amount) {
			return fmt.Errorf("amount of asset %q is wrong", a.Asset)
		}
		for _, other := range r.Amounts[:i] {
			if other.Asset == a.Asset {
				return fmt.Errorf("asset %q stands twice", a.Asset)
			}
		}
	}
	return nil
}

func (r *record) checkMovements() error {
	for _, m := range r.Movements {
		if m.Account == "" || (m.Asset == "") != (m.Amount == "") || (m.Amount != "" && !isDecimal(m.Amount)) {
			return fmt.Errorf("movement of asset %q is wrong", m.Asset)
		}
	}
	return nil
}

func (r *record) checkNonce() error {
	if r.Fee != "" && !isDecimal(r.Fee) {
		return errors.New("fee is wrong")
	}
	if r.Nonce == "" {
		return nil
	}
	if _, err := strconv.ParseUint(r.Nonce, 10, 64); err != nil || !isDecimal(r.Nonce) {
		return errors.New("nonce is wrong")
	}
	return nil
}

// maxDigits bounds a sum of amounts, which may be longer than one amount.
const maxDigits = 100

// isDecimal accepts a number of at least 0 in its one form.
func isDecimal(s string) bool {
	if s == "" || len(s) > maxDigits || (s[0] == '0' && len(s) > 1) {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// parseDecimal reads what isDecimal has accepted.
func parseDecimal(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic("ledger: " + s + " is not a number")
	}
	return n
}
