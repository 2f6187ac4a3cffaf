package trial

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
)

// What a transaction has where a case does not say: gas for a transfer and for a
// call, and fees per gas in wei.
const (
	gasTransfer    = 21_000
	gasCall        = 120_000
	maxFee         = "30000000000"
	maxPriorityFee = "1000000000"
)

// Selectors of ERC-20 calls.
const (
	selectorTransfer = "a9059cbb"
	selectorApprove  = "095ea7b3"
)

// publicKey is the compressed key of a made-up account.
func publicKey(of message.Hash) ([]byte, error) {
	private, err := crypto.ToECDSA(of[:])
	if err != nil {
		return nil, fmt.Errorf("an account of this id cannot be made up: %w", err)
	}
	return crypto.CompressPubkey(&private.PublicKey), nil
}

// names resolve amounts and addresses that are written in words.
type names struct {
	doc   *document.Document
	given map[string]string // the file's own
}

func (s *Sandbox) transaction(t Transaction, chain string, nonce uint64) (jsontext.Value, error) {
	if err := s.names.shorthand(&t, chain); err != nil {
		return nil, err
	}
	t.complete(nonce)
	p := map[string]string{
		"type": "eip1559", "nonce": strconv.FormatUint(*t.Nonce, 10), "gas_limit": strconv.FormatUint(t.GasLimit, 10),
	}
	amounts := map[string]string{"value": t.Value, "max_fee_per_gas": t.MaxFee, "max_priority_fee_per_gas": t.MaxPriorityFee}
	if t.GasPrice != "" {
		p["type"], amounts = "legacy", map[string]string{"value": t.Value, "gas_price": t.GasPrice}
	}
	for name, text := range amounts {
		amount, _, err := s.names.amount(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p[name] = amount.String()
	}
	if t.Data != "" {
		p["data"] = t.Data
	}
	if t.To != "" {
		to, err := s.names.address(t.To, chain)
		if err != nil {
			return nil, err
		}
		p["to"] = to
	}
	return encode(p)
}

// complete fills in what a case does not say.
func (t *Transaction) complete(nonce uint64) {
	if t.Nonce == nil {
		t.Nonce = &nonce
	}
	if t.GasLimit == 0 {
		t.GasLimit = gasTransfer
		if t.Data != "" {
			t.GasLimit = gasCall
		}
	}
	t.Value = or(t.Value, "0")
	t.MaxFee, t.MaxPriorityFee = or(t.MaxFee, maxFee), or(t.MaxPriorityFee, maxPriorityFee)
}

// shorthand turns pay and approve into to, value and data.
func (n names) shorthand(t *Transaction, chain string) error {
	if t.Pay == nil && t.Approve == nil {
		return nil
	}
	if (t.Pay != nil && t.Approve != nil) || t.To != "" || t.Value != "" || t.Data != "" {
		return errors.New("pay or approve stands alone: it says to, value and data")
	}
	what, selector := t.Pay, selectorTransfer
	if t.Approve != nil {
		what, selector = t.Approve, selectorApprove
	}
	amount, asset, err := n.amount(what.Amount)
	if err != nil {
		return err
	}
	contract, isToken := strings.CutPrefix(asset, chain+"/erc20:")
	switch {
	case isToken:
		return n.tokenCall(t, selector, contract, what.To, chain, amount)
	case strings.HasPrefix(asset, chain+"/slip44:") && t.Pay != nil:
		t.To, t.Value = what.To, amount.String()
		return nil
	}
	return fmt.Errorf("amount %q is of no asset that %s can move", what.Amount, chain)
}

// tokenCall is ERC-20 transfer or approve.
func (n names) tokenCall(t *Transaction, selector, contract, to, chain string, amount *big.Int) error {
	address, err := n.address(to, chain)
	if err != nil {
		return err
	}
	word, err := hex.DecodeString(strings.Repeat("0", 24) + strings.TrimPrefix(address, "0x"))
	if err != nil {
		return fmt.Errorf("address %q: %w", to, err)
	}
	t.To, t.Data = contract, "0x"+selector+hex.EncodeToString(append(word, amount.FillBytes(make([]byte, 32))...))
	return nil
}

// address returns 0x... in lower case.
func (n names) address(text, chain string) (string, error) {
	if given, ok := n.given[text]; ok {
		text = given
	}
	if strings.HasPrefix(text, "0x") {
		return text, nil
	}
	for _, list := range n.doc.Lists {
		i := slices.IndexFunc(list.Entries, func(e document.Entry) bool {
			return e.Label == text && strings.HasPrefix(e.Account, chain+":")
		})
		if i >= 0 {
			return strings.TrimPrefix(list.Entries[i].Account, chain+":"), nil
		}
	}
	return "", fmt.Errorf("%q is no address, no name of this file, and no label of a list on %s", text, chain)
}

// amount reads base units, or a number with the name of an asset, whose CAIP-19
// id comes with it. What is not a whole number of base units is refused.
func (n names) amount(text string) (*big.Int, string, error) {
	number, unit, named := strings.Cut(text, " ")
	decimals, asset := 0, ""
	switch {
	case !named || unit == "wei":
	case unit == "gwei":
		decimals = 9
	default:
		i := slices.IndexFunc(n.doc.Assets, func(a document.Asset) bool { return a.ID == unit })
		if i < 0 {
			return nil, "", fmt.Errorf("amount %q: the document has no asset %q", text, unit)
		}
		decimals, asset = n.doc.Assets[i].Decimals, n.doc.Assets[i].Asset
	}
	whole, fraction, _ := strings.Cut(number, ".")
	digits := whole + fraction
	if whole == "" || len(fraction) > decimals || strings.Trim(digits, "0123456789") != "" {
		return nil, "", fmt.Errorf("amount %q is not a whole number of base units", text)
	}
	amount, ok := new(big.Int).SetString(digits+strings.Repeat("0", decimals-len(fraction)), 10)
	if !ok || amount.BitLen() > 256 {
		return nil, "", fmt.Errorf("amount %q is not below 2^256", text)
	}
	return amount, asset, nil
}
